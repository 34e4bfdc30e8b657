package servicetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

// A Database is what TestReadModel needs to know of one.
type Database[Tx any] struct {
	// Open returns a read model in the database, as another process would: what
	// one commits the others see.
	Open func(t testing.TB) service.ReadModel[Tx]

	// Put writes a value in a transaction, Get reads what is committed; empty
	// when there is none.
	Put func(ctx context.Context, tx Tx, key, value string) error
	Get func(t testing.TB, key string) string

	// Lose returns a read model that loses the answer to its first commit, as
	// when a connection is cut at that moment: the commit is carried out, and
	// its caller gets an error. Nil where that cannot happen.
	Lose func(t testing.TB) service.ReadModel[Tx]

	// Alone says that all that Open returns share one connection, so that those
	// who read wait for those who write.
	Alone bool
}

// TestReadModel proves what service.ReadModel and service.CheckpointStore
// promise. create returns a new, empty database.
func TestReadModel[Tx any](t *testing.T, create func(t testing.TB) Database[Tx]) {
	checks := []struct {
		name  string
		check func(*desk[Tx])
	}{
		{"nothing is stored at first", (*desk[Tx]).empty},
		{"writes and checkpoint commit together", (*desk[Tx]).together},
		{"an error rolls everything back", (*desk[Tx]).rollback},
		{"a panic rolls everything back and goes on", (*desk[Tx]).panics},
		{"a context that ended commits nothing", (*desk[Tx]).cancelled},
		{"a stale step is fenced before it runs", (*desk[Tx]).stale},
		{"of racing steps one wins", (*desk[Tx]).race},
		{"a step that waits for another is fenced", (*desk[Tx]).waitFenced},
		{"a step that waits for one that fails goes on", (*desk[Tx]).waitOn},
		{"an answer that is lost leaves a whole step behind", (*desk[Tx]).lost},
		{"workers with other shards do not fence each other", (*desk[Tx]).shards},
		{"a new epoch is taken over by all shards at once", (*desk[Tx]).epoch},
		{"reads wait for nobody who writes", (*desk[Tx]).reads},
		{"a step of all shards is fenced by another shard", (*desk[Tx]).whole},
		{"a step of all shards waits for the first of another shard", (*desk[Tx]).wholeWaits},
		{"steps of two applications are taken together", (*desk[Tx]).along},
		{"applications do not see each other", (*desk[Tx]).names},
		{"applications are listed", (*desk[Tx]).applications},
		{"parked events come back as they were, in order", (*desk[Tx]).parkedOrder},
		{"waiting events are counted by stream", (*desk[Tx]).waiting},
		{"parking commits with the checkpoint", (*desk[Tx]).parkedTogether},
		{"what is done is taken off the list in the same transaction", (*desk[Tx]).done},
		{"retry makes a stream due until it fails again", (*desk[Tx]).retry},
		{"discarding lets the next event through and is remembered", (*desk[Tx]).discard},
	}
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			db := create(t)
			c.check(&desk[Tx]{T: t, Database: db, model: db.Open(t)})
		})
	}
}

// A desk is where one check works.
type desk[Tx any] struct {
	*testing.T
	Database[Tx]
	model service.ReadModel[Tx]
}

const app = "stock/v1"

const (
	shard0 = leat.ShardID("shardId-000000000000")
	shard1 = leat.ShardID("shardId-000000000001")
)

var errRefused = errors.New("refused")

// at returns a checkpoint of log L, epoch 1, with sequences of shard 0, 1 …
func at(seqs ...uint64) leat.Checkpoint {
	c := leat.Checkpoint{Log: "L", Epoch: 1}
	for i, seq := range seqs {
		c.Set(leat.ShardNumber(i), seq)
	}
	return c
}

func step(from, to leat.Checkpoint, park ...service.Parked) service.Step {
	return service.Step{Name: app, From: from, To: to, Park: park}
}

// waits returns an event that waits behind another, or failed with an error.
func waits(stream string, version uint64, failed string) service.Parked {
	return service.Parked{
		Stream: stream, Version: version, Shard: shard0, Seq: version + 100, ID: fmt.Sprint("id-", version), Type: "Happened",
		Error: failed, Attempts: len(failed), At: time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC),
	}
}

func (d *desk[Tx]) put(key, value string) func(context.Context, Tx) error {
	return func(ctx context.Context, tx Tx) error { return d.Put(ctx, tx, key, value) }
}

func (d *desk[Tx]) save(s service.Step) {
	d.Helper()
	d.ok(d.model.Save(d.Context(), s))
}

func (d *desk[Tx]) ok(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

func (d *desk[Tx]) is(err, want error, doing string) {
	d.Helper()
	if !errors.Is(err, want) {
		d.Fatalf("%s: error %v, want %v", doing, err, want)
	}
}

// stands expects a checkpoint, as any process sees it.
func (d *desk[Tx]) stands(want leat.Checkpoint) {
	d.Helper()
	for _, m := range []service.ReadModel[Tx]{d.model, d.Open(d)} {
		got, err := m.Checkpoint(d.Context(), app)
		d.ok(err)
		if !got.Equal(want) {
			d.Fatalf("checkpoint is %v, want %v", got, want)
		}
	}
}

func (d *desk[Tx]) holds(key, want string) {
	d.Helper()
	if got := d.Get(d, key); got != want {
		d.Fatalf("%s is %q, want %q", key, got, want)
	}
}

func (d *desk[Tx]) list(stream string) []service.Parked {
	d.Helper()
	events, err := d.Open(d).Parked(d.Context(), app, stream)
	d.ok(err)
	return events
}

func (d *desk[Tx]) due(want ...string) {
	d.Helper()
	got, err := d.model.Due(d.Context(), app)
	d.ok(err)
	if slices.Sort(got); !slices.Equal(got, want) {
		d.Fatalf("due are %q, want %q", got, want)
	}
}

func (d *desk[Tx]) empty() {
	d.stands(leat.Checkpoint{})
	if events := d.list(""); len(events) > 0 {
		d.Fatalf("parked: %v", events)
	}
	d.due()
}

func (d *desk[Tx]) together() {
	d.ok(d.model.Commit(d.Context(), step(leat.Checkpoint{}, at(5)), d.put("k", "1")))
	d.stands(at(5))
	d.holds("k", "1")
	d.ok(d.model.Commit(d.Context(), step(at(5), at(1<<62, 3)), d.put("k", "2")))
	d.stands(at(1<<62, 3))
	d.holds("k", "2")
}

func (d *desk[Tx]) rollback() {
	d.save(step(leat.Checkpoint{}, at(5)))
	err := d.model.Commit(d.Context(), step(at(5), at(6), waits("a-1", 1, "no")), func(ctx context.Context, tx Tx) error {
		d.ok(d.Put(ctx, tx, "k", "1"))
		return errRefused
	})
	d.is(err, errRefused, "commit of what fails")
	d.untouched()
}

func (d *desk[Tx]) untouched() {
	d.Helper()
	d.stands(at(5))
	d.holds("k", "")
	if events := d.list(""); len(events) > 0 {
		d.Fatalf("parked by a step that failed: %v", events)
	}
}

func (d *desk[Tx]) panics() {
	d.save(step(leat.Checkpoint{}, at(5)))
	func() {
		defer func() {
			if recover() == nil {
				d.Fatal("the panic was swallowed")
			}
		}()
		_ = d.model.Commit(d.Context(), step(at(5), at(6)), func(ctx context.Context, tx Tx) error {
			d.ok(d.Put(ctx, tx, "k", "1"))
			panic("in a handler")
		})
	}()
	d.untouched()
	d.save(step(at(5), at(6)))
}

func (d *desk[Tx]) cancelled() {
	d.save(step(leat.Checkpoint{}, at(5)))
	ctx, cancel := context.WithCancel(d.Context())
	err := d.model.Commit(ctx, step(at(5), at(6)), func(ctx context.Context, tx Tx) error {
		d.ok(d.Put(ctx, tx, "k", "1"))
		cancel()
		return nil
	})
	d.is(err, context.Canceled, "commit under a context that ends in it")
	d.untouched()
	d.is(d.model.Save(ctx, step(at(5), at(6))), context.Canceled, "save under a context that has ended")
	d.untouched()
}

func (d *desk[Tx]) stale() {
	d.save(step(leat.Checkpoint{}, at(5, 2)))
	other := func(log string, epoch uint64) leat.Checkpoint {
		c := at(5, 2)
		c.Log, c.Epoch = log, epoch
		return c
	}
	moved := func(c leat.Checkpoint) leat.Checkpoint {
		c = c.Clone()
		c.Set(shard0, 9)
		return c
	}
	for name, from := range map[string]leat.Checkpoint{
		"from the beginning": {}, "behind": at(4, 2), "ahead": at(6, 2), "behind in the other shard": at(5, 1),
		"of another log": other("M", 1), "of an older epoch": other("L", 0), "of a newer epoch": other("L", 2),
	} {
		to := moved(from)
		if to.Log == "" {
			to.Log, to.Epoch = "L", 1
		}
		to.Set(shard1, 2)
		err := d.model.Commit(d.Context(), service.Step{Name: app, From: from, To: to}, func(context.Context, Tx) error {
			d.Errorf("a step %s was run", name)
			return nil
		})
		d.is(err, leat.ErrFenced, "a step "+name)
	}
	d.stands(at(5, 2))
}

func (d *desk[Tx]) race() {
	const racers, rounds = 4, 10
	for round := range uint64(rounds) {
		from := at(round)
		if round == 0 {
			from = leat.Checkpoint{}
		}
		var won atomic.Int32
		var wg sync.WaitGroup
		for range racers {
			m := d.Open(d)
			wg.Go(func() {
				err := m.Commit(d.Context(), step(from, at(round+1)), d.put("k", fmt.Sprint(round)))
				switch {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, leat.ErrFenced):
					d.Errorf("the loser of a race got %v, want %v", err, leat.ErrFenced)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			d.Fatalf("%d steps from %v won, want 1", won.Load(), from)
		}
		d.stands(at(round + 1))
	}
}

// meanwhile begins a step while another is in its transaction, which then ends
// with an error or nil. It returns the errors of both.
func (d *desk[Tx]) meanwhile(ends error) (first, second error) {
	d.save(step(leat.Checkpoint{}, at(5)))
	other := d.Open(d)
	var wg sync.WaitGroup
	first = d.model.Commit(d.Context(), step(at(5), at(6)), func(ctx context.Context, tx Tx) error {
		if err := d.Put(ctx, tx, "k", "first"); err != nil {
			return err
		}
		wg.Go(func() { second = other.Commit(d.Context(), step(at(5), at(6)), d.put("k", "second")) })
		return ends
	})
	wg.Wait()
	return first, second
}

func (d *desk[Tx]) waitFenced() {
	first, second := d.meanwhile(nil)
	d.ok(first)
	d.is(second, leat.ErrFenced, "a step that waited for the same step")
	d.stands(at(6))
	d.holds("k", "first")
}

func (d *desk[Tx]) waitOn() {
	first, second := d.meanwhile(errRefused)
	d.is(first, errRefused, "a step that fails")
	d.ok(second)
	d.stands(at(6))
	d.holds("k", "second")
}

func (d *desk[Tx]) lost() {
	if d.Lose == nil {
		d.Skip("the database loses no answers")
	}
	first, second := waits("a-1", 1, "no"), waits("b-1", 1, "no")
	d.save(step(leat.Checkpoint{}, at(5), first))
	m := d.Lose(d)
	s := step(at(5), at(6), second)
	s.Done = []service.Parked{first}
	if err := m.Commit(d.Context(), s, d.put("k", "1")); err == nil || errors.Is(err, leat.ErrFenced) {
		d.Fatalf("a commit whose answer is lost: error %v, want one that does not say what became of it", err)
	}
	whole := func() {
		d.Helper()
		d.stands(at(6))
		d.holds("k", "1")
		if events := d.list(""); len(events) != 1 || events[0].Stream != "b-1" {
			d.Fatalf("parked: %v, want b-1 alone", events)
		}
	}
	whole()
	d.is(m.Commit(d.Context(), s, d.put("k", "2")), leat.ErrFenced, "the same step again")
	whole()
}

func (d *desk[Tx]) reads() {
	if d.Alone {
		d.Skip("there is one connection for all")
	}
	d.save(step(leat.Checkpoint{}, at(5), waits("a-1", 1, "")))
	other := d.Open(d)
	_, err := other.Checkpoint(d.Context(), app) // it has its tables now
	d.ok(err)
	d.ok(d.model.Commit(d.Context(), step(at(5), at(6)), func(ctx context.Context, tx Tx) error {
		ctx, cancel := context.WithTimeout(d.Context(), time.Minute) // they are not the transaction's
		defer cancel()
		for what, read := range map[string]func() (string, error){
			"L@1,shardId-000000000000=5": func() (string, error) { c, err := other.Checkpoint(ctx, app); return c.String(), err },
			"[stock/v1]":                 func() (string, error) { all, err := other.Applications(ctx); return fmt.Sprint(all), err },
			"[a-1]":                      func() (string, error) { due, err := other.Due(ctx, app); return fmt.Sprint(due), err },
			"map[a-1:1]":                 func() (string, error) { n, err := other.Waiting(ctx, app); return fmt.Sprint(n), err },
			"1 parked": func() (string, error) {
				p, err := other.Parked(ctx, app, "")
				return fmt.Sprint(len(p), " parked"), err
			},
		} {
			if got, err := read(); err != nil || got != what {
				d.Errorf("read beside a transaction: %s, %v; want %s", got, err, what)
			}
		}
		return nil
	}))
	d.stands(at(6))
}

func (d *desk[Tx]) shards() {
	only := func(shard leat.ShardID, seq uint64) leat.Checkpoint {
		c := at()
		c.Set(shard, seq)
		return c
	}
	d.save(step(leat.Checkpoint{}, only(shard0, 5)))
	d.save(step(at(), only(shard1, 7)))
	d.save(step(only(shard0, 5), only(shard0, 6)))
	d.is(d.model.Save(d.Context(), step(only(shard1, 6), only(shard1, 8))), leat.ErrFenced, "a step of the second worker from before")
	d.stands(at(6, 7))
}

func (d *desk[Tx]) epoch() {
	d.save(step(leat.Checkpoint{}, at(5, 2)))
	next := at(6)
	next.Epoch = 2
	d.is(d.model.Save(d.Context(), step(at(5), next)), leat.ErrInvalid, "a step to another epoch without all shards")
	next.Set(shard1, 2)
	d.save(step(at(5, 2), next))
	d.stands(next)
	d.is(d.model.Save(d.Context(), step(at(6, 2), at(7, 2))), leat.ErrFenced, "a step of the epoch before")
}

func (d *desk[Tx]) names() {
	d.save(step(leat.Checkpoint{}, at(5), waits("a-1", 1, "no")))
	for _, name := range []string{"stock/v2", "stock/v1 ", "Ünïcode'\";--"} {
		s := service.Step{Name: name, To: at(1), Park: []service.Parked{waits("b-1", 1, "no")}}
		d.ok(d.model.Save(d.Context(), s))
		events, err := d.model.Parked(d.Context(), name, "")
		d.ok(err)
		if len(events) != 1 || events[0].Stream != "b-1" {
			d.Fatalf("%q has parked %v, want b-1 alone", name, events)
		}
	}
	d.stands(at(5))
	if events := d.list(""); len(events) != 1 || events[0].Stream != "a-1" {
		d.Fatalf("%q has parked %v, want a-1 alone", app, events)
	}
}

func (d *desk[Tx]) applications() {
	lists := func(want ...string) {
		d.Helper()
		got, err := d.Open(d).Applications(d.Context())
		d.ok(err)
		if !slices.Equal(got, want) {
			d.Fatalf("applications %q, want %q", got, want)
		}
	}
	lists()
	d.save(step(leat.Checkpoint{}, at(5), waits("a-1", 1, "no"), waits("a-1", 2, "")))
	begun, parked := "Ünïcode'\";--", "a"
	for _, name := range []string{"$replay/" + app, "$"} { // the SDK's own
		d.ok(d.model.Save(d.Context(), service.Step{Name: name, To: at(3), Park: []service.Parked{waits("c-1", 1, "no")}}))
	}
	d.ok(d.model.Save(d.Context(), service.Step{Name: begun, To: at()}))
	d.ok(d.model.Save(d.Context(), service.Step{Name: parked, Park: []service.Parked{waits("b-1", 1, "no")}}))
	lists(parked, app, begun)
}

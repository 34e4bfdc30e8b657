package service_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/server/lease"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

const fleetTTL = 3 * time.Second

// A member is one process of a fleet. Once it is cut off, neither the log nor
// the keeper answers it, as if it were killed or its network gone.
type member struct {
	t      *testing.T
	app    *service.App
	cutOff atomic.Bool
	cancel context.CancelFunc
	ended  chan error
}

var errCutOff = errors.New("cut off")

// cutLog and cutKeeper are the log and the keeper as a member reaches them.
type cutLog struct {
	*leattest.Log
	m *member
}

func (l cutLog) ReadShard(ctx context.Context, s leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	if l.m.cutOff.Load() {
		return leat.Batch{}, errCutOff
	}
	return l.Log.ReadShard(ctx, s, after, o)
}

type cutKeeper struct {
	leat.Leases
	m *member
}

func (k cutKeeper) Acquire(ctx context.Context, app string, s leat.ShardID, owner string, ttl time.Duration) (leat.Lease, error) {
	if k.m.cutOff.Load() {
		return leat.Lease{}, errCutOff
	}
	return k.Leases.Acquire(ctx, app, s, owner, ttl)
}

func (k cutKeeper) Renew(ctx context.Context, l leat.Lease, ttl time.Duration) (leat.Lease, error) {
	if k.m.cutOff.Load() {
		return leat.Lease{}, errCutOff
	}
	return k.Leases.Renew(ctx, l, ttl)
}

func (k cutKeeper) Release(ctx context.Context, l leat.Lease) error {
	if k.m.cutOff.Load() {
		return errCutOff
	}
	return k.Leases.Release(ctx, l)
}

func (k cutKeeper) Join(ctx context.Context, app, owner string, ttl time.Duration) (leat.Fleet, error) {
	if k.m.cutOff.Load() {
		return leat.Fleet{}, errCutOff
	}
	return k.Leases.Join(ctx, app, owner, ttl)
}

func (k cutKeeper) Leave(ctx context.Context, app, owner string) error {
	if k.m.cutOff.Load() {
		return errCutOff
	}
	return k.Leases.Leave(ctx, app, owner)
}

func joinFleet(t *testing.T, log *leattest.Log, keeper leat.Leases, runners ...service.Runner) *member {
	t.Helper()
	m := &member{t: t, ended: make(chan error, 1)}
	app, err := service.NewApp(service.Config{
		Log: cutLog{log, m}, Leases: cutKeeper{keeper, m}, LeaseTTL: fleetTTL, Instance: "worker", Drain: time.Second,
		Logger: slog.New(slog.DiscardHandler),
	}, runners...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	m.app, m.cancel = app, cancel
	go func() { m.ended <- app.Run(ctx) }()
	return m
}

// leave ends a member in good order.
func (m *member) leave() {
	m.t.Helper()
	m.cancel()
	if err := <-m.ended; err != nil {
		m.t.Errorf("a member that leaves ends with %v", err)
	}
}

// kill ends a member without a word to the keeper.
func (m *member) kill() {
	m.cutOff.Store(true)
	m.cancel()
	<-m.ended
}

// holdings returns how many shards each member holds.
func holdings(t *testing.T, keeper leat.Leases, app string) map[string]int {
	t.Helper()
	f, err := keeper.Fleet(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	held := make(map[string]int)
	for _, m := range f.Members {
		held[m.Owner] = 0
	}
	for _, l := range f.Leases {
		held[l.Owner]++
	}
	return held
}

func wantBalance(t *testing.T, keeper leat.Leases, app string, members, shards int) {
	t.Helper()
	held := holdings(t, keeper, app)
	total, least, most := 0, shards, 0
	for _, n := range held {
		total, least, most = total+n, min(least, n), max(most, n)
	}
	if len(held) != members || total != shards || most-least > 1 {
		t.Errorf("%d members are to share %d shards evenly, they hold %v", members, shards, held)
	}
}

func TestFleetSharesShardsAndReplacesTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{Shards: leat.EvenShards(16)})
		keeper, model := lease.New(nil), servicetest.NewMemory()
		streams := streamsNamed(40)
		p := history("history", model)
		settle := func() { time.Sleep(4 * fleetTTL) } // on the bubble's clock

		a := joinFleet(t, log, keeper, p)
		fill(t, log, repeated(5, streams...)...)
		settle()
		wantBalance(t, keeper, "history", 1, 16)

		b, c := joinFleet(t, log, keeper, p), joinFleet(t, log, keeper, p)
		settle()
		wantBalance(t, keeper, "history", 3, 16)

		b.kill()
		dead := time.Now()
		last := fill(t, log, repeated(5, streams...)...)
		for _, m := range []*member{a, c} {
			for _, s := range allShards(t, log) {
				want(t, "caught up", m.app.WaitFor(t.Context(), leat.Receipt{Shard: s.ID, Last: s.Head}), error(nil))
			}
		}
		if took := time.Since(dead); took > 2*fleetTTL {
			t.Errorf("the shards of a killed member were taken over after %s, want at most %s", took, 2*fleetTTL)
		}
		settle()
		wantBalance(t, keeper, "history", 2, 16)

		c.leave()
		settle()
		wantBalance(t, keeper, "history", 1, 16)
		want(t, "caught up", a.app.WaitFor(t.Context(), last), error(nil))
		a.leave()
		for _, s := range streams {
			want(t, s, model.Data()[s], versions(10))
		}
		if held := holdings(t, keeper, "history"); len(held) != 0 {
			t.Errorf("everybody left, the keeper still has %v", held)
		}
	})
}

func allShards(t *testing.T, log leat.Log) []leat.Shard {
	t.Helper()
	shards, err := log.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return shards
}

func openShards(t *testing.T, log leat.Log) []leat.Shard {
	t.Helper()
	var open []leat.Shard
	for _, s := range allShards(t, log) {
		if !s.Closed {
			open = append(open, s)
		}
	}
	return open
}

// A member that is paused beyond its lease and goes on in the middle of a
// handler finds itself fenced, does no harm, and works on.
func TestFleetFencesWhoWasPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		keeper, model := lease.New(nil), servicetest.NewMemory()
		slow := late{model, make(chan bool), make(chan bool)}
		zombie := joinFleet(t, log, keeper, history("history", slow))
		last := fill(t, log, "s-1", "s-2", "s-1")
		<-slow.paused
		zombie.cutOff.Store(true)
		heir := joinFleet(t, log, keeper, history("history", model))
		want(t, "the heir", heir.app.WaitFor(t.Context(), last), error(nil))
		zombie.cutOff.Store(false)
		close(slow.goOn)
		time.Sleep(4 * fleetTTL)
		heir.leave()
		last = fill(t, log, "s-2")
		want(t, "the one that was paused", zombie.app.WaitFor(t.Context(), last), error(nil))
		zombie.leave()
		want(t, "s-1", model.Data()["s-1"], versions(2))
		want(t, "s-2", model.Data()["s-2"], versions(2))
	})
}

// late is a read model whose first commit with events waits.
type late struct {
	*servicetest.Memory
	paused, goOn chan bool
}

func (l late) Commit(ctx context.Context, s service.Step, f func(context.Context, *tx) error) error {
	select {
	case <-l.paused:
	default:
		close(l.paused)
		<-l.goOn
	}
	return l.Memory.Commit(ctx, s, f)
}

// A shard that is split before it had any event is not finished before its
// parent is: what comes after it waits for what came in front of it.
func TestEmptyShardsDoNotLetTheirChildrenOvertakeTheirParents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, model := newLog(t, leat.Config{Shards: leat.EvenShards(1)}), servicetest.NewMemory()
		fill(t, log, "s", "s")
		for range 2 { // the second time the shard that was just made
			shards, err := log.Shards(t.Context())
			ok(t, err)
			for _, s := range shards {
				if !s.Closed && s.Owns(leat.RouteHash("s")) {
					_, err := log.Split(t.Context(), s.ID, s.Middle())
					ok(t, err)
				}
			}
		}
		fill(t, log, "s")
		p := history("app", model)
		apply, failed := p.Apply, false
		p.Apply = func(ctx context.Context, tx *tx, r leat.Recorded) error {
			if !failed {
				failed = true
				return errBroken
			}
			return apply(ctx, tx, r)
		}
		app := start(t, log, p)
		app.caughtUp()
		app.stop()
		want(t, "versions as applied", model.Data()["s"], versions(3))
	})
}

// A shard that a member gave away while another looked for work is gone on with
// from where it was left, not from where it stood when the other began to look.
func TestFleetGoesOnFromWhereAShardWasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, keeper, model := newLog(t, leat.Config{}), lease.New(nil), servicetest.NewMemory()
		first := joinFleet(t, log, keeper, history("history", model))
		fill(t, log, "s")
		time.Sleep(4 * fleetTTL)
		hand := sync.OnceFunc(func() {
			ok(t, first.app.WaitFor(t.Context(), fill(t, log, "s")))
			first.leave()
		})
		app, err := service.NewApp(service.Config{
			Log: lookedAt{log, hand}, Leases: keeper, LeaseTTL: fleetTTL, Logger: slog.New(slog.DiscardHandler),
		}, history("history", model))
		ok(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- app.Run(ctx) }()
		time.Sleep(4 * fleetTTL)
		ok(t, app.WaitFor(t.Context(), fill(t, log, "s")))
		want(t, "failures", app.Status()[0].Failures, uint64(0))
		cancel()
		ok(t, <-ended)
		want(t, "s", model.Data()["s"], versions(3))
	})
}

// A pause holds although the keeper of leases does not answer.
func TestPauseHoldsWhateverElseFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, keeper, model := newLog(t, leat.Config{}), lease.New(nil), servicetest.NewMemory()
		m := joinFleet(t, log, keeper, history("history", model))
		want(t, "before", m.app.WaitFor(t.Context(), fill(t, log, "s")), error(nil))
		m.cutOff.Store(true)
		time.Sleep(fleetTTL / 2)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ok(t, m.app.Pause(ctx, "history"))
		fill(t, log, "s")
		time.Sleep(4 * fleetTTL)
		want(t, "while it is paused", model.Data()["s"], versions(1))
		m.cutOff.Store(false)
		ok(t, m.app.Resume("history"))
		want(t, "after", m.app.WaitFor(t.Context(), fill(t, log, "s")), error(nil))
		m.leave()
	})
}

// A database that is away, however long, costs nobody a lease.
func TestLeasesAreKeptWhileTheDatabaseIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, keeper := newLog(t, leat.Config{}), lease.New(nil)
		model := &away{Memory: servicetest.NewMemory()}
		m := joinFleet(t, log, keeper, history("history", model))
		want(t, "before", m.app.WaitFor(t.Context(), fill(t, log, "s")), error(nil))
		synctest.Wait()
		model.down = time.Now().Add(5 * time.Minute)
		shards := len(openShards(t, log))
		for time.Now().Before(model.down) {
			time.Sleep(fleetTTL / 4)
			wantBalance(t, keeper, "history", 1, shards)
		}
		want(t, "after", m.app.WaitFor(t.Context(), fill(t, log, "s")), error(nil))
		m.leave()
	})
}

// lookedAt calls a function when an application looks at the log, which it does
// after it has asked where it stands.
type lookedAt struct {
	*leattest.Log
	look func()
}

func (l lookedAt) Info(ctx context.Context) (leat.Info, error) {
	l.look()
	return l.Log.Info(ctx)
}

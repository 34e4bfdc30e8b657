package service_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

var errBroken = errors.New("broken handler")

func TestProjectionFoldsWhatIsThereAndWhatComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{Shards: leat.EvenShards(3)})
		model := servicetest.NewMemory()
		fill(t, log, repeated(500, "a-1", "b-1", "c-1")...)
		app := start(t, log, history("h", model))
		app.caughtUp()
		for _, s := range []string{"a-1", "b-1", "c-1"} {
			want(t, s, model.Data()[s], versions(500))
		}
		r := fill(t, log, "a-1", "d-1")
		ok(t, app.app.WaitFor(t.Context(), r))
		app.caughtUp()
		want(t, "a-1", model.Data()["a-1"], versions(501))
		want(t, "d-1", model.Data()["d-1"], "1")
		want(t, "status", counts(app.status()), "seen 1502 handled 1502 skipped 0 parked 0 unparked 0 failures 0")
		want(t, "lag", app.status().Lag, uint64(0))
		want(t, "shards", len(app.status().Shards), 3)
		app.stop()
	})
}

func TestProjectionCommitsInBatches(t *testing.T) {
	log := newLog(t, leat.Config{})
	model := &flaky{Memory: servicetest.NewMemory()}
	fill(t, log, repeated(5000, "a-1")...)
	app := start(t, log, history("h", model))
	app.caughtUp()
	app.stop()
	if model.commits > 7 {
		t.Errorf("5,000 events took %d commits, want about 5", model.commits)
	}
}

func TestProjectionContinuesWhereItStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{Shards: leat.EvenShards(2)})
		model := servicetest.NewMemory()
		for i := range 4 {
			fill(t, log, repeated(10, "a-1", "b-1")...)
			app := start(t, log, history("h", model))
			app.caughtUp()
			app.stop()
			want(t, "a-1", model.Data()["a-1"], versions(10*(i+1)))
			want(t, "b-1", model.Data()["b-1"], versions(10*(i+1)))
		}
	})
}

// Whatever step of its work a projection dies in, each event is applied once.
func TestProjectionAppliesOnceHoweverItFails(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var mu sync.Mutex
	rnd := rand.New(rand.NewPCG(seed, 0))
	below := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return rnd.IntN(n)
	}
	maybe := func(what string) func(int) error {
		return func(int) error {
			if below(3) == 0 {
				return errors.New(what)
			}
			return nil
		}
	}
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{Shards: leat.EvenShards(2)})
		model := &flaky{Memory: servicetest.NewMemory()}
		model.before, model.after = maybe("database is away"), maybe("connection lost after the commit")
		p := history("h", model)
		apply := p.Apply
		p.Apply = func(ctx context.Context, tx *tx, r leat.Recorded) error {
			if err := apply(ctx, tx, r); err != nil {
				return err
			}
			if below(20) == 0 {
				return errBroken
			}
			return nil
		}
		total := 0
		for range 20 {
			n := 1 + below(20)
			fill(t, log, repeated(n, "a-1", "b-1", "c-1")...)
			total += n
			app := start(t, log, p)
			time.Sleep(time.Duration(below(300)) * time.Millisecond) // of the fake clock
			app.stop()
		}
		app := start(t, log, p)
		app.caughtUp()
		app.stop()
		for _, s := range []string{"a-1", "b-1", "c-1"} {
			want(t, s, model.Data()[s], versions(total))
		}
		want(t, "parked", parkedList(t, model, "h"), "")
	})
}

func TestProjectionRetriesWithGrowingPausesAndParks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		model := servicetest.NewMemory()
		var tries []time.Time
		p := history("h", model)
		apply := p.Apply
		p.Apply = func(ctx context.Context, tx *tx, r leat.Recorded) error {
			ok(t, apply(ctx, tx, r)) // what a failed attempt wrote must not stay
			if r.Stream == "a-1" && r.Version == 2 {
				tries = append(tries, time.Now())
				return errBroken
			}
			return nil
		}
		fill(t, log, "a-1", "b-1", "a-1", "b-1", "a-1", "b-1", "a-1")
		app := start(t, log, p)
		app.caughtUp()
		want(t, "a-1", model.Data()["a-1"], "1")
		want(t, "b-1", model.Data()["b-1"], versions(3))
		want(t, "parked", parkedList(t, model, "h"), "a-1@2:broken*10 a-1@3:*0 a-1@4:*0")
		want(t, "status", counts(app.status()), "seen 7 handled 4 skipped 0 parked 3 unparked 0 failures 10")
		want(t, "last error", app.status().LastError, errBroken.Error())

		want(t, "attempts", len(tries), 10)
		for i, most := 1, 50*time.Millisecond; i < len(tries); i, most = i+1, min(2*most, 10*time.Second) {
			if pause := tries[i].Sub(tries[i-1]); pause < most/2 || pause > most+time.Millisecond {
				t.Errorf("pause %d is %v, want %v to %v", i, pause, most/2, most)
			}
		}
		fill(t, log, "a-1") // still behind
		app.caughtUp()
		app.stop()
		app = start(t, log, p) // also after a restart
		fill(t, log, "a-1")
		app.caughtUp()
		app.stop()
		want(t, "a-1", model.Data()["a-1"], "1")
		want(t, "parked", parkedList(t, model, "h"), "a-1@2:broken*10 a-1@3:*0 a-1@4:*0 a-1@5:*0 a-1@6:*0")
	})
}

func TestProjectionRetriesParkedEventsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		log := newLog(t, leat.Config{})
		model := servicetest.NewMemory()
		broken := map[uint64]bool{2: true, 4: true}
		p := history("h", model)
		apply := p.Apply
		p.Apply = func(ctx context.Context, tx *tx, r leat.Recorded) error {
			if broken[r.Version] {
				return service.Permanent(fmt.Errorf("%w: version %d", errBroken, r.Version))
			}
			return apply(ctx, tx, r)
		}
		fill(t, log, repeated(5, "a-1")...)
		app := start(t, log, p)
		app.caughtUp()
		want(t, "parked", parkedList(t, model, "h"), "a-1@2:broken*1 a-1@3:*0 a-1@4:*0 a-1@5:*0")

		ok(t, model.Retry(ctx, "h", "a-1"))
		time.Sleep(2 * time.Second)
		want(t, "parked after a retry in vain", parkedList(t, model, "h"), "a-1@2:broken*2 a-1@3:*0 a-1@4:*0 a-1@5:*0")

		broken[2] = false
		ok(t, model.Retry(ctx, "h", "a-1"))
		time.Sleep(2 * time.Second)
		want(t, "parked after a retry", parkedList(t, model, "h"), "a-1@4:broken*1 a-1@5:*0")
		want(t, "a-1", model.Data()["a-1"], "1 2 3")

		fill(t, log, "a-1")
		app.caughtUp()
		ok(t, model.Discard(ctx, "h", "a-1", 4, "nobody needs it"))
		time.Sleep(2 * time.Second)
		want(t, "parked after discarding", parkedList(t, model, "h"), "a-1@4:broken*1!nobody needs it")
		want(t, "a-1", model.Data()["a-1"], "1 2 3 5 6")

		fill(t, log, "a-1")
		app.caughtUp()
		want(t, "a-1", model.Data()["a-1"], "1 2 3 5 6 7")
		want(t, "status", counts(app.status()), "seen 7 handled 2 skipped 0 parked 5 unparked 4 failures 3")
		app.stop()
	})
}

func TestProjectionParksAPanicAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		model := servicetest.NewMemory()
		p := history("h", model)
		apply := p.Apply
		p.Apply = func(ctx context.Context, tx *tx, r leat.Recorded) error {
			if r.Stream == "a-1" {
				panic("nil map")
			}
			return apply(ctx, tx, r)
		}
		fill(t, log, "a-1", "b-1")
		app := start(t, log, p)
		app.caughtUp()
		app.stop()
		events, err := model.Parked(t.Context(), "h", "")
		ok(t, err)
		if len(events) != 1 || !strings.Contains(events[0].Error, "nil map") || !strings.Contains(events[0].Error, "projection_test.go") {
			t.Errorf("parked %+v, want a-1 with the panic and where it was", events)
		}
		want(t, "b-1", model.Data()["b-1"], "1")
	})
}

func TestProjectionSkips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		model := servicetest.NewMemory()
		types := service.NewTypes[stockEvent](service.TypeOf[reserved]("Reserved"))
		write := func(_ context.Context, tx *tx, e stockEvent, r leat.Recorded) error {
			tx.Set(r.Stream, fmt.Sprint(e))
			return nil
		}
		do(t, newStocks(), log, "A", func(stock) ([]stockEvent, error) { return []stockEvent{received{3}, reserved{"1", 2}}, nil })
		skips := func(ctx context.Context, tx *tx, r leat.Recorded) error {
			if r.Type != "Reserved" {
				return service.ErrSkipped
			}
			return service.Apply(types, write)(ctx, tx, r)
		}
		app := start(t, log,
			service.Projection[*tx]{Name: "skips", Into: model, Apply: skips},
			service.Projection[*tx]{Name: "parks", Into: model, Apply: service.Apply(types, write)},
			service.Projection[*tx]{Name: "filters", Into: model, Apply: service.Apply(types, write), Filter: leat.Filter{Types: types.Names()}})
		app.caughtUp()
		all := app.app.Status()
		want(t, "skips", counts(all[0]), "seen 2 handled 1 skipped 1 parked 0 unparked 0 failures 0")
		want(t, "parks", counts(all[1]), "seen 2 handled 0 skipped 0 parked 2 unparked 0 failures 1")
		want(t, "filters", counts(all[2]), "seen 1 handled 1 skipped 0 parked 0 unparked 0 failures 0")
		want(t, "stock-A", model.Data()["stock-A"], "{1 2}")
		app.stop()
	})
}

func TestProjectionSavesProgressWithoutEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		model := &flaky{Memory: servicetest.NewMemory()}
		p := history("h", model)
		p.Filter.Categories = []string{"never"}
		app := start(t, log, p)
		for range 100 {
			fill(t, log, "a-1")
			app.caughtUp()
		}
		time.Sleep(2 * time.Second)
		c, err := model.Checkpoint(t.Context(), "h")
		ok(t, err)
		want(t, "checkpoint", c.Seqs[leat.ShardNumber(0)], uint64(100))
		if model.commits > 2 {
			t.Errorf("100 batches without events took %d commits, want one a second", model.commits)
		}
		fill(t, log, "a-1")
		app.caughtUp()
		app.stop()
		c, err = model.Checkpoint(t.Context(), "h")
		ok(t, err)
		want(t, "checkpoint after draining", c.Seqs[leat.ShardNumber(0)], uint64(101))
	})
}

func TestProjectionIsFencedByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		model := servicetest.NewMemory()
		first := start(t, log, history("h", model))
		fill(t, log, "a-1")
		first.caughtUp()

		second := start(t, log, history("h", model))
		synctest.Wait()
		fill(t, log, "a-1")
		synctest.Wait()
		errs := 0
		for _, app := range []*running{first, second} {
			app.cancel()
			if err := app.ended(); err != nil {
				errs++
				want(t, "is ErrFenced", errors.Is(err, leat.ErrFenced), true)
				want(t, "names the application", strings.Contains(err.Error(), `"h"`), true)
			}
		}
		want(t, "apps that were fenced", errs, 1)
		want(t, "a-1", model.Data()["a-1"], "1 2")
	})
}

func TestProjectionStopsWhenTheLogDoesNotHoldItsCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		model := servicetest.NewMemory()
		log := newLog(t, leat.Config{})
		fill(t, log, "a-1", "a-1")
		app := start(t, log, history("h", model))
		app.caughtUp()
		app.stop()
		start(t, newLog(t, leat.Config{}), history("h", model)).endsWith(leat.ErrDiverged)
		ok(t, log.Close())
		start(t, log, history("h", model)).endsWith(leat.ErrClosed)
	})
}

// After a restore the checkpoint goes on under the new epoch, all shards of it.
func TestProjectionGoesOnAfterARestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		model := servicetest.NewMemory()
		log := newLog(t, leat.Config{ID: "L", Shards: leat.EvenShards(2)})
		fill(t, log, repeated(5, "a-1", "b-1", "c-1")...)
		app := start(t, log, history("h", model))
		app.caughtUp()
		app.stop()

		shards, err := log.Shards(t.Context())
		ok(t, err)
		ended := leat.Epoch{Number: 1, Heads: make(map[leat.ShardID]uint64)}
		for _, s := range shards {
			ended.Heads[s.ID] = s.Head
		}
		restored := newLog(t, leat.Config{ID: "L", Shards: leat.EvenShards(2), Ended: []leat.Epoch{ended}})
		for _, s := range shards {
			b, err := log.ReadShard(t.Context(), s.ID, 0, leat.ReadOptions{Filter: leat.Filter{System: true}})
			ok(t, err)
			ok(t, restored.Import(t.Context(), s.ID, b.Events))
		}
		fill(t, restored, repeated(5, "a-1", "b-1", "c-1")...)
		app = start(t, restored, history("h", model))
		app.caughtUp()
		app.stop()
		for _, s := range []string{"a-1", "b-1", "c-1"} {
			want(t, s, model.Data()[s], versions(10))
		}
		c, err := model.Checkpoint(t.Context(), "h")
		ok(t, err)
		want(t, "epoch", c.Epoch, uint64(2))
	})
}

func TestProjectionFollowsSplits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		model := servicetest.NewMemory()
		streams := []string{"a-1", "b-1", "c-1", "d-1", "e-1", "f-1"}
		app := start(t, log, history("h", model))
		for round := range 4 {
			fill(t, log, repeated(25, streams...)...)
			shards, err := log.Shards(t.Context())
			ok(t, err)
			last := shards[len(shards)-1]
			_, err = log.Split(t.Context(), last.ID, last.Middle())
			ok(t, err)
			if round == 1 {
				app.stop()
				app = start(t, log, history("h", model))
			}
		}
		app.caughtUp()
		for _, s := range streams {
			want(t, s, model.Data()[s], versions(100))
		}
		synctest.Wait()
		closed := 0
		for _, s := range app.status().Shards {
			if s.Closed {
				closed++
			}
		}
		want(t, "closed shards", closed, 4)
		app.stop()
		c, err := model.Checkpoint(t.Context(), "h")
		ok(t, err)
		shards, err := log.Shards(t.Context())
		ok(t, err)
		for _, s := range shards {
			want(t, "checkpoint of "+string(s.ID), c.Seqs[s.ID], s.Head)
		}
	})
}

// The to-do list: Apply writes what is due, Then carries it out.
func TestThenCarriesOutWhatIsDueThoughItFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		model := servicetest.NewMemory()
		stocks := newStocks()
		failures := 0
		p := service.Projection[*tx]{
			Name: "orders", Filter: leat.Filter{Categories: []string{"order"}}, Into: model,
			Apply: func(_ context.Context, tx *tx, r leat.Recorded) error {
				tx.Set("due/"+r.Stream, r.ID)
				return nil
			},
			Then: func(ctx context.Context) error {
				for key, id := range model.Data() {
					if !strings.HasPrefix(key, "due/") || id == "" {
						continue
					}
					if failures++; failures%3 == 0 {
						return errBroken
					}
					if _, err := stocks.Do(ctx, log, "A", receive(1), service.CommandID(id)); err != nil {
						return err
					}
					if failures%4 == 0 {
						return errBroken // after the command, before it is marked as done
					}
					err := model.Commit(ctx, service.Step{Name: "mark"}, func(_ context.Context, tx *tx) error {
						tx.Set(key, "")
						return nil
					})
					if err != nil {
						return err
					}
				}
				return nil
			},
		}
		for i := range 30 {
			fill(t, log, fmt.Sprintf("order-%d", i))
		}
		app := start(t, log, p)
		app.caughtUp()
		app.stop()
		want(t, "commands", len(stream(t, log, "stock-A")), 30)

		// A process that was killed before Then does it when it starts.
		ok(t, model.Commit(t.Context(), service.Step{Name: "mark"}, func(_ context.Context, tx *tx) error {
			tx.Set("due/order-99", "id-99")
			return nil
		}))
		app = start(t, log, p)
		app.caughtUp()
		app.stop()
		want(t, "commands", len(stream(t, log, "stock-A")), 31)
	})
}

func TestThenStopsTheAppWhenItsErrorIsPermanent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := history("h", servicetest.NewMemory())
		p.Then = func(context.Context) error { return service.Permanent(errBroken) }
		start(t, newLog(t, leat.Config{}), p).endsWith(errBroken)
	})
}

func TestProjectionDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		model := servicetest.NewMemory()
		p := history("h", model)
		apply := p.Apply
		p.Apply = func(ctx context.Context, tx *tx, r leat.Recorded) error {
			select {
			case <-time.After(5 * time.Second):
			case <-ctx.Done():
				return ctx.Err()
			}
			return apply(ctx, tx, r)
		}
		fill(t, log, "a-1")
		app := start(t, log, p)
		synctest.Wait()
		app.stop()
		want(t, "what was at work", model.Data()["a-1"], "1")

		fill(t, log, "a-1", "a-1", "a-1")
		app = start(t, log, p)
		synctest.Wait()
		began := time.Now()
		app.stop()
		want(t, "what takes longer than Drain", model.Data()["a-1"], "1")
		want(t, "drained after", time.Since(began), 10*time.Second)
	})
}

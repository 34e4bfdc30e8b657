package service_test

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

var errAway = errors.New("connection lost")

// away is a read model whose database cannot be reached now and then, or is
// lost in the middle of a call.
type away struct {
	*servicetest.Memory
	commit func(s service.Step, commit func() error) error // when set
	down   time.Time                                       // until when
}

func (a *away) Save(ctx context.Context, s service.Step) error {
	return a.Commit(ctx, s, func(context.Context, *tx) error { return nil })
}

func (a *away) Commit(ctx context.Context, s service.Step, do func(context.Context, *tx) error) error {
	if time.Now().Before(a.down) {
		return errAway
	}
	commit := func() error { return a.Memory.Commit(ctx, s, do) }
	if a.commit == nil {
		return commit()
	}
	return a.commit(s, commit)
}

func (a *away) Checkpoint(ctx context.Context, name string) (leat.Checkpoint, error) {
	if time.Now().Before(a.down) {
		return leat.Checkpoint{}, errAway
	}
	return a.Memory.Checkpoint(ctx, name)
}

// The database is lost while it commits, so that nobody can tell at first
// whether it did.
func TestACommitOfUnknownOutcomeIsLookedUpWhenTheDatabaseIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		w := newWitness(t)
		lost := func() *away {
			a := &away{Memory: servicetest.NewMemory()}
			a.commit = func(_ service.Step, commit func() error) error {
				ok(t, commit())
				a.commit, a.down = nil, time.Now().Add(2*time.Second)
				return errAway
			}
			return a
		}
		model, store := lost(), lost()
		w.checked = store
		fill(t, log, "a-1", "a-1")
		app := start(t, log, history("h", model), w.reactor(2))
		app.caughtUp()
		time.Sleep(10 * time.Second)
		fill(t, log, "a-1")
		app.caughtUp()
		app.stop()
		want(t, "a-1", model.Data()["a-1"], versions(3))
		want(t, "a-1", w.of("a-1"), versions(3))
	})
}

// Another process of the same application, as while a new version is rolled
// out, commits the same step; this one's transaction fails because of it.
func TestProjectionBeatenToACommitDoesNotApplyTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		model := &away{Memory: servicetest.NewMemory()}
		fill(t, log, repeated(5, "a-1")...)
		p := history("h", model)
		apply := p.Apply
		beaten := false
		p.Apply = func(ctx context.Context, tx *tx, r leat.Recorded) error {
			if r.Version == 4 && beaten {
				return errors.New("serialization failure")
			}
			return apply(ctx, tx, r)
		}
		model.commit = func(s service.Step, commit func() error) error {
			if s.To.Seqs[leat.ShardNumber(0)] != 5 || beaten {
				return commit()
			}
			beaten = true
			defer func() { model.commit = nil }()
			failed := commit()
			other := start(t, log, history("h", model.Memory))
			other.caughtUp()
			other.stop()
			return failed
		}
		start(t, log, p).endsWith(leat.ErrFenced)
		want(t, "a-1", model.Data()["a-1"], versions(5))
	})
}

// A parked event is handled and taken off the list, but the answer of the
// database is lost: it must not come back onto the list.
func TestAParkedEventIsHandledOnceThoughTheAnswerIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		model := &away{Memory: servicetest.NewMemory()}
		broken := true
		p := history("h", model)
		apply := p.Apply
		p.Apply = func(ctx context.Context, tx *tx, r leat.Recorded) error {
			if broken {
				return service.Permanent(errBroken)
			}
			return apply(ctx, tx, r)
		}
		fill(t, log, "a-1", "a-1")
		app := start(t, log, p)
		app.caughtUp()
		broken = false
		model.commit = func(s service.Step, commit func() error) error {
			if len(s.Done) > 0 {
				model.commit = nil
				ok(t, commit())
				return errAway
			}
			return commit()
		}
		ok(t, model.Retry(t.Context(), "h", "a-1"))
		time.Sleep(10 * time.Second)
		_ = model.Retry(t.Context(), "h", "a-1")
		time.Sleep(10 * time.Second)
		want(t, "parked", parkedList(t, model, "h"), "")
		want(t, "a-1", model.Data()["a-1"], versions(2))
		app.stop()
	})
}

// Handlers fail for as long as the database is away; no event is to blame.
func TestProjectionParksNothingBecauseTheDatabaseIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		model := &away{Memory: servicetest.NewMemory()}
		began := time.Now()
		isAway := func() bool { return time.Since(began) < 5*time.Minute }
		p := history("h", model)
		apply := p.Apply
		p.Apply = func(ctx context.Context, tx *tx, r leat.Recorded) error {
			if isAway() {
				return errAway
			}
			return apply(ctx, tx, r)
		}
		model.commit = func(s service.Step, commit func() error) error {
			if isAway() && len(s.Park) > 0 {
				return errAway
			}
			return commit()
		}
		fill(t, log, "a-1", "b-1", "a-1")
		app := start(t, log, p)
		app.caughtUp()
		app.stop()
		want(t, "parked", parkedList(t, model, "h"), "")
		want(t, "a-1", model.Data()["a-1"], versions(2))
		want(t, "b-1", model.Data()["b-1"], versions(1))
	})
}

// A database that is told of all writes at the end refuses one: the event that
// wrote it is found, and no other is parked.
func TestTheEventOfAWriteThatIsRefusedLateIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		model := &away{Memory: servicetest.NewMemory()}
		var refused bool
		model.commit = func(_ service.Step, commit func() error) error {
			refused = false
			return commit()
		}
		p := history("h", lateModel{model, &refused})
		apply := p.Apply
		p.Apply = func(ctx context.Context, tx *tx, r leat.Recorded) error {
			refused = refused || r.Stream == "bad-1"
			return apply(ctx, tx, r)
		}
		fill(t, log, "a-1", "b-1", "a-1", "bad-1", "b-1", "c-1", "bad-1", "a-1")
		app := start(t, log, p)
		app.caughtUp()
		app.stop()
		want(t, "parked", parkedList(t, model, "h"), "bad-1@1:away*10 bad-1@2:*0")
		want(t, "a-1", model.Data()["a-1"], versions(3))
		want(t, "b-1", model.Data()["b-1"], versions(2))
		want(t, "bad-1", model.Data()["bad-1"], "")
	})
}

// A lateModel refuses a transaction when all of it is written.
type lateModel struct {
	*away
	refuse *bool
}

func (m lateModel) Commit(ctx context.Context, s service.Step, do func(context.Context, *tx) error) error {
	return m.away.Commit(ctx, s, func(ctx context.Context, tx *tx) error {
		if err := do(ctx, tx); err != nil || !*m.refuse {
			return err
		}
		return service.Late(errors.New("away with it"))
	})
}

// An event is not parked for what is not its fault, however often it fails.
func TestTransientFailuresParkNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		model := &away{Memory: servicetest.NewMemory()}
		failing := func() func() error { // 29 times, and then once not
			failures := 0
			return func() error {
				if failures++; failures%30 != 0 {
					return service.Transient(service.Permanent(errAway))
				}
				return nil
			}
		}
		p := history("h", transientModel{model, failing()})
		w := newWitness(t)
		fails := failing()
		w.handle = func(context.Context, leat.Recorded) error { return fails() }
		fill(t, log, "a-1", "b-1", "a-1")
		app := start(t, log, p, w.reactor(1))
		app.caughtUp()
		app.stop()
		want(t, "parked", parkedList(t, model, "h")+parkedList(t, w.checked, "w"), "")
		want(t, "a-1", model.Data()["a-1"], versions(2))
	})
}

// A transientModel fails although it has called its handlers.
type transientModel struct {
	*away
	fails func() error
}

func (m transientModel) Commit(ctx context.Context, s service.Step, do func(context.Context, *tx) error) error {
	return m.away.Commit(ctx, s, func(ctx context.Context, tx *tx) error {
		if err := do(ctx, tx); err != nil {
			return err
		}
		return m.fails()
	})
}

// When an application fails for good, its other handlers get as long as when
// the App is stopped.
func TestAFailureForGoodDoesNotWaitForHandlersForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		w := newWitness(t)
		w.handle = func(ctx context.Context, r leat.Recorded) error {
			if r.Stream == "a-1" {
				return leat.ErrFenced
			}
			<-ctx.Done()
			return ctx.Err()
		}
		fill(t, log, "b-1", "a-1")
		app := start(t, log, w.reactor(2))
		began := time.Now()
		app.endsWith(leat.ErrFenced)
		want(t, "ended after", time.Since(began), 10*time.Second)
	})
}

// What Drain cuts off comes again; that is no error.
func TestProjectionCutOffByDrainEndsWithoutAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		p := history("h", servicetest.NewMemory())
		p.Filter.Categories = []string{"a"}
		hold := make(chan struct{})
		p.Then = func(context.Context) error { // and one that does not obey its context
			<-hold
			return nil
		}
		fill(t, log, "b-1")
		app := start(t, log, p)
		synctest.Wait()
		close(hold)
		app.caughtUp()
		hold = make(chan struct{})
		fill(t, log, "a-1", "b-1")
		synctest.Wait()
		app.cancel()
		time.Sleep(time.Minute)
		close(hold)
		app.stop()
	})
}

func TestPausesMayBeginLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		model := &away{Memory: servicetest.NewMemory()}
		failures := 0
		model.commit = func(_ service.Step, commit func() error) error {
			if failures++; failures < 60 {
				return errAway
			}
			return commit()
		}
		fill(t, log, "a-1")
		app, err := service.NewApp(service.Config{
			Log: log, Logger: slog.New(slog.DiscardHandler), Retry: service.Retry{First: 10 * time.Second, Most: time.Minute},
		}, history("h", model))
		ok(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		ok(t, app.Run(ctx))
		want(t, "a-1", model.Data()["a-1"], "1")
	})
}

// unreadable is a log whose streams cannot be read for a time.
type unreadable struct {
	leat.Log
	until time.Time
}

func (u *unreadable) ReadStream(ctx context.Context, stream string, r leat.Range) iter.Seq2[leat.Recorded, error] {
	if time.Now().Before(u.until) {
		return func(yield func(leat.Recorded, error) bool) { yield(leat.Recorded{}, errAway) }
	}
	return u.Log.ReadStream(ctx, stream, r)
}

// A Retry is not used up by a log that is away for a moment.
func TestRetryWaitsForTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &unreadable{Log: newLog(t, leat.Config{})}
		w := newWitness(t)
		broken := true
		w.handle = func(context.Context, leat.Recorded) error {
			if broken {
				return service.Permanent(errBroken)
			}
			return nil
		}
		model := servicetest.NewMemory()
		p := history("h", model)
		apply := p.Apply
		p.Apply = func(ctx context.Context, tx *tx, r leat.Recorded) error {
			if broken {
				return service.Permanent(errBroken)
			}
			return apply(ctx, tx, r)
		}
		fill(t, log, "a-1", "a-1")
		app := start(t, log, w.reactor(2), p)
		app.caughtUp()
		time.Sleep(2 * time.Second)
		broken = false
		log.until = time.Now().Add(time.Minute)
		ok(t, w.checked.Retry(t.Context(), "w", "a-1"))
		ok(t, model.Retry(t.Context(), "h", "a-1"))
		time.Sleep(2 * time.Minute)
		want(t, "a-1", w.of("a-1"), versions(2))
		want(t, "a-1", model.Data()["a-1"], versions(2))
		want(t, "parked", parkedList(t, w.checked, "w")+parkedList(t, model, "h"), "")
		app.stop()
	})
}

package service_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

// A fate says what becomes of events of a stream.
type fate struct {
	mu  sync.Mutex
	say func(stream string) error
}

func (f *fate) is(say func(stream string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.say = say
}

func (f *fate) of(stream string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.say(stream)
}

func good(string) error { return nil }

// always returns an error for a stream, and none for others.
func always(failing string, err error) func(string) error {
	return func(stream string) error {
		if stream == failing {
			return err
		}
		return nil
	}
}

// retrying runs a test with applications that park the first event of each
// stream: a projection, a reactor and a forwarder. Then fate decides.
func retrying(t *testing.T, test func(t *testing.T, log leat.Log, store *away, f *fate, app *running)) {
	for _, kind := range []string{"projection", "reactor", "forwarder"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, store := newLog(t, leat.Config{}), &away{Memory: servicetest.NewMemory()}
				f := &fate{say: func(string) error { return service.Permanent(errBroken) }}
				p := history("f", store)
				apply := p.Apply
				p.Apply = func(ctx context.Context, tx *tx, r leat.Recorded) error {
					if err := f.of(r.Stream); err != nil {
						return err
					}
					return apply(ctx, tx, r)
				}
				in := newInbox(t, service.Bounds{})
				in.send = func(d service.Delivery) error { return f.of(d.Events[0].Stream) }
				runner := map[string]service.Runner{
					"projection": p, "forwarder": in.forwarder(store),
					"reactor": service.Reactor{Name: "f", Checkpoints: store, React: func(_ context.Context, r leat.Recorded) error { return f.of(r.Stream) }},
				}[kind]
				fill(t, log, "a-1", "b-1", "a-1")
				app := start(t, log, runner)
				app.caughtUp()
				time.Sleep(2 * time.Second)
				want(t, "parked", parkedList(t, store, "f"), "a-1@1:broken*1 a-1@2:*0 b-1@1:broken*1")
				test(t, log, store, f, app)
				app.stop()
			})
		})
	}
}

// That an event is done cannot be stored for a while: that is not put down to
// the event, and nobody has to ask again.
func TestAParkedEventIsNotBlamedForTheDatabase(t *testing.T) {
	retrying(t, func(t *testing.T, _ leat.Log, store *away, f *fate, _ *running) {
		f.is(good)
		back := time.Now().Add(time.Minute)
		store.commit = func(s service.Step, commit func() error) error {
			if len(s.Done) > len(s.Park) && time.Now().Before(back) {
				return errAway
			}
			return commit()
		}
		ok(t, store.Retry(t.Context(), "f", "a-1"))
		time.Sleep(50 * time.Second)
		want(t, "parked while the database is away", parkedList(t, store, "f"), "a-1@1:broken*1 a-1@2:*0 b-1@1:broken*1")
		time.Sleep(time.Minute)
		want(t, "parked when it is back", parkedList(t, store, "f"), "b-1@1:broken*1")
	})
}

// A stream that cannot be tried for now holds up no other: parked ones that are
// tried again, too, and none that come anew.
func TestAStreamThatIsTriedAgainHoldsUpNoOther(t *testing.T) {
	retrying(t, func(t *testing.T, log leat.Log, store *away, f *fate, app *running) {
		f.is(always("a-1", service.Transient(errAway)))
		ok(t, store.Retry(t.Context(), "f", "a-1"))
		ok(t, store.Retry(t.Context(), "f", "b-1"))
		time.Sleep(5 * time.Second)
		want(t, "parked", parkedList(t, store, "f"), "a-1@1:broken*1 a-1@2:*0")
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ok(t, app.app.WaitFor(ctx, fill(t, log, "c-1")))
		f.is(good)
		time.Sleep(11 * time.Second)
		want(t, "parked", parkedList(t, store, "f"), "")
	})
}

// A destination that is away takes nothing: an event that is tried again
// meanwhile stays to be tried. One that fails while others are taken is to blame.
func TestForwarderTriesAParkedEventUntilItsDestinationIsBack(t *testing.T) {
	for name, c := range map[string]struct{ meanwhile, after string }{
		"it is back":       {"a-1@1:broken*1", ""},
		"others are taken": {"a-1@1:broken*1", "a-1@1:connection*2"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, store := newLog(t, leat.Config{}), servicetest.NewMemory()
				in := newInbox(t, service.Bounds{})
				f := &fate{say: always("a-1", service.Permanent(errBroken))}
				in.send = func(d service.Delivery) error { return f.of(d.Events[0].Stream) }
				fill(t, log, "a-1")
				app := start(t, log, in.forwarder(store))
				app.caughtUp()
				synctest.Wait() // until what is parked is saved
				f.is(always("a-1", errAway))
				ok(t, store.Retry(t.Context(), "f", "a-1"))
				time.Sleep(time.Hour)
				want(t, "parked meanwhile", parkedList(t, store, "f"), c.meanwhile)
				if c.after == "" {
					f.is(good)
				} else {
					fill(t, log, "b-1")
				}
				time.Sleep(time.Minute)
				want(t, "parked after", parkedList(t, store, "f"), c.after)
				app.stop()
			})
		})
	}
}

package service_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

// An inbox is a destination that notes what it takes.
type inbox struct {
	t      testing.TB
	bounds service.Bounds
	check  func(from leat.Info) error
	send   func(d service.Delivery) error // decides, when set; nil errors are taken

	mu    sync.Mutex
	sizes []int             // events of each Send
	taken map[string]string // per stream the versions
	tries map[string]int    // of each event
}

func newInbox(t testing.TB, b service.Bounds) *inbox {
	return &inbox{t: t, bounds: b, taken: make(map[string]string), tries: make(map[string]int)}
}

func (in *inbox) Bounds() service.Bounds { return in.bounds }

func (in *inbox) Check(_ context.Context, from leat.Info) error {
	if in.check == nil {
		return nil
	}
	return in.check(from)
}

func (in *inbox) Send(_ context.Context, d service.Delivery) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.sizes = append(in.sizes, len(d.Events))
	in.bounded(d.Events)
	for _, e := range d.Events {
		in.tries[fmt.Sprint(e.Stream, "@", e.Version)]++
	}
	var err error
	if in.send != nil {
		err = in.send(d)
	}
	each, partly := errors.AsType[service.SendErrors](err)
	for i, e := range d.Events {
		if err == nil || partly && each[i] == nil {
			in.taken[e.Stream] = strings.TrimSpace(fmt.Sprint(in.taken[e.Stream], " ", e.Version))
		}
	}
	return err
}

// bounded checks that a Send keeps to the bounds.
func (in *inbox) bounded(events []leat.Recorded) {
	bytes, streams := 0, make(map[string]uint64)
	for _, e := range events {
		bytes += e.Size()
		if last, twice := streams[e.Stream]; twice && (in.bounds.OnePerStream || e.Version <= last) {
			in.t.Errorf("version %d of %s is in one delivery with version %d before it", e.Version, e.Stream, last)
		}
		streams[e.Stream] = e.Version
	}
	if len(events) > max(1, in.bounds.Events) || len(events) > 1 && in.bounds.Bytes > 0 && bytes > in.bounds.Bytes {
		in.t.Errorf("a delivery has %d events of %d bytes, the bounds are %+v", len(events), bytes, in.bounds)
	}
}

func (in *inbox) of(stream string) string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.taken[stream]
}

// each returns what a function says of each event.
func each(d service.Delivery, f func(leat.Recorded) error) error {
	errs := make(service.SendErrors, len(d.Events))
	failed := make(map[string]bool)
	for i, e := range d.Events {
		if errs[i] = f(e); failed[e.Stream] {
			errs[i] = service.ErrBehind
		}
		failed[e.Stream] = errs[i] != nil
	}
	return errs.OrNil()
}

// whole returns the first error that a function has for any event.
func whole(d service.Delivery, f func(leat.Recorded) error) error {
	for _, e := range d.Events {
		if err := f(e); err != nil {
			return err
		}
	}
	return nil
}

func (in *inbox) forwarder(store service.CheckpointStore) service.Forwarder {
	return service.Forwarder{Name: "f", To: in, Checkpoints: store}
}

func TestForwarderSendsInOrderAndInBatches(t *testing.T) {
	for name, b := range map[string]service.Bounds{
		"one":            {},
		"many":           {Events: 50},
		"bytes":          {Events: 500, Bytes: 600},
		"one per stream": {Events: 5, OnePerStream: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := newLog(t, leat.Config{Shards: leat.EvenShards(2)})
				streams := streamsNamed(9)
				fill(t, log, repeated(40, streams...)...)
				in := newInbox(t, b)
				app := start(t, log, in.forwarder(servicetest.NewMemory()))
				app.caughtUp()
				app.stop()
				for _, s := range streams {
					want(t, s, in.of(s), versions(40))
				}
				want(t, "status", counts(app.status()), "seen 360 handled 360 skipped 0 parked 0 unparked 0 failures 0")
				want(t, "forwarded", app.status().Forwarded, uint64(360))
				if least := min(5, max(1, b.Events)); slices.Max(in.sizes) < least {
					t.Errorf("the largest delivery has %d events, want %d or more", slices.Max(in.sizes), least)
				}
			})
		})
	}
}

func TestForwarderSendsAgainOnlyWhatFailedAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		in := newInbox(t, service.Bounds{Events: 100})
		in.send = func(d service.Delivery) error {
			return each(d, func(e leat.Recorded) error {
				if e.Stream == "a-1" && e.Version == 2 && in.tries["a-1@2"] < 4 {
					return errBroken
				}
				return nil
			})
		}
		fill(t, log, repeated(3, "a-1", "b-1")...)
		app := start(t, log, in.forwarder(servicetest.NewMemory()))
		app.caughtUp()
		app.stop()
		want(t, "a-1", in.of("a-1"), versions(3))
		want(t, "b-1", in.of("b-1"), versions(3))
		want(t, "tries", fmt.Sprint(in.tries), "map[a-1@1:1 a-1@2:4 a-1@3:4 b-1@1:1 b-1@2:1 b-1@3:1]")
	})
}

// A batch is refused as a whole because of one event: it is found and parked, and
// what follows in its stream; all others get through.
func TestForwarderFindsTheEventThatABatchIsRefusedFor(t *testing.T) {
	for name, refusal := range map[string]error{"for good": service.Permanent(errBroken), "again and again": errBroken} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := newLog(t, leat.Config{})
				in := newInbox(t, service.Bounds{Events: 100})
				broken := true
				in.send = func(d service.Delivery) error {
					return whole(d, func(e leat.Recorded) error {
						if broken && e.Stream == "s-3" && e.Version == 2 {
							return refusal
						}
						return nil
					})
				}
				streams, store := streamsNamed(40), servicetest.NewMemory()
				fill(t, log, repeated(3, streams...)...)
				app := start(t, log, in.forwarder(store))
				for range 15 { // others have to be taken, or the destination may be away
					fill(t, log, "b-1")
					time.Sleep(15 * time.Second)
				}
				app.caughtUp()
				why := "broken*10"
				if name == "for good" {
					why = "broken*1"
				}
				want(t, "parked", parkedList(t, store, "f"), "s-3@2:"+why+" s-3@3:*0")
				for _, s := range streams {
					if s != "s-3" {
						want(t, s, in.of(s), versions(3))
					}
				}
				broken = false
				ok(t, store.Retry(t.Context(), "f", "s-3"))
				time.Sleep(5 * time.Second)
				fill(t, log, "s-3")
				app.caughtUp()
				want(t, "s-3", in.of("s-3"), versions(4))
				want(t, "parked", parkedList(t, store, "f"), "")
				want(t, "forwarded", app.status().Forwarded, uint64(3*40+15+1))
				app.stop()
			})
		})
	}
}

// When nothing is taken no event is to blame, however long it lasts.
func TestForwarderParksNothingWhileItsDestinationIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		in := newInbox(t, service.Bounds{Events: 100})
		began, failures := time.Now(), 0
		in.send = func(service.Delivery) error {
			if time.Since(began) < 6*time.Hour {
				failures++
				return errAway
			}
			return nil
		}
		store := servicetest.NewMemory()
		fill(t, log, repeated(3, streamsNamed(200)...)...)
		app := start(t, log, in.forwarder(store))
		time.Sleep(time.Hour)
		want(t, "lag", app.status().Lag, uint64(600))
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		to, err := leat.Start(ctx, log, leat.Now)
		ok(t, err)
		ok(t, app.app.WaitCaughtUp(ctx, to))
		app.stop()
		want(t, "parked", parkedList(t, store, "f"), "")
		for _, s := range streamsNamed(200) {
			want(t, s, in.of(s), versions(3))
		}
	})
}

// One stream is refused for ever while others are taken: it does not hold them
// up for good. Unless the destination says that it cannot take it now.
func TestForwarderParksWhatFailsWhileOthersAreTaken(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		parked string
	}{
		"broken":      {errBroken, "bad-1@1:broken*10 bad-1@2:*0"},
		"unavailable": {fmt.Errorf("throttled: %w", leat.ErrUnavailable), ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := newLog(t, leat.Config{})
				in := newInbox(t, service.Bounds{Events: 10})
				in.send = func(d service.Delivery) error {
					return whole(d, func(e leat.Recorded) error {
						if e.Stream == "bad-1" {
							return c.err
						}
						return nil
					})
				}
				store := servicetest.NewMemory()
				fill(t, log, "bad-1", "bad-1")
				app := start(t, log, in.forwarder(store))
				for range 100 {
					fill(t, log, "a-1")
					time.Sleep(11 * time.Second)
				}
				want(t, "parked", parkedList(t, store, "f"), c.parked)
				want(t, "a-1", in.of("a-1"), versions(100))
				app.stop()
			})
		})
	}
}

func TestForwarderWaitsAsLongAsItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		in := newInbox(t, service.Bounds{})
		began := time.Now()
		var at []time.Duration
		in.send = func(service.Delivery) error {
			if at = append(at, time.Since(began)); len(at) == 1 {
				return fmt.Errorf("not now: %w", service.RetryAfter(errAway, time.Minute))
			}
			return nil
		}
		fill(t, log, "a-1")
		app := start(t, log, in.forwarder(servicetest.NewMemory()))
		app.caughtUp()
		app.stop()
		want(t, "attempts", fmt.Sprint(at), "[0s 1m0s]")
	})
}

func TestForwarderTransforms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		in, store := newInbox(t, service.Bounds{Events: 10}), servicetest.NewMemory()
		var got []string
		in.send = func(d service.Delivery) error {
			for _, e := range d.Events {
				got = append(got, fmt.Sprintf("%s@%d/%d", e.Type, e.Version, e.Seq))
			}
			return nil
		}
		f := in.forwarder(store)
		f.Transform = func(r leat.Recorded) (leat.Recorded, error) {
			switch {
			case r.Version == 2:
				return r, service.ErrSkipped
			case r.Stream == "b-1" && r.Version == 3:
				return r, errBroken
			case r.Stream == "c-1":
				panic("what is this")
			}
			return leat.Recorded{Event: leat.Event{Type: "Out", Stream: r.Stream}}, nil
		}
		fill(t, log, repeated(4, "a-1", "b-1")...)
		fill(t, log, "c-1")
		app := start(t, log, f)
		app.caughtUp()
		app.stop()
		slices.Sort(got)
		want(t, "sent", strings.Join(got, " "), "Out@1/1 Out@1/2 Out@3/5 Out@4/7")
		want(t, "parked", parkedList(t, store, "f"), "b-1@3:broken*1 b-1@4:*0 c-1@1:panic:*1")
		want(t, "status", counts(app.status()), "seen 9 handled 4 skipped 2 parked 3 unparked 0 failures 2")
	})
}

func TestForwarderChecksItsDestinationFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		info, err := log.Info(t.Context())
		ok(t, err)
		fill(t, log, "a-1")
		in := newInbox(t, service.Bounds{})
		checks := 0
		in.check = func(from leat.Info) error {
			want(t, "log", from.ID, info.ID)
			if checks++; checks < 3 {
				return errAway
			}
			return nil
		}
		app := start(t, log, in.forwarder(servicetest.NewMemory()))
		app.caughtUp()
		app.stop()
		want(t, "checks", checks, 3)
		want(t, "a-1", in.of("a-1"), "1")

		in.check = func(leat.Info) error { return service.Permanent(errBroken) }
		fill(t, log, "a-1")
		start(t, log, in.forwarder(servicetest.NewMemory())).endsWith(errBroken)
		want(t, "a-1", in.of("a-1"), "1")
	})
}

func TestForwarderSaysWhatIsMissing(t *testing.T) {
	in, store := newInbox(t, service.Bounds{}), servicetest.NewMemory()
	for field, f := range map[string]service.Forwarder{
		`Forwarder "f": To`:          {Name: "f", Checkpoints: store},
		`Forwarder "f": Checkpoints`: {Name: "f", To: in},
		`Forwarder "f": Parallel`:    {Name: "f", To: in, Checkpoints: store, Parallel: -1},
		`Forwarder.Name`:             {To: in, Checkpoints: store},
	} {
		_, err := service.NewApp(service.Config{Log: newLog(t, leat.Config{})}, f)
		invalid, is := errors.AsType[*leat.InvalidError](err)
		if !is || invalid.Field != field {
			t.Errorf("NewApp: %v, want an invalid %s", err, field)
		}
	}
}

func TestForwarderFollowsSplitsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		in := newInbox(t, service.Bounds{Events: 3})
		streams := streamsNamed(9)
		app := start(t, log, in.forwarder(servicetest.NewMemory()))
		for range 3 {
			fill(t, log, repeated(20, streams...)...)
			shards, err := log.Shards(t.Context())
			ok(t, err)
			last := shards[len(shards)-1]
			_, err = log.Split(t.Context(), last.ID, last.Middle())
			ok(t, err)
		}
		app.caughtUp()
		app.stop()
		for _, s := range streams {
			want(t, s, in.of(s), versions(60))
		}
	})
}

// forwarder notes what it sent and checks its order as it goes.
func (c *chaos) forwarder(b service.Bounds) func(store *chaosStore) service.Runner {
	return func(store *chaosStore) service.Runner {
		return service.Forwarder{Name: "app", Checkpoints: store, Parallel: 3, To: &chaosInbox{c, b, store.number}}
	}
}

// A chaosInbox is a destination as one process reaches it.
type chaosInbox struct {
	*chaos
	bounds service.Bounds
	number int
}

func (in *chaosInbox) Bounds() service.Bounds                 { return in.bounds }
func (in *chaosInbox) Check(context.Context, leat.Info) error { return in.strike(3) }

func (in *chaosInbox) Send(_ context.Context, d service.Delivery) error {
	in.enter(in.number, d.Events...)
	defer in.leave(in.number, d.Events...)
	time.Sleep(time.Duration(in.below(20)) * time.Millisecond)
	if err := in.strike(20); err != nil {
		return err // before anything was taken
	}
	failed := make(map[string]bool)
	errs := make(service.SendErrors, len(d.Events))
	for i, e := range d.Events {
		errs[i] = service.ErrBehind
		if !failed[e.Stream] {
			errs[i] = in.fate(e)
		}
		if failed[e.Stream] = errs[i] != nil; errs[i] == nil {
			in.note(e)
		}
	}
	if err := in.strike(20); err != nil {
		return err // the answer is lost
	}
	return errs.OrNil()
}

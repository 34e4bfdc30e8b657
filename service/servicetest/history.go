package servicetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/service"
)

// A History is a list of events that an application handles. View is what shows
// the outcome, best a plain struct, slice or map.
type History[View any] struct {
	t       testing.TB
	setUp   func(log leat.Log, f *fault) subject[View]
	events  []leat.Event
	checked bool
}

// A subject is an application under test.
type subject[View any] struct {
	runner service.Runner
	store  service.CheckpointStore
	name   string
	view   func() View
}

// ForProjection starts a test of a projection. setUp returns it with a new and
// empty read model, and a function that shows what is in that. It is called once
// for each time that the history is handled, with the log that holds it, in
// memory.
//
//	servicetest.ForProjection(t, func(t testing.TB, _ leat.Log) (service.Projection[*sql.Tx], func() map[string]int) {
//		db := openStock(t)
//		return stock(db), func() map[string]int { return unitsIn(t, db) }
//	}).
//		Given(servicetest.Events(t, types, "stock-1", Received{Units: 5}, Sold{Units: 2})...).
//		Then(map[string]int{"stock-1": 3}).
//		ThenDespiteFailures()
func ForProjection[Tx, View any](t testing.TB, setUp func(t testing.TB, log leat.Log) (service.Projection[Tx], func() View)) *History[View] {
	t.Helper()
	return newHistory(t, func(log leat.Log, f *fault) subject[View] {
		p, view := setUp(t, log)
		s := subject[View]{store: p.Into, name: p.Name, view: view}
		apply, then := p.Apply, p.Then
		if p.Into != nil && apply != nil { // NewApp says that they are missing
			p.Into = faultyModel[Tx]{p.Into, f}
			p.Apply = func(ctx context.Context, tx Tx, r leat.Recorded) error {
				return f.around(atHandler, func() error { return apply(ctx, tx, r) })
			}
		}
		if then != nil {
			p.Then = func(ctx context.Context) error {
				return f.around(atHandler, func() error { return then(ctx) })
			}
		}
		s.runner = p
		return s
	})
}

// ForReactor starts a test of a reactor, as ForProjection. What the reactor does
// is best shown by what it appended to the log.
func ForReactor[View any](t testing.TB, setUp func(t testing.TB, log leat.Log) (service.Reactor, func() View)) *History[View] {
	t.Helper()
	return newHistory(t, func(log leat.Log, f *fault) subject[View] {
		r, view := setUp(t, log)
		s := subject[View]{store: r.Checkpoints, name: r.Name, view: view}
		react := r.React
		if r.Checkpoints != nil && react != nil { // as above
			r.Checkpoints = faultyStore{r.Checkpoints, f}
			r.React = func(ctx context.Context, e leat.Recorded) error {
				return f.around(atHandler, func() error { return react(ctx, e) })
			}
		}
		s.runner = r
		return s
	})
}

func newHistory[View any](t testing.TB, setUp func(leat.Log, *fault) subject[View]) *History[View] {
	h := &History[View]{t: t, setUp: setUp}
	t.Cleanup(func() {
		if !h.checked {
			t.Errorf("a history without Then: nothing was checked")
		}
	})
	return h
}

// Events returns events as an aggregate would record them in a stream.
func Events[E any](t testing.TB, types *service.Types[E], stream string, events ...E) []leat.Event {
	t.Helper()
	all := make([]leat.Event, len(events))
	for i, e := range events {
		typ, data, err := types.Encode(e)
		if err != nil {
			t.Fatalf("given: %v", err)
		}
		all[i] = leat.Event{Stream: stream, Type: typ, Data: data}
	}
	return all
}

// Given adds events to the history, each an Append of its own. An empty ID or
// Source is filled in.
func (h *History[View]) Given(events ...leat.Event) *History[View] {
	h.t.Helper()
	for _, e := range events {
		if e.ID == "" {
			e.ID = fmt.Sprintf("given-%d", len(h.events)+1)
		}
		if e.Source == "" {
			e.Source = "given"
		}
		h.events = append(h.events, e)
	}
	return h
}

// Then runs the application until it has handled the history, and what came of
// that, and expects to see this. An event that is parked is an error.
func (h *History[View]) Then(want View) *History[View] {
	h.t.Helper()
	h.checked = true
	h.compare(nil, want, h.handle(nil))
	return h
}

// ThenDespiteFailures handles the history again and again, and expects to see the
// same each time as when nothing fails. At each call in turn that the application
// makes, the database fails before or after it commits, the handler fails or
// panics, the process is killed, or the log cannot be read; and two events are
// handled at a time. The streams lie in two shards, since only the order within
// a stream is promised.
//
// It takes some milliseconds for each failure beside what setUp and the handler
// take, and about a second for each of the panics, of which it tries two, unless
// it is called in a bubble of package testing/synctest.
func (h *History[View]) ThenDespiteFailures() *History[View] {
	h.t.Helper()
	h.checked = true
	want := h.handle(nil)
	for _, failure := range failures {
		for call := 1; ; call++ {
			f := failure.on(call)
			got := h.handle(f)
			if !f.hasStruck() {
				break
			}
			if !h.compare(f, want, got) {
				return h // the others would say the same in other words
			}
			if failure.effect == panics && call == 1 {
				call = max(call, len(h.events)-1) // then the last one
			} else if failure.effect == panics {
				break
			}
		}
	}
	return h
}

func (h *History[View]) compare(f *fault, want, got View) (equal bool) {
	h.t.Helper()
	path := difference(want, got)
	if path != "" {
		h.t.Errorf("when %s, the outcome is another (want, got):\n%s", f, path)
	}
	return path == ""
}

// patience is how long an application may take to handle a history.
const patience = time.Minute

// handle lets an application handle the history while a fault strikes, and returns
// what it shows then.
func (h *History[View]) handle(f *fault) View {
	h.t.Helper()
	log, err := leattest.New(leat.Config{Shards: leat.EvenShards(2)}, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	defer log.Close()
	for _, e := range h.events {
		if _, err := log.Append(h.t.Context(), []leat.Event{e}); err != nil {
			h.t.Fatalf("given: %v", err)
		}
	}
	s := h.setUp(log, f)
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	err = s.live(ctx, log, f)
	if errors.Is(err, errKilled) || errors.Is(err, errInjected) { // as when it saves for the last time
		f.revive()
		err = s.live(ctx, log, f) // started again
	}
	if err != nil {
		h.t.Fatalf("when %s: %v", f, err)
	}
	return s.view()
}

// live runs the application until everything is handled, or it is killed.
func (s subject[View]) live(ctx context.Context, log leat.Log, f *fault) error {
	app, err := service.NewApp(service.Config{
		Log: faultyLog{log, f}, Logger: slog.New(slog.DiscardHandler),
		Retry: service.Retry{Attempts: 5, First: time.Millisecond, Most: 5 * time.Millisecond},
	}, s.runner)
	if err != nil {
		return err
	}
	var killed chan struct{}
	if f != nil {
		killed = f.killed
	}
	run, stop := context.WithCancel(ctx)
	defer stop()
	wait, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	ended, handled := make(chan error, 1), make(chan error, 1)
	go func() { ended <- app.Run(run) }()
	go func() { handled <- s.settle(wait, log, app, f) }()
	select {
	case err = <-handled:
	case <-killed:
		giveUp(errKilled)
		err = errors.Join(errKilled, <-handled)
	}
	stop()
	if failed := <-ended; failed != nil && !errors.Is(err, errKilled) {
		return fmt.Errorf("the application ended: %w", failed)
	}
	return err
}

// settle waits until everything in the log is handled, also what was appended
// meanwhile, and nothing is parked.
func (s subject[View]) settle(ctx context.Context, log leat.Log, app *service.App, f *fault) error {
	for at := (leat.Checkpoint{}); ; {
		to, err := leat.Start(ctx, log, leat.Now)
		if err != nil {
			return err
		}
		if to.Equal(at) {
			return nil
		}
		if err := app.WaitCaughtUp(ctx, to); err != nil {
			return fmt.Errorf("%w; its last error was: %s", err, app.Status()[0].LastError)
		}
		if err := s.unpark(ctx, f); err != nil {
			return err
		}
		at = to
	}
}

// unpark has parked events tried again if a panic was injected, and waits until
// they are handled. Otherwise there should be none.
func (s subject[View]) unpark(ctx context.Context, f *fault) error {
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		parked, err := s.store.Parked(ctx, s.name, "")
		if err != nil || len(parked) == 0 {
			return err
		}
		first := parked[0]
		if f == nil || f.effect != panics {
			return fmt.Errorf("version %d of stream %q is parked: %s", first.Version, first.Stream, first.Error)
		}
		if err := s.store.Retry(ctx, s.name, first.Stream); err != nil && !errors.Is(err, service.ErrNotParked) {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("version %d of stream %q stays parked: %s", first.Version, first.Stream, first.Error)
		}
	}
}

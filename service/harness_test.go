package service_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

type tx = servicetest.Tx

// flaky is a read model whose commits a test can make fail.
type flaky struct {
	*servicetest.Memory
	mu      sync.Mutex
	commits int
	before  func(n int) error // when set: called before the n-th commit or save
	after   func(n int) error // its error takes the place of success
}

func (f *flaky) Save(ctx context.Context, s service.Step) error {
	return f.Commit(ctx, s, func(context.Context, *tx) error { return nil })
}

func (f *flaky) Commit(ctx context.Context, s service.Step, do func(context.Context, *tx) error) error {
	f.mu.Lock()
	f.commits++
	n := f.commits
	f.mu.Unlock()
	if f.before != nil {
		if err := f.before(n); err != nil {
			return err
		}
	}
	if err := f.Memory.Commit(ctx, s, do); err != nil {
		return err
	}
	if f.after != nil {
		return f.after(n)
	}
	return nil
}

// history is a projection into Memory of what it was given: under each stream
// the versions in order.
func history(name string, into service.ReadModel[*tx]) service.Projection[*tx] {
	return service.Projection[*tx]{
		Name: name, Into: into,
		Apply: func(_ context.Context, tx *tx, r leat.Recorded) error {
			tx.Set(r.Stream, strings.TrimSpace(fmt.Sprint(tx.Get(r.Stream), " ", r.Version)))
			return nil
		},
	}
}

// versions returns "1 2 3 … n".
func versions(n int) string {
	var all []string
	for v := 1; v <= n; v++ {
		all = append(all, fmt.Sprint(v))
	}
	return strings.Join(all, " ")
}

// fill appends one event to each of the streams, each by itself.
func fill(t testing.TB, log leat.Log, streams ...string) (last leat.Receipt) {
	t.Helper()
	for _, s := range streams {
		r, err := log.Append(context.WithoutCancel(t.Context()), []leat.Event{{Stream: s, Type: "Received", Source: "test", Data: []byte(`{"units":1}`)}})
		if err != nil {
			t.Fatal(err)
		}
		last = r
	}
	return last
}

// repeated returns n times each of the streams.
func repeated(n int, streams ...string) (all []string) {
	for range n {
		all = append(all, streams...)
	}
	return all
}

// A running is an App at work.
type running struct {
	t      testing.TB
	log    leat.Log
	app    *service.App
	cancel context.CancelFunc
	wg     sync.WaitGroup
	err    error
	over   bool
}

func start(t testing.TB, log leat.Log, runners ...service.Runner) *running {
	t.Helper()
	app, err := service.NewApp(service.Config{Log: log, Logger: slog.New(slog.DiscardHandler)}, runners...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r := &running{t: t, log: log, app: app, cancel: cancel}
	r.wg.Go(func() { r.err = app.Run(ctx) })
	t.Cleanup(func() {
		if !r.over {
			r.cancel()
			r.wg.Wait()
		}
	})
	return r
}

// caughtUp waits until everything that is in the log now is handled.
func (r *running) caughtUp() {
	r.t.Helper()
	ctx := context.WithoutCancel(r.t.Context())
	to, err := leat.Start(ctx, r.log, leat.Now)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Hour) // of a fake clock, mostly
	defer cancel()
	if err := r.app.WaitCaughtUp(ctx, to); err != nil {
		r.t.Fatal(err)
	}
}

// stop ends the app, which has to drain without an error.
func (r *running) stop() {
	r.t.Helper()
	r.cancel()
	if err := r.ended(); err != nil {
		r.t.Fatalf("Run: %v", err)
	}
}

// ended returns the error that the app ends with.
func (r *running) ended() error {
	r.wg.Wait()
	r.over = true
	return r.err
}

func (r *running) endsWith(target error) {
	r.t.Helper()
	if err := r.ended(); !errors.Is(err, target) {
		r.t.Fatalf("Run: %v, want %v", err, target)
	}
}

// status returns the counts of the first application.
func (r *running) status() service.Status { return r.app.Status()[0] }

// counts writes what Status counts.
func counts(s service.Status) string {
	return fmt.Sprintf("seen %d handled %d skipped %d parked %d unparked %d failures %d", s.Seen, s.Handled, s.Skipped, s.Parked, s.Unparked, s.Failures)
}

// parkedList writes what an application has parked, errors cut to one word.
func parkedList(t testing.TB, store service.CheckpointStore, name string) string {
	t.Helper()
	events, err := store.Parked(context.WithoutCancel(t.Context()), name, "")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range events {
		why, _, _ := strings.Cut(p.Error, " ")
		line := fmt.Sprintf("%s@%d:%s*%d", p.Stream, p.Version, why, p.Attempts)
		if !p.Waits() {
			line += "!" + p.Reason
		}
		all = append(all, line)
	}
	return strings.Join(all, " ")
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
)

// TestCancelledAppend cancels an Append while the committer is at work on it,
// and one that waits behind it: of the second it is known that nothing becomes
// of it.
func TestCancelledAppend(t *testing.T) {
	log, reached, release := createHeld(t)
	ctx, cancel := context.WithCancel(t.Context())
	appending := func(id string) <-chan error {
		done := make(chan error, 1)
		go func() {
			_, err := log.Append(ctx, []leat.Event{event(id)})
			done <- err
		}()
		return done
	}
	first := appending("first")
	<-reached
	second := appending("second")
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) || !errors.Is(err, leat.ErrUncertain) {
		t.Errorf("the append under way: got %v, want Canceled and ErrUncertain", err)
	}
	if err := <-second; !errors.Is(err, context.Canceled) || errors.Is(err, leat.ErrUncertain) {
		t.Errorf("the append that waits: got %v, want Canceled and no ErrUncertain", err)
	}
	release()
	if r := mustAppend(t, log, event("second")); r.Duplicate || r.First != 2 {
		t.Errorf("append what was cancelled while it waited: got %+v, want it recorded as sequence 2", r)
	}
	if r := mustAppend(t, log, event("first")); !r.Duplicate {
		t.Errorf("append what was cancelled under way: got %+v, want a duplicate", r)
	}
}

// createHeld returns a log whose committer, when it comes to record an Append,
// closes reached and waits for release.
func createHeld(t *testing.T) (log *engine.Log, reached <-chan struct{}, release func()) {
	t.Helper()
	at, gate := make(chan struct{}), make(chan struct{})
	calls := 0
	log = create(t, vfs.NewMem(), engine.Options{Clock: func() time.Time {
		if calls++; calls == 2 { // the first is of Create
			close(at)
			<-gate
		}
		return time.Now()
	}})
	return log, at, func() { close(gate) }
}

// TestRacingRetries appends the same events from several goroutines at once,
// some of which give up at any moment: they are recorded once, every answer says
// the same, and what is certain not to be recorded is not.
func TestRacingRetries(t *testing.T) {
	rng := newRand(t)
	log, err := engine.Create(t.TempDir(), leat.Config{}, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer closeLog(t, log)
	const rounds, retries = 150, 4
	certain := make(map[string]bool) // not recorded
	for n := range rounds {
		events := []leat.Event{event(fmt.Sprintf("%d-a", n)), event(fmt.Sprintf("%d-b", n))}
		var receipts [retries]leat.Receipt
		var errs [retries]error
		var wg sync.WaitGroup
		for i := range retries {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if yields := rng.IntN(20); n%2 == 0 || yields < 10 {
				wg.Go(func() {
					for range yields {
						runtime.Gosched()
					}
					cancel()
				})
			}
			wg.Go(func() { receipts[i], errs[i] = log.Append(ctx, slices.Clone(events)) })
		}
		wg.Wait()
		certain[events[0].ID] = true
		var first *leat.Receipt
		recorded := 0
		for i, err := range errs {
			switch {
			case errors.Is(err, leat.ErrUncertain):
				certain[events[0].ID] = false
			case err == nil:
				certain[events[0].ID] = false
				if !receipts[i].Duplicate {
					recorded++
				}
				receipts[i].Duplicate = false
				if first == nil {
					first = &receipts[i]
				}
				if !reflect.DeepEqual(*first, receipts[i]) {
					t.Errorf("round %d: one was told %+v, another %+v", n, *first, receipts[i])
				}
			case !errors.Is(err, context.Canceled):
				t.Fatalf("round %d: %v", n, err)
			}
		}
		if recorded > 1 {
			t.Errorf("round %d: recorded %d times", n, recorded)
		}
	}
	seen := make(map[string]bool)
	for _, e := range readAll(t, log)[leat.ShardNumber(0)] {
		if seen[e.ID] || certain[e.ID] {
			t.Errorf("event %s is there again, or its Append had said that it is not", e.ID)
		}
		seen[e.ID] = true
	}
	t.Logf("%d of %d are recorded", len(seen)/2, rounds)
}

// TestStreamNamesThatCannotBe reads under names whose keys would be those of
// another stream.
func TestStreamNamesThatCannotBe(t *testing.T) {
	log := create(t, vfs.NewMem(), engine.Options{})
	for n := 0; n < 256; n++ {
		mustAppend(t, log, event(leat.NewID()))
	}
	for _, end := range []string{"\xff", "\xff" + strings.Repeat("\x00", 7)} {
		for e, err := range log.ReadStream(t.Context(), "order-1"+end, leat.Range{}) {
			t.Errorf("read %q: got version %d, %v, want nothing", "order-1"+end, e.Version, err)
		}
	}
}

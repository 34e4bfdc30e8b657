package engine_test

import (
	"context"
	"errors"
	"strings"
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

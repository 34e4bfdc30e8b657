package service_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

// A witness is a reactor that notes what it was given.
type witness struct {
	mu      sync.Mutex
	seen    map[string]string // per stream the versions
	active  map[string]bool
	now     int // calls at the same time
	most    int
	handle  func(ctx context.Context, r leat.Recorded) error // when set
	t       testing.TB
	checked service.CheckpointStore
}

func newWitness(t testing.TB) *witness {
	return &witness{seen: make(map[string]string), active: make(map[string]bool), t: t, checked: servicetest.NewMemory()}
}

func (w *witness) reactor(parallel int) service.Reactor {
	return service.Reactor{Name: "w", React: w.react, Checkpoints: w.checked, Parallel: parallel}
}

func (w *witness) react(ctx context.Context, r leat.Recorded) error {
	w.mu.Lock()
	if w.active[r.Stream] {
		w.t.Errorf("two events of %s at once", r.Stream)
	}
	w.active[r.Stream] = true
	w.now++
	w.most = max(w.most, w.now)
	w.mu.Unlock()
	var err error
	if w.handle != nil {
		err = w.handle(ctx, r)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now--
	w.active[r.Stream] = false
	if err == nil {
		w.seen[r.Stream] = strings.TrimSpace(fmt.Sprint(w.seen[r.Stream], " ", r.Version))
	}
	return err
}

func (w *witness) of(stream string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[stream]
}

func (w *witness) saved() leat.Checkpoint {
	w.t.Helper()
	c, err := w.checked.Checkpoint(context.Background(), "w")
	ok(w.t, err)
	return c
}

func streamsNamed(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("s-%d", i))
	}
	return names
}

func TestReactorRunsStreamsInParallelAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{Shards: leat.EvenShards(2)})
		w := newWitness(t)
		w.handle = func(context.Context, leat.Recorded) error {
			time.Sleep(time.Millisecond)
			return nil
		}
		streams := streamsNamed(10)
		fill(t, log, repeated(30, streams...)...)
		app := start(t, log, w.reactor(4))
		began := time.Now()
		app.caughtUp()
		if took := time.Since(began); took > 200*time.Millisecond {
			t.Errorf("300 events of 1 ms on 4 at a time took %v, want 75 ms and a little", took)
		}
		want(t, "most at a time", w.most, 4)
		for _, s := range streams {
			want(t, s, w.of(s), versions(30))
		}
		app.stop()
		want(t, "status", counts(app.status()), "seen 300 handled 300 skipped 0 parked 0 unparked 0 failures 0")
	})
}

func TestReactorSavesItsCheckpointBehindWhatIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		w := newWitness(t)
		hold := make(chan struct{})
		w.handle = func(_ context.Context, r leat.Recorded) error {
			if r.Stream == "slow-1" {
				<-hold
			}
			return nil
		}
		fill(t, log, "a-1", "b-1", "slow-1", "a-1", "b-1")
		app := start(t, log, w.reactor(4))
		time.Sleep(2 * time.Second)
		want(t, "a-1", w.of("a-1"), "1 2")
		want(t, "checkpoint while slow-1 is at work", w.saved().Seqs[leat.ShardNumber(0)], uint64(2))
		close(hold)
		time.Sleep(2 * time.Second)
		want(t, "checkpoint after", w.saved().Seqs[leat.ShardNumber(0)], uint64(5))
		app.stop()
	})
}

// Nor on and on while events are large.
func TestReactorReadsOnlySoManyBytesAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, events = 250 << 10, 400
		log := newLog(t, leat.Config{})
		for range events {
			_, err := log.Append(t.Context(), []leat.Event{{Stream: "slow-1", Type: "Received", Source: "test", Data: make([]byte, size)}})
			ok(t, err)
		}
		w, hold := newWitness(t), make(chan struct{})
		w.handle = func(context.Context, leat.Recorded) error {
			<-hold
			return nil
		}
		app := start(t, log, w.reactor(4))
		time.Sleep(time.Minute)
		if read := app.status().Seen * size; read > 60<<20 { // 32 MiB, and what comes at a time
			t.Errorf("%d MiB are read ahead, want 32 and one read more", read>>20)
		}
		close(hold)
		app.caughtUp()
		want(t, "slow-1", w.of("slow-1"), versions(events))
		app.stop()
	})
}

// A slow event holds the checkpoint up, so the reactor must not run on for ever.
func TestReactorReadsOnlySoFarAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		w := newWitness(t)
		hold := make(chan struct{})
		var handled atomic.Int64
		w.handle = func(_ context.Context, r leat.Recorded) error {
			if r.Stream == "slow-1" {
				<-hold
			}
			handled.Add(1)
			return nil
		}
		fill(t, log, "slow-1")
		fill(t, log, repeated(10_000, "a-1")...)
		app := start(t, log, w.reactor(4))
		time.Sleep(2 * time.Second)
		if n := handled.Load(); n > 2000 {
			t.Errorf("%d events were handled ahead, want at most 2000", n)
		}
		close(hold)
		app.caughtUp()
		want(t, "handled", handled.Load(), int64(10_001))
		app.stop()
	})
}

func TestReactorCommandsAreCarriedOutOnceThoughEventsComeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{Shards: leat.EvenShards(3)})
		streams := streamsNamed(7)
		const each = 40
		fill(t, log, repeated(each, streams...)...)
		model := servicetest.NewMemory()
		var calls atomic.Int64
		r := service.Reactor{
			Name: "copy", Filter: leat.Filter{Categories: []string{"s"}},
			React: func(ctx context.Context, e leat.Recorded) error {
				n := calls.Add(1)
				if n%5 == 0 {
					return errBroken // before the command
				}
				if _, err := newStocks().Do(ctx, log, "of "+e.Stream, receive(1), service.CausedBy(e, "copy")); err != nil {
					return err
				}
				if n%7 == 0 {
					return errBroken // after it
				}
				return nil
			},
		}
		for round := range 6 {
			// A process that is killed has saved nothing of what it did last. (The
			// very first step only says which log the application follows.)
			lossy := &flaky{Memory: model, before: func(n int) error {
				if round < 5 && round+n > 1 {
					return errors.New("killed before it could save")
				}
				return nil
			}}
			r.Checkpoints = lossy
			app := start(t, log, r)
			if round == 5 {
				app.caughtUp()
				app.stop()
				continue
			}
			time.Sleep(time.Duration(round*40+1) * time.Millisecond)
			app.cancel()
			_ = app.ended()
		}
		if calls.Load() < int64(len(streams)*each*2) {
			t.Errorf("%d calls for %d events: nothing came again", calls.Load(), len(streams)*each)
		}
		for _, s := range streams {
			want(t, "commands of "+s, len(stream(t, log, "stock-of "+s)), each)
		}
		want(t, "parked", parkedList(t, model, "copy"), "")
	})
}

func TestReactorRetriesParksAndResumesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		log := newLog(t, leat.Config{})
		w := newWitness(t)
		var broken atomic.Bool
		broken.Store(true)
		w.handle = func(_ context.Context, r leat.Recorded) error {
			if r.Stream == "a-1" && r.Version == 2 && broken.Load() {
				return errBroken
			}
			return nil
		}
		fill(t, log, "a-1", "b-1", "a-1", "a-1", "b-1", "a-1")
		app := start(t, log, w.reactor(2))
		app.caughtUp()
		time.Sleep(2 * time.Second)
		want(t, "a-1", w.of("a-1"), "1")
		want(t, "b-1", w.of("b-1"), "1 2")
		want(t, "parked", parkedList(t, w.checked, "w"), "a-1@2:broken*10 a-1@3:*0 a-1@4:*0")
		want(t, "checkpoint", w.saved().Seqs[leat.ShardNumber(0)], uint64(6))
		want(t, "status", counts(app.status()), "seen 6 handled 3 skipped 0 parked 3 unparked 0 failures 10")
		app.stop()

		app = start(t, log, w.reactor(2)) // a restart knows what is blocked
		fill(t, log, "a-1")
		app.caughtUp()
		want(t, "status", counts(app.status()), "seen 1 handled 0 skipped 0 parked 1 unparked 0 failures 0")
		time.Sleep(2 * time.Second)
		want(t, "a-1", w.of("a-1"), "1")
		ok(t, w.checked.Retry(ctx, "w", "a-1"))
		time.Sleep(2 * time.Second)
		want(t, "parked after a retry in vain", parkedList(t, w.checked, "w"), "a-1@2:broken*11 a-1@3:*0 a-1@4:*0 a-1@5:*0")

		broken.Store(false)
		ok(t, w.checked.Retry(ctx, "w", "a-1"))
		time.Sleep(2 * time.Second)
		want(t, "parked after a retry", parkedList(t, w.checked, "w"), "")
		want(t, "a-1", w.of("a-1"), versions(5))
		fill(t, log, "a-1")
		app.caughtUp()
		want(t, "a-1", w.of("a-1"), versions(6))
		want(t, "unparked", app.status().Unparked, uint64(4))
		app.stop()
	})
}

// Events that come while parked ones are handled again must not overtake them.
func TestReactorDoesNotLetEventsOvertakeParkedOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		w := newWitness(t)
		var broken atomic.Bool
		broken.Store(true)
		w.handle = func(context.Context, leat.Recorded) error {
			time.Sleep(700 * time.Millisecond)
			if broken.Load() {
				return service.Permanent(errBroken)
			}
			return nil
		}
		fill(t, log, repeated(4, "a-1")...)
		app := start(t, log, w.reactor(4))
		app.caughtUp()
		synctest.Wait() // until what is parked is saved
		broken.Store(false)
		ok(t, w.checked.Retry(t.Context(), "w", "a-1"))
		for range 20 {
			fill(t, log, "a-1")
			time.Sleep(500 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		want(t, "a-1", w.of("a-1"), versions(24))
		want(t, "parked", parkedList(t, w.checked, "w"), "")
		app.stop()
	})
}

func TestReactorFollowsSplitsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		w := newWitness(t)
		w.handle = func(_ context.Context, r leat.Recorded) error {
			time.Sleep(time.Duration(r.Seq%7) * time.Millisecond)
			return nil
		}
		streams := streamsNamed(9)
		app := start(t, log, w.reactor(3))
		for range 3 {
			fill(t, log, repeated(20, streams...)...)
			shards, err := log.Shards(t.Context())
			ok(t, err)
			last := shards[len(shards)-1]
			_, err = log.Split(t.Context(), last.ID, last.Middle())
			ok(t, err)
		}
		app.caughtUp()
		for _, s := range streams {
			want(t, s, w.of(s), versions(60))
		}
		app.stop()
	})
}

func TestReactorDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		w := newWitness(t)
		w.handle = func(ctx context.Context, _ leat.Recorded) error {
			select {
			case <-time.After(time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		fill(t, log, repeated(3, "a-1", "b-1")...)
		app := start(t, log, w.reactor(2))
		synctest.Wait()
		app.stop()
		want(t, "a-1", w.of("a-1"), "1")
		want(t, "b-1", w.of("b-1"), "1")
		want(t, "checkpoint", w.saved().Seqs[leat.ShardNumber(0)], uint64(2))
	})
}

func TestReactorStopsWhenItIsFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		w := newWitness(t)
		app := start(t, log, w.reactor(2))
		fill(t, log, "a-1")
		time.Sleep(2 * time.Second)
		at := w.saved()
		ok(t, w.checked.Save(t.Context(), service.Step{Name: "w", From: at, To: leat.Checkpoint{
			Log: at.Log, Epoch: at.Epoch, Seqs: map[leat.ShardID]uint64{leat.ShardNumber(0): 0},
		}}))
		fill(t, log, "a-1")
		app.endsWith(leat.ErrFenced)
	})
}

func TestReactorStopsWhenTheLogIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		w := newWitness(t)
		w.handle = func(ctx context.Context, r leat.Recorded) error {
			_, err := log.Append(ctx, []leat.Event{{Stream: "x", Type: "T", Source: "s"}})
			return err
		}
		fill(t, log, "a-1")
		ok(t, log.Close())
		start(t, log, w.reactor(2)).endsWith(leat.ErrClosed)
	})
}

package archive_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/leattest"
)

// inBubble runs f with a fake clock and then audits the archive against what
// the log held at the end. Segments are read outside, because the decoders that
// the Parquet library keeps must not stem from a bubble.
func inBubble(t *testing.T, f func(*testing.T, *leattest.Log, *memoryStore)) {
	t.Helper()
	store := newMemoryStore()
	var id string
	var want map[leat.ShardID][]leat.Recorded
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{}, nil)
		f(t, log, store)
		id, want = head(t, log).Log, auditEnd(t, store, log)
	})
	a, err := archive.Open(t.Context(), store, id)
	if err != nil {
		t.Fatal(err)
	}
	for shard, events := range want {
		auditShard(t, a, store, shard, events)
	}
}

func TestRunCutsByAge(t *testing.T) {
	inBubble(t, func(t *testing.T, log *leattest.Log, store *memoryStore) {

		a := newArchiver(t, log, store)
		stop := run(t, a)

		appendOne(t, log, "order-1")
		time.Sleep(archive.DefaultMaxAge - 2*time.Second)
		if st := status(t, a); st.Events != 0 || st.Lag != 1 || time.Since(st.Oldest) < 50*time.Second {
			t.Errorf("before the age: %+v, want a lag of one event", st)
		}
		appendOne(t, log, "order-2")
		time.Sleep(4 * time.Second)
		if st := status(t, a); st.Events != 2 || st.Segments != 1 || st.Lag != 0 || !st.Oldest.IsZero() {
			t.Errorf("after the age: %+v, want both events in one segment", st)
		}
		auditEnd(t, store, log)

		appendOne(t, log, "order-3")
		time.Sleep(5 * time.Second)
		stop()
		if st := status(t, a); st.Events != 2 {
			t.Errorf("after Run: %+v, want the young segment uncut", st)
		}
		flush(t, a, log)
	})
}

func TestRunCutsBySizeAndFollowsSplits(t *testing.T) {
	inBubble(t, func(t *testing.T, log *leattest.Log, store *memoryStore) {
		rng := seeded(t)

		a := newArchiver(t, log, store)
		stop := run(t, a)
		for range 3 {
			appendSome(t, log, rng, 100)
			splitFirst(t, log)
			time.Sleep(3 * time.Second)
		}
		if st := status(t, a); st.Events < 200 {
			t.Errorf("status %+v, want the events of closed shards archived", st)
		}
		flush(t, a, log) // beside Run
		stop()
	})
}

func TestRunOutlivesFailures(t *testing.T) {
	inBubble(t, func(t *testing.T, log *leattest.Log, store *memoryStore) {

		down := errors.New("the bucket is down")
		store.fail = func(int) (before, after error) { return down, nil }
		a := newArchiver(t, log, store)
		stop := run(t, a)
		appendOne(t, log, "order-1")
		time.Sleep(time.Hour)
		store.mu.Lock()
		if store.calls > 100 {
			t.Errorf("%d calls in an hour of failures, want at most 100", store.calls)
		}
		store.fail = nil
		store.mu.Unlock()
		if st := status(t, a); !errors.Is(st.Err, down) {
			t.Errorf("status %+v, want the error %q", st, down)
		}
		time.Sleep(2 * time.Minute)
		if st := status(t, a); st.Err != nil || st.Lag != 0 {
			t.Errorf("status %+v, want no error and no lag", st)
		}
		stop()
	})
}

// run runs an archiver. Calling stop ends it and checks that it ended well.
func run(t *testing.T, a *archive.Archiver) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v, want nil when its context ends", err)
		}
	}
}

func status(t testing.TB, a *archive.Archiver) archive.Status {
	t.Helper()
	st, err := a.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// A growing log is appended to while it is read for the first time.
type growing struct {
	*leattest.Log
	once sync.Once
	grow func()
}

func (l *growing) ReadShard(ctx context.Context, shard leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	l.once.Do(l.grow)
	return l.Log.ReadShard(ctx, shard, after, o)
}

// An archiver that found much does not wait before it looks again.
func TestRunGoesOnAtOnce(t *testing.T) {
	const many = 9000
	inBubble(t, func(t *testing.T, log *leattest.Log, store *memoryStore) {
		appendMany := func() {
			for range many / 500 {
				events := make([]leat.Event, 500)
				for i := range events {
					events[i] = leat.Event{Stream: "order-1", Type: "T", Source: "s"}
				}
				if _, err := log.Append(t.Context(), events); err != nil {
					t.Error(err)
				}
			}
		}
		appendMany()
		a, err := archive.NewArchiver(&growing{Log: log, grow: appendMany}, store, archive.Config{Key: testKey(t), SegmentBytes: 4 << 10})
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, a)
		synctest.Wait()                            // no time passes
		if s := a.Stats(); s.Events < 2*many-500 { // but for a segment, which ends with an Append
			t.Errorf("%d events are archived, want those that came meanwhile, too", s.Events)
		}
		stop()
		flush(t, a, log)
	})
}

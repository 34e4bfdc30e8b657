package archive_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/leattest"
)

func TestRoundTrip(t *testing.T) {
	rng := seeded(t)
	log := newLog(t, leat.Config{Shards: leat.EvenShards(3)}, nil)
	store, err := archive.OpenStore("file://" + t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	a := newArchiver(t, log, store)
	for range 4 {
		appendSome(t, log, rng, 200)
		flush(t, a, log)
		audit(t, store, log)
	}
	flush(t, a, log) // with nothing new
	audit(t, store, log)

	st, err := a.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if st.Events != 800 || st.Lag != 0 || st.Segments < 6 || !st.Archived.Equal(head(t, log)) {
		t.Errorf("status %+v, want 800 events, no lag, at least 6 segments, archived up to the head", st)
	}
}

func TestSegmentsAreDeterministic(t *testing.T) {
	log := newLog(t, leat.Config{}, nil)
	appendSome(t, log, seeded(t), 500)
	first, second := newMemoryStore(), newMemoryStore()
	for _, store := range []archive.Store{first, second} {
		flush(t, newArchiver(t, log, store), log)
	}
	if !reflect.DeepEqual(first.objects, second.objects) {
		t.Error("two archives of one log differ")
	}
}

func TestReadAfter(t *testing.T) {
	log, store := newLog(t, leat.Config{}, nil), newMemoryStore()
	appendSome(t, log, seeded(t), 100)
	flush(t, newArchiver(t, log, store), log)
	a := openArchive(t, store, log)
	for _, after := range []uint64{0, 1, 50, 99, 100, 1000} {
		next := after
		for e, err := range a.Events(t.Context(), leat.ShardNumber(0), after) {
			if err != nil {
				t.Fatal(err)
			}
			if next++; e.Seq != next {
				t.Fatalf("after %d: sequence %d, want %d", after, e.Seq, next)
			}
		}
		if next != max(after, 100) {
			t.Errorf("after %d: ended at %d, want 100", after, next)
		}
	}
	for _, err := range a.Events(t.Context(), leat.ShardNumber(7), 0) {
		if !errors.Is(err, leat.ErrNotFound) {
			t.Errorf("a shard that is not there: %v, want ErrNotFound", err)
		}
	}
}

func TestFlushOnlyUpTo(t *testing.T) {
	log, store := newLog(t, leat.Config{}, nil), newMemoryStore()
	rng := seeded(t)
	appendSome(t, log, rng, 20)
	a := newArchiver(t, log, store)
	if err := a.Flush(t.Context(), leat.Checkpoint{}); err != nil {
		t.Fatal(err)
	}
	to := head(t, log)
	appendSome(t, log, rng, 3)
	if err := a.Flush(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	got, err := openArchive(t, store, log).Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if shard := leat.ShardNumber(0); got.Seqs[shard] < to.Seqs[shard] {
		t.Errorf("archived up to %s, want at least %s", got, to)
	}
	to.Set(leat.ShardNumber(0), 1000)
	if err := a.Flush(t.Context(), to); !errors.Is(err, leat.ErrDiverged) {
		t.Errorf("flush beyond the head: %v, want ErrDiverged", err)
	}
}

func TestSplit(t *testing.T) {
	rng := seeded(t)
	log, store := newLog(t, leat.Config{}, nil), newMemoryStore()
	a := newArchiver(t, log, store)
	for range 4 {
		appendSome(t, log, rng, 60)
		if rng.IntN(2) == 0 {
			flush(t, a, log)
		}
		shards, err := log.Shards(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		open := slices.DeleteFunc(shards, func(s leat.Shard) bool { return s.Closed })
		s := open[rng.IntN(len(open))]
		if _, err := log.Split(t.Context(), s.ID, s.Middle()); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, a, log)
	audit(t, store, log)
}

// A process may be killed at every call of the store, before or after its
// effect, and a new one goes on.
func TestKilledAtEveryCall(t *testing.T) {
	killed := errors.New("killed")
	for _, when := range []string{"before", "after"} {
		t.Run(when, func(t *testing.T) {
			for n, survived := 1, false; !survived; n++ {
				rng := rand.New(rand.NewPCG(uint64(n), 0))
				log, store := newLog(t, leat.Config{Shards: leat.EvenShards(2)}, nil), newMemoryStore()
				store.fail = func(call int) (before, after error) {
					switch {
					case call != n:
						return nil, nil
					case when == "before":
						return killed, nil
					}
					return nil, killed
				}
				for round := range 3 {
					appendSome(t, log, rng, 40)
					if round == 1 {
						splitFirst(t, log)
					}
					err := newArchiver(t, log, store).Flush(t.Context(), head(t, log))
					if err != nil && !errors.Is(err, killed) {
						t.Fatalf("killed %s call %d: %v", when, n, err)
					}
				}
				survived, store.fail = store.calls < n, nil
				flush(t, newArchiver(t, log, store), log)
				audit(t, store, log)
			}
		})
	}
}

// splitFirst splits the first open shard in halves.
func splitFirst(t testing.TB, log interface {
	leat.Log
	leat.Splitter
}) {
	t.Helper()
	shards, err := log.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := shards[slices.IndexFunc(shards, func(s leat.Shard) bool { return !s.Closed })]
	if _, err := log.Split(t.Context(), s.ID, s.Middle()); err != nil {
		t.Fatal(err)
	}
}

// An error is not the end of an archiver either: the same one goes on.
func TestFailsAtRandom(t *testing.T) {
	rng := seeded(t)
	log, store := newLog(t, leat.Config{Shards: leat.EvenShards(2)}, nil), newMemoryStore()
	failed := errors.New("failed")
	store.fail = func(int) (before, after error) {
		switch rng.IntN(10) {
		case 0:
			return failed, nil
		case 1:
			return nil, failed
		}
		return nil, nil
	}
	a := newArchiver(t, log, store)
	failures := 0
	for range 30 {
		appendSome(t, log, rng, 20)
		if err := a.Flush(t.Context(), head(t, log)); err != nil {
			if !errors.Is(err, failed) {
				t.Fatal(err)
			}
			failures++
		}
	}
	store.fail = nil
	flush(t, a, log)
	audit(t, store, log)
	if failures == 0 {
		t.Error("no flush failed")
	}
}

func TestArchiversRace(t *testing.T) {
	rng := seeded(t)
	log := newLog(t, leat.Config{Shards: leat.EvenShards(2)}, nil)
	store, err := archive.OpenStore("file://" + t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		var wg sync.WaitGroup
		done := make(chan struct{})
		for i := range 3 {
			a, err := archive.NewArchiver(log, store, archive.Config{Key: testKey(t), SegmentBytes: int64(2+i) << 10})
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				for last := false; !last; {
					select {
					case <-done:
						last = true
					default:
					}
					to, err := leat.Start(t.Context(), log, leat.Now)
					if err == nil {
						err = a.Flush(t.Context(), to)
					}
					if err != nil {
						t.Errorf("flush: %v", err)
						return
					}
				}
			})
		}
		appendSome(t, log, rng, 100)
		close(done)
		wg.Wait()
		if t.Failed() {
			return
		}
		audit(t, store, log)
	}
}

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

func appendOne(t testing.TB, log leat.Log, stream string) leat.Receipt {
	t.Helper()
	r, err := log.Append(t.Context(), []leat.Event{{Stream: stream, Type: "OrderPlaced", Source: "orders", Data: []byte(`{}`)}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTrimmedBelowTheArchive(t *testing.T) {
	log, store := newLog(t, leat.Config{}, nil), newMemoryStore()
	rng := seeded(t)
	appendSome(t, log, rng, 50)
	a := newArchiver(t, log, store)
	flush(t, a, log)

	if _, err := log.Trim(t.Context(), leat.ShardNumber(0), 51); err != nil {
		t.Fatal(err)
	}
	a = newArchiver(t, log, store) // has nothing to compare the archive with
	flush(t, a, log)               // what is gone was archived, the record of it was not
	if st := status(t, a); st.Events != 51 {
		t.Errorf("%d events archived, want 50 and the one that records the trim", st.Events)
	}

	appendSome(t, log, rng, 50)
	if _, err := log.Trim(t.Context(), leat.ShardNumber(0), 90); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{"Flush": a.Flush(t.Context(), head(t, log)), "Run": a.Run(t.Context())} {
		if !errors.Is(err, leat.ErrTrimmed) {
			t.Errorf("%s: %v, want ErrTrimmed", name, err)
		}
	}
}

func TestAnotherLogOfTheSameID(t *testing.T) {
	store, rng := newMemoryStore(), seeded(t)
	long, short := newLog(t, leat.Config{ID: "shop"}, nil), newLog(t, leat.Config{ID: "shop"}, nil)
	appendSome(t, long, rng, 50)
	appendSome(t, short, rng, 20)
	flush(t, newArchiver(t, long, store), long)
	a := newArchiver(t, short, store)
	for name, err := range map[string]error{"Flush": a.Flush(t.Context(), head(t, short)), "Run": a.Run(t.Context())} {
		if !errors.Is(err, leat.ErrDiverged) {
			t.Errorf("%s: %v, want ErrDiverged", name, err)
		}
	}
	appendSome(t, short, rng, 200)
	if err := newArchiver(t, short, store).Flush(t.Context(), head(t, short)); !errors.Is(err, leat.ErrDiverged) {
		t.Errorf("when it has become the longer one: %v, want ErrDiverged", err)
	}
	single := newLog(t, leat.Config{ID: "shop", Single: true}, nil)
	if err := newArchiver(t, single, store).Flush(t.Context(), leat.Checkpoint{}); !errors.Is(err, leat.ErrDiverged) {
		t.Errorf("a single log of the same ID: %v, want ErrDiverged", err)
	}
}

// A log restored from its archive goes on in it, under its new epoch.
func TestRestoredLog(t *testing.T) {
	store, rng := newMemoryStore(), seeded(t)
	log := newLog(t, leat.Config{ID: "shop"}, nil)
	appendSome(t, log, rng, 50)
	splitFirst(t, log)
	appendSome(t, log, rng, 50)
	flush(t, newArchiver(t, log, store), log)
	kept := head(t, log)
	appendSome(t, log, rng, 50) // lost

	restored := restore(t, openArchive(t, store, log), leat.Epoch{Number: 1, Heads: kept.Seqs})
	a := newArchiver(t, restored, store)
	flush(t, a, restored)
	audit(t, store, restored)
	appendSome(t, restored, rng, 50)
	flush(t, a, restored)
	audit(t, store, restored)

	if err := newArchiver(t, log, store).Flush(t.Context(), head(t, log)); !errors.Is(err, leat.ErrDiverged) {
		t.Errorf("the log before the restore: %v, want ErrDiverged", err)
	}
}

// A log that a restore took back to before what is archived must not go on in
// that archive.
func TestRestoredBehindTheArchive(t *testing.T) {
	store, rng := newMemoryStore(), seeded(t)
	log := newLog(t, leat.Config{ID: "shop"}, nil)
	appendSome(t, log, rng, 50)
	flush(t, newArchiver(t, log, store), log)
	kept := head(t, log)
	kept.Set(leat.ShardNumber(0), 10)

	restored := newLog(t, leat.Config{ID: "shop", Ended: []leat.Epoch{{Number: 1, Heads: kept.Seqs}}}, nil)
	appendSome(t, restored, rng, 100)
	if err := newArchiver(t, restored, store).Flush(t.Context(), head(t, restored)); !errors.Is(err, leat.ErrDiverged) {
		t.Errorf("%v, want ErrDiverged", err)
	}
}

// A log that goes on where the archive says its shard has ended must not be left
// out in silence.
func TestRestoredBeforeASplit(t *testing.T) {
	store, rng := newMemoryStore(), seeded(t)
	log := newLog(t, leat.Config{ID: "shop"}, nil)
	appendSome(t, log, rng, 50)
	kept, events := head(t, log), readLog(t, log, leat.ShardNumber(0))
	splitFirst(t, log)
	flush(t, newArchiver(t, log, store), log)

	restored := newLog(t, leat.Config{ID: "shop", Ended: []leat.Epoch{{Number: 1, Heads: kept.Seqs}}}, nil)
	if err := restored.Import(t.Context(), leat.ShardNumber(0), events); err != nil {
		t.Fatal(err)
	}
	appendSome(t, restored, rng, 10)
	if err := newArchiver(t, restored, store).Flush(t.Context(), head(t, restored)); !errors.Is(err, leat.ErrDiverged) {
		t.Errorf("%v, want ErrDiverged", err)
	}
}

// TestArchiverOfAnEndedEpoch lets the log from before a restore go on in one
// shard, while the archiver of the restored log was killed after it had begun
// the new epoch in another.
func TestArchiverOfAnEndedEpoch(t *testing.T) {
	store, rng := newMemoryStore(), seeded(t)
	log := newLog(t, leat.Config{ID: "shop", Shards: leat.EvenShards(2)}, nil)
	appendSome(t, log, rng, 50)
	zombie := newArchiver(t, log, store)
	flush(t, zombie, log)
	restored := restore(t, openArchive(t, store, log), leat.Epoch{Number: 1, Heads: head(t, log).Seqs})

	killed := errors.New("killed")
	begun := len(manifests(t, store, "shop", leat.ShardNumber(0))) + 1
	store.fail = func(int) (before, after error) {
		if store.objects[fmt.Sprintf("shop/manifests/%s/%020d.json", leat.ShardNumber(0), begun)] != nil {
			return killed, nil
		}
		return nil, nil
	}
	if err := newArchiver(t, restored, store).Flush(t.Context(), leat.Checkpoint{}); !errors.Is(err, killed) {
		t.Fatalf("%v, want the archiver killed", err)
	}
	store.fail = nil
	name := "order-0"
	for n := 0; leat.OpenShard(leat.EvenShards(2), leat.RouteHash(name)) != 1; n++ {
		name = fmt.Sprintf("order-%d", n)
	}
	appendOne(t, log, name)
	flush(t, zombie, log)
	appendSome(t, restored, rng, 100)
	if err := newArchiver(t, restored, store).Flush(t.Context(), head(t, restored)); !errors.Is(err, leat.ErrDiverged) {
		t.Errorf("%v, want ErrDiverged", err)
	}
}

// restore makes a log of what is archived.
func restore(t *testing.T, a *archive.Archive, ended leat.Epoch) leat.Log {
	t.Helper()
	shards, err := a.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	log := newLog(t, leat.Config{ID: a.Log(), Shards: shards, Ended: []leat.Epoch{ended}}, nil)
	for _, s := range shards {
		var events []leat.Recorded
		for e, err := range a.Events(t.Context(), s.ID, 0) {
			if err != nil {
				t.Fatal(err)
			}
			events = append(events, e)
		}
		if err := log.Import(t.Context(), s.ID, events); err != nil {
			t.Fatal(err)
		}
	}
	return log
}

// A segment that nobody committed may hold other bytes for the same range.
func TestLeftoverSegment(t *testing.T) {
	log, store := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	appendOne(t, log, "order-1")
	name := fmt.Sprintf("shop/segments/%s/%020d-%020d.parquet", leat.ShardNumber(0), 1, 1)
	store.set(name, []byte("made by another compressor"))
	flush(t, newArchiver(t, log, store), log)
	audit(t, store, log)
	m := manifests(t, store, "shop", leat.ShardNumber(0))
	want := fmt.Sprintf("segments/%s/%020d-%020d-%s.parquet", leat.ShardNumber(0), 1, 1, m[1].Segment.SHA256)
	if m[1].Segment.Object != want {
		t.Errorf("the segment is %s, want %s", m[1].Segment.Object, want)
	}
	if string(store.objects[name]) != "made by another compressor" {
		t.Error("the leftover was changed")
	}
}

func TestConfigIsChecked(t *testing.T) {
	log, store := newLog(t, leat.Config{}, nil), newMemoryStore()
	for _, c := range []archive.Config{{}, {Key: testKey(t), SegmentBytes: -1}, {Key: testKey(t), MaxAge: -1}} {
		if _, err := archive.NewArchiver(log, store, c); !errors.Is(err, leat.ErrInvalid) {
			t.Errorf("%+v: %v, want ErrInvalid", c, err)
		}
	}
}

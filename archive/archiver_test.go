package archive_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
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

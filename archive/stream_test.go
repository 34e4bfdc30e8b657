package archive_test

import (
	"context"
	"iter"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/leathq/leat"
)

// streams returns the names of all streams in a log.
func streams(t testing.TB, log leat.Log) map[string]bool {
	t.Helper()
	all := make(map[string]bool)
	shards, err := log.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range shards {
		for _, e := range readLog(t, log, s.ID) {
			all[e.Stream] = true
		}
	}
	return all
}

// A readStreamFunc is the ReadStream of a log, or the Stream of an archive.
type readStreamFunc = func(context.Context, string, leat.Range) iter.Seq2[leat.Recorded, error]

// auditStreams checks that every stream, in ranges and both directions, reads as
// the log says.
func auditStreams(t testing.TB, read readStreamFunc, log leat.Log) {
	t.Helper()
	auditSomeStreams(t, read, log, 1)
}

// auditSomeStreams checks one of so many streams.
func auditSomeStreams(t testing.TB, read readStreamFunc, log leat.Log, every int) {
	t.Helper()
	names := streams(t, log)
	names["order-{none}-1"], names[""], names["zzz"] = true, true, true
	for i, name := range slices.Sorted(maps.Keys(names)) {
		if i%every > 0 {
			continue
		}
		for _, r := range []leat.Range{{}, {After: 2}, {After: 1, Through: 3}, {Through: 1}, {After: 1e6}, {After: 5, Through: 2}} {
			for _, r := range []leat.Range{r, r.Reverse()} {
				auditStream(t, read, log, name, r)
			}
		}
	}
}

// auditWholeStreams checks that every stream, from its beginning to its end, is what
// the log says.
func auditWholeStreams(t testing.TB, read readStreamFunc, log leat.Log) {
	t.Helper()
	for name := range streams(t, log) {
		auditStream(t, read, log, name, leat.Range{})
	}
}

func auditStream(t testing.TB, read readStreamFunc, log leat.Log, name string, r leat.Range) {
	t.Helper()
	got, err := readStream(read(t.Context(), name, r))
	if err != nil {
		t.Fatalf("stream %q, %+v: %v", name, r, err)
	}
	want, err := readStream(log.ReadStream(t.Context(), name, r))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("stream %q, %+v:\n%+v, want\n%+v", name, r, got, want)
	}
}

func readStream(events func(func(leat.Recorded, error) bool)) ([]leat.Recorded, error) {
	var all []leat.Recorded
	for e, err := range events {
		if err != nil {
			return all, err
		}
		all = append(all, normal(e))
	}
	return all, nil
}

func TestStreamFromSegments(t *testing.T) {
	rng := seeded(t)
	log, store := newLog(t, leat.Config{ID: "shop", Shards: leat.EvenShards(2)}, nil), newMemoryStore()
	a := newArchiver(t, log, store)
	for range 3 {
		appendSome(t, log, rng, 100)
		splitFirst(t, log)
	}
	appendSome(t, log, rng, 100)
	flush(t, a, log)
	auditStreams(t, openArchive(t, store, log).Stream, log)
}

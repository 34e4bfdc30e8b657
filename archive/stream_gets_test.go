package archive_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

// A shown catalog is what a third party reads of one.
type shownCatalog struct {
	Covered  uint64
	Manifest struct{ Number int }
	Files    []struct {
		Level, Period, Object string
		MinStream             string `json:"min_stream"`
		MaxStream             string `json:"max_stream"`
	}
}

// catalogOf returns the catalog of a shard that holds.
func catalogOf(t testing.TB, store archive.Store, log string, shard leat.ShardID) (c shownCatalog) {
	t.Helper()
	all := objects(t, store, fmt.Sprintf("%s/compact/%s/catalog/", log, shard))
	if len(all) == 0 {
		return c
	}
	data, err := store.Get(t.Context(), slices.Max(all))
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// maxGets returns how many GETs it may take to load a stream from an archive that
// was just opened, as Archive.Stream has it, when no row group is full.
func maxGets(t testing.TB, store archive.Store, log leat.Log, stream string) int {
	t.Helper()
	shards, err := log.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	gets := len(shards) // their first manifests
	for _, s := range shards {
		if !s.Owns(leat.RouteHash(stream)) {
			continue
		}
		c := catalogOf(t, store, "shop", s.ID)
		for _, f := range c.Files {
			if f.MinStream <= stream && stream <= f.MaxStream {
				gets += 3 // its end, a filter, a row group
			}
		}
		if c.Covered > 0 {
			gets += 2 // the catalog, and the manifest it was made of
		}
		for i, m := range manifests(t, store, "shop", s.ID) {
			if i >= c.Manifest.Number {
				gets++
			}
			if m.Segment != nil && m.Segment.Last > c.Covered {
				gets += 2 // its filter, and all of it
			}
		}
	}
	return gets
}

// gets returns how many GETs it takes.
func gets(t testing.TB, store archive.Store, log leat.Log, stream string) int {
	t.Helper()
	counting := &countingStore{Store: store}
	a := openArchive(t, counting, log)
	counting.gets.Store(0)
	if _, err := readStream(a.Stream(t.Context(), stream, leat.Range{})); err != nil {
		t.Fatal(err)
	}
	return int(counting.gets.Load())
}

func TestStreamTakesFewGets(t *testing.T) {
	log, store := yearOf(t, seeded(t), 40)
	for range 2 {
		for i, name := range slices.Sorted(maps.Keys(streams(t, log))) {
			if i%5 > 0 {
				continue
			}
			if n, most := gets(t, store, log, name), maxGets(t, store, log, name); n > most {
				t.Errorf("stream %q took %d GETs, want %d at most", name, n, most)
			}
		}
		compact(t, store, log)
	}
}

// A stream with an event on each of 20 days of a year costs three GETs for each
// month and each day that is not in one, whatever its segments were.
func TestStreamOfAYear(t *testing.T) {
	rng := seeded(t)
	now := time.Date(2025, 1, 1, 9, 0, 0, 0, time.UTC)
	log, store := newLog(t, leat.Config{ID: "shop"}, func() time.Time { return now }), newMemoryStore()
	a := newArchiver(t, log, store)
	for day := range 365 {
		appendSome(t, log, rng, 2)
		if day%18 == 3 {
			appendOne(t, log, "order-{c20}-2")
		}
		if now = now.Add(24 * time.Hour); day%30 == 0 {
			flush(t, a, log)
		}
	}
	flush(t, a, log)
	before := gets(t, store, log, "order-{c20}-2")
	_, err := openArchive(t, store, log).Compact(t.Context(), archive.CompactOptions{Key: testKey(t)})
	if err != nil {
		t.Fatal(err)
	}
	c := catalogOf(t, store, "shop", leat.ShardNumber(0))
	above := 0
	for _, m := range manifests(t, store, "shop", leat.ShardNumber(0)) {
		if m.Segment != nil && m.Segment.Last > c.Covered {
			above++
		}
	}
	// The first manifest, the catalog, the manifest it was made of, and of what is
	// above it the manifests, filters and segments.
	most := 3*len(c.Files) + 3 + 3*above
	after := gets(t, store, log, "order-{c20}-2")
	t.Logf("%d GETs from %d months and days and %d segments; before compaction %d", after, len(c.Files), above, before)
	if len(c.Files) > 11+31 || after > most {
		t.Errorf("%d GETs from %d months and days and %d segments, want %d at most", after, len(c.Files), above, most)
	}
}

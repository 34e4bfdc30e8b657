package archive_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/leattest"
)

// yearOf returns a log of many days with two splits, archived.
func yearOf(t testing.TB, rng *rand.Rand, days int) (*leattest.Log, *memoryStore) {
	t.Helper()
	now := time.Date(2026, 1, 20, 5, 0, 0, 0, time.UTC)
	log, store := newLog(t, leat.Config{ID: "shop", Shards: leat.EvenShards(2)}, func() time.Time { return now }), newMemoryStore()
	a := newArchiver(t, log, store)
	for i := range days {
		appendSome(t, log, rng, rng.IntN(40))
		if rng.IntN(3) == 0 {
			flush(t, a, log) // segments of several days, and several of a day
		}
		if i == days/3 || i == days/2 {
			splitFirst(t, log)
		}
		now = now.Add(time.Duration(rng.IntN(36)) * time.Hour)
	}
	flush(t, a, log)
	return log, store
}

// options are those of a compaction with small files that needs temporary files.
func options(t testing.TB) archive.CompactOptions {
	t.Helper()
	return archive.CompactOptions{Key: testKey(t), MemoryBytes: 8 << 10, FileBytes: 16 << 10, TempDir: t.TempDir()}
}

func compact(t testing.TB, store archive.Store, log leat.Log) archive.CompactReport {
	t.Helper()
	r, err := openArchive(t, store, log).Compact(t.Context(), options(t))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func compactedObjects(t testing.TB, store archive.Store) (days, months []string) {
	t.Helper()
	for _, name := range objects(t, store, "shop/compact/") {
		switch {
		case strings.Contains(name, "/day/"):
			days = append(days, name)
		case strings.Contains(name, "/month/"):
			months = append(months, name)
		}
	}
	return days, months
}

func TestCompact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := seeded(t)
		log, store := yearOf(t, rng, 60)
		r := compact(t, store, log)
		if r.Days < 15 || r.Months < 2 || r.Removed != 0 {
			t.Errorf("%+v", r)
		}
		auditStreams(t, openArchive(t, store, log).Stream, log)
		before, months := compactedObjects(t, store)
		if len(months) == 0 {
			t.Fatal("no months")
		}

		if r := compact(t, store, log); r != (archive.CompactReport{}) {
			t.Errorf("again: %+v, want nothing to do", r)
		}
		// A reader that began before the old files were removed finds the new ones.
		reader := openArchive(t, store, log)
		time.Sleep(archive.DefaultGrace)
		r = compact(t, store, log)
		after, _ := compactedObjects(t, store)
		if r.Removed == 0 || len(after) != len(before)-r.Removed {
			t.Errorf("after the grace period: %+v, %d files of days, before %d", r, len(after), len(before))
		}
		auditWholeStreams(t, reader.Stream, log)

		splitFirst(t, log) // ends a shard, and its last day and month
		appendSome(t, log, rng, 30)
		flush(t, newArchiver(t, log, store), log)
		if r := compact(t, store, log); r.Days == 0 || r.Months == 0 {
			t.Errorf("after a shard was closed: %+v", r)
		}
		auditWholeStreams(t, openArchive(t, store, log).Stream, log)
		audit(t, store, log)
	})
}

// A compactor is killed at each call of the store, before it or after. The next
// one ends where it would have.
func TestCompactInterrupted(t *testing.T) {
	log, store := yearOf(t, seeded(t), 12)
	killed := errors.New("killed")
	done := false
	for n := 1; !done; n += 1 + n/3 {
		for _, after := range []bool{false, true} {
			s := newMemoryStore()
			for name, data := range store.objects {
				s.objects[name] = data
			}
			s.fail = func(call int) (before, late error) {
				switch {
				case call > n || call == n && !after:
					return killed, nil
				case call == n:
					return nil, killed
				}
				return nil, nil
			}
			a, err := archive.Open(t.Context(), s, "shop")
			if err == nil {
				_, err = a.Compact(t.Context(), options(t))
			}
			if done = err == nil; !done && !errors.Is(err, killed) {
				t.Fatalf("killed at call %d: %v", n, err)
			}
			s.fail = nil
			compact(t, s, log)
			auditWholeStreams(t, openArchive(t, s, log).Stream, log)
			compact(t, s, log)
			auditNothingUnnamed(t, s)
		}
	}
}

// auditNothingUnnamed checks that every compacted file is in some catalog.
func auditNothingUnnamed(t testing.TB, store *memoryStore) {
	t.Helper()
	days, months := compactedObjects(t, store)
	for _, name := range append(days, months...) {
		named := false
		for other, data := range store.objects {
			named = named || strings.Contains(other, "/catalog/") && bytes.Contains(data, []byte(strings.TrimPrefix(name, "shop/")))
		}
		if !named {
			t.Errorf("%s is named by no catalog", name)
		}
	}
}

func TestCompactorsRace(t *testing.T) {
	log, store := yearOf(t, seeded(t), 60)
	var wg sync.WaitGroup
	for range 3 {
		o := options(t)
		o.FileBytes *= int64(1 + len(o.TempDir)%3) // they need not agree
		wg.Go(func() {
			a, err := archive.Open(context.Background(), store, "shop")
			if err == nil {
				_, err = a.Compact(context.Background(), o)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	compact(t, store, log)
	auditWholeStreams(t, openArchive(t, store, log).Stream, log)
	auditNothingUnnamed(t, store)
}

// Every bit of a compacted file that a reader looks at is vouched for: a stream
// reads as the log wrote it, or not at all.
func TestDamageOfCompactedFiles(t *testing.T) {
	rng := seeded(t)
	log, store := yearOf(t, rng, 20)
	compact(t, store, log)
	days, months := compactedObjects(t, store)
	names := slices.Sorted(maps.Keys(streams(t, log)))
	found := 0
	for _, object := range append(days, months...) {
		good := store.objects[object]
		for range 2 {
			bad := bytes.Clone(good)
			bad[rng.IntN(len(bad))] ^= 1 << rng.IntN(8)
			store.set(object, bad)
			a := openArchive(t, store, log)
			for _, i := range rng.Perm(len(names))[:min(len(names), 25)] {
				name := names[i]
				got, err := readStream(a.Stream(t.Context(), name, leat.Range{}))
				if err != nil {
					if !errors.Is(err, leat.ErrCorrupt) || !strings.Contains(err.Error(), object) {
						t.Fatalf("%v, want ErrCorrupt that names %s", err, object)
					}
					found++
					continue
				}
				want, _ := readStream(log.ReadStream(t.Context(), name, leat.Range{}))
				if len(got) != len(want) {
					t.Fatalf("stream %q has %d events, want %d, and no error", name, len(got), len(want))
				}
			}
			store.set(object, good)
		}
	}
	if found == 0 {
		t.Error("no damage was found")
	}
}

func TestCompactRefusesAnotherKey(t *testing.T) {
	log, store := yearOf(t, seeded(t), 5)
	k, err := archive.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openArchive(t, store, log).Compact(t.Context(), archive.CompactOptions{Key: k}); !errors.Is(err, leat.ErrDenied) {
		t.Errorf("%v, want ErrDenied", err)
	}
}

package archive_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

// longChain archives a log of single events, each in a segment of its own.
func longChain(t testing.TB, events int) (leat.Log, *memoryStore) {
	t.Helper()
	log, store := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	for range events {
		appendOne(t, log, "order-1")
	}
	flush(t, singleArchiver(t, log, store), log)
	return log, store
}

// singleArchiver returns an archiver that makes a segment of each Append.
func singleArchiver(t testing.TB, log leat.Log, store archive.Store) *archive.Archiver {
	t.Helper()
	a, err := archive.NewArchiver(log, store, archive.Config{Key: testKey(t), SegmentBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func manifestName(number int) string {
	return fmt.Sprintf("shop/manifests/%s/%020d.json", first, number)
}

// Opening an archive does not read the names of all its manifests, and yet it
// finds the last one, and holes.
func TestLongChain(t *testing.T) {
	rng := seeded(t)
	const all = 10_000 // manifests: one begins the chain
	log, store := longChain(t, all-1)
	whole := maps.Clone(store.objects)
	count := &countingStore{Store: store}
	checkpoint := func(a *archive.Archive) uint64 {
		t.Helper()
		c, err := a.Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return c.Seqs[first]
	}
	took := func(what string, most int64) {
		t.Helper()
		if n := count.requests.Swap(0); n > most {
			t.Errorf("%s took %d requests, want at most %d", what, n, most)
		}
	}

	flush(t, singleArchiver(t, log, count), log) // has nothing to do
	took("opening an archiver", 25)
	if _, err := singleArchiver(t, log, count).Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	took("its status", 20)
	reader := openArchive(t, count, log)
	checkpoint(reader)
	took("opening a reader", 20)
	appendOne(t, log, "order-1")
	flush(t, singleArchiver(t, log, store), log)
	if end := checkpoint(reader); end != all {
		t.Errorf("with one more segment the archive ends at %d, want %d", end, all)
	}
	took("looking again", 3)

	lengths := []int{0, 1, 2, 999, 1000, 1001, 1999, 2000, 2001, 2999, 3000, 3001, 4000, 8000, 8001, all}
	for range 20 {
		lengths = append(lengths, rng.IntN(all))
	}
	for _, length := range lengths {
		store.objects = maps.Clone(whole)
		for n := length; n < all; n++ {
			store.set(manifestName(n+1), nil)
		}
		if end := checkpoint(openArchive(t, count, log)); end != uint64(max(length-1, 0)) {
			t.Errorf("an archive of %d manifests ends at %d", length, end)
		}
		took(fmt.Sprintf("opening one of %d manifests", length), 20)
	}

	store.objects = whole
	holes := []int{1, 999, 1000, 1001, 2000, 2001, 4000, 8000, 9000, 9001, all - 1}
	for range 10 {
		holes = append(holes, 1+rng.IntN(all-1))
	}
	for _, hole := range holes {
		name := manifestName(hole)
		good := store.objects[name]
		store.set(name, nil)
		// Who opens the archive is told, or who reads on from somewhere before.
		c, err := openArchive(t, store, log).Checkpoint(t.Context())
		if err == nil && c.Seqs[first] != all-1 {
			t.Errorf("without manifest %d the archive ends at %s", hole, c)
		}
		if err == nil {
			err = readFrom(t, openArchive(t, store, log), uint64(max(hole-10, 0)))
		}
		if !errors.Is(err, leat.ErrCorrupt) || !strings.Contains(err.Error(), name) {
			t.Errorf("without manifest %d: %v, want ErrCorrupt that names it", hole, err)
		}
		store.set(name, good)
	}
}

// readFrom reads the archive of the first shard after a sequence to its end.
func readFrom(t *testing.T, a *archive.Archive, after uint64) error {
	t.Helper()
	for _, err := range a.Events(t.Context(), first, after) {
		if err != nil {
			return err
		}
	}
	return nil
}

// What else comes to lie in the folder of manifests is none.
func TestOtherNamesBesideManifests(t *testing.T) {
	log, store := longChain(t, 3)
	for i := range 2100 {
		store.set(fmt.Sprintf("shop/manifests/%s/index-%d.json", first, i), []byte("{}"))
		store.set(fmt.Sprintf("shop/manifests/%s/%d", first, i), []byte("{}"))
	}
	if c, err := openArchive(t, store, log).Checkpoint(t.Context()); err != nil || c.Seqs[first] != 3 {
		t.Errorf("the archive ends at %s, %v", c, err)
	}
}

// Archivers that add to a long chain at once find its end, and readers too.
func TestArchiversRaceOnALongChain(t *testing.T) {
	rng := seeded(t)
	const before = 990
	log, store := longChain(t, before)
	reader, last := openArchive(t, store, log), uint64(0)
	var wg sync.WaitGroup
	for range 10 {
		appendSome(t, log, rng, 20)
		for range 2 {
			a, to := singleArchiver(t, log, store), head(t, log)
			wg.Go(func() {
				if err := a.Flush(t.Context(), to); err != nil {
					t.Errorf("flush: %v", err)
				}
			})
		}
		for _, a := range []*archive.Archive{reader, openArchive(t, store, log)} {
			c, err := a.Checkpoint(t.Context())
			if err != nil || c.Seqs[first] < last {
				t.Errorf("the archive ends at %s, after %d: %v", c, last, err)
			}
			last = c.Seqs[first]
		}
	}
	wg.Wait()
	if len(manifests(t, store, "shop", first)) <= before+20 {
		t.Error("the chain has not grown")
	}
	healthy(t, store, log)
}

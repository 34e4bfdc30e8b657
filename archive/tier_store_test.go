package archive_test

import (
	"context"
	"errors"
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

// trimmedLog returns a log of which the first 200 of 300 events are only in the
// archive, and its twin.
func trimmedLog(t testing.TB, store archive.Store) (log, twin *leattest.Log) {
	t.Helper()
	rng := seeded(t)
	log = newLog(t, leat.Config{ID: "shop"}, nil)
	a := newArchiver(t, log, store)
	for range 20 {
		appendSome(t, log, rng, 10)
		flush(t, a, log)
	}
	appendSome(t, log, rng, 100)
	twin = twinOf(t, log)
	if _, err := log.Trim(t.Context(), leat.ShardNumber(0), 201); err != nil {
		t.Fatal(err)
	}
	return log, twin
}

// A ledgerStore counts how often each object is read, whole or in part.
type ledgerStore struct {
	*memoryStore
	reading sync.Mutex
	reads   map[string]int
}

func newLedgerStore() *ledgerStore {
	return &ledgerStore{memoryStore: newMemoryStore(), reads: make(map[string]int)}
}

func (s *ledgerStore) read(name string) {
	s.reading.Lock()
	defer s.reading.Unlock()
	s.reads[name]++
}

func (s *ledgerStore) Get(ctx context.Context, name string) ([]byte, error) {
	s.read(name)
	return s.memoryStore.Get(ctx, name)
}

func (s *ledgerStore) GetRange(ctx context.Context, name string, offset, n int64) ([]byte, error) {
	s.read(name)
	return s.memoryStore.GetRange(ctx, name, offset, n)
}

// A replay reads each object once, in however small pieces the reader asks, and
// whatever others read.
func TestTierReadsEachObjectOnce(t *testing.T) {
	store := newLedgerStore()
	log, _ := trimmedLog(t, store)
	tier := archive.Tier(log, openArchive(t, store, log))
	want := len(objects(t, store, "shop/segments/"))
	clear(store.reads)
	for after := uint64(0); after < 200; {
		b, err := tier.ReadShard(t.Context(), leat.ShardNumber(0), after, leat.ReadOptions{Limit: 3})
		if err != nil {
			t.Fatal(err)
		}
		after = b.Next
	}
	segments := 0
	for name, n := range store.reads {
		if strings.Contains(name, "/segments/") {
			segments++
		}
		if n > 1 {
			t.Errorf("%s was read %d times", name, n)
		}
	}
	if segments != want {
		t.Errorf("%d segments were read, want %d", segments, want)
	}

	// Two readers, one of which is ahead: neither disturbs the other.
	clear(store.reads)
	next := []uint64{0, 57}
	for next[0] < 140 {
		for i := range next {
			b, err := tier.ReadShard(t.Context(), leat.ShardNumber(0), next[i], leat.ReadOptions{Limit: 2})
			if err != nil {
				t.Fatal(err)
			}
			next[i] = b.Next
		}
	}
	for name, n := range store.reads {
		if n > 2 {
			t.Errorf("%s was read %d times by two readers", name, n)
		}
	}
}

// A reader that does not come back leaves no segment open.
func TestTierGivesUpReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newLedgerStore()
		log := newLog(t, leat.Config{ID: "shop"}, nil)
		for range 10 {
			appendOne(t, log, "order-1")
		}
		flush(t, newArchiver(t, log, store), log)
		if _, err := log.Trim(t.Context(), leat.ShardNumber(0), 11); err != nil {
			t.Fatal(err)
		}
		tier := archive.Tier(log, openArchive(t, store, log))
		clear(store.reads)
		for n := 1; n <= 3; n++ {
			for range 5 {
				if _, err := tier.ReadShard(t.Context(), leat.ShardNumber(0), 0, leat.ReadOptions{Limit: 1}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(30 * time.Second) // of the test's clock
			}
			for name, reads := range store.reads {
				if strings.Contains(name, "/segments/") && reads != n {
					t.Errorf("%s was read %d times, want %d", name, reads, n)
				}
			}
			time.Sleep(time.Minute)
		}
	})
}

// What was read once is read again from the cache, but for what may change: the
// last catalog and the ends of the chains.
func TestTierOverACache(t *testing.T) {
	store := newLedgerStore()
	log, twin := trimmedLog(t, store)
	compact(t, store, log)
	dir := t.TempDir()
	read := func() {
		cached, err := archive.Cached(store, dir, 64<<20)
		if err != nil {
			t.Fatal(err)
		}
		asTwin(t, archive.Tier(log, openArchive(t, cached, log)), twin)
	}
	read()
	clear(store.reads)
	read()
	for name, n := range store.reads {
		if name != "shop/log.json" {
			t.Errorf("%s was read again, %d times", name, n)
		}
	}
}

// When the archive cannot be reached, or denies everything, what the log has is
// read as ever, and for the rest there is an error that says what happened.
func TestTierWithoutItsStore(t *testing.T) {
	store := newMemoryStore()
	log, twin := trimmedLog(t, store)
	tier := archive.Tier(log, openArchive(t, store, log))
	stream := readLog(t, twin, leat.ShardNumber(0))[0].Stream
	denied := func(int) (before, after error) { return leat.ErrDenied, nil }
	for range 2 {
		store.fail = denied
		_, err := tier.ReadShard(t.Context(), leat.ShardNumber(0), 0, leat.ReadOptions{})
		isUnreachable(t, err)
		_, err = readStream(tier.ReadStream(t.Context(), stream, leat.Range{}))
		isUnreachable(t, err)
		shards, err := tier.Shards(t.Context())
		if err != nil || shards[0].Oldest != 1 {
			t.Fatalf("shards: %+v, %v", shards, err)
		}
		for b, err := range leat.Follow(t.Context(), tier, leat.Filter{System: true}, leat.Checkpoint{Seqs: map[leat.ShardID]uint64{leat.ShardNumber(0): 200}}) {
			if err != nil || b.Events[0].Seq != 201 {
				t.Fatalf("follow what the log has: %+v, %v", b, err)
			}
			break
		}
		appendOne(t, tier, "order-1")
		store.fail = nil
		asTwin(t, tier, twin)
	}
}

func isUnreachable(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(err, archive.ErrUnreachable) || errors.Is(err, leat.ErrDenied) || !strings.Contains(err.Error(), "denied") {
		t.Fatalf("got %v, want ErrUnreachable with the reason", err)
	}
}

// A context that ends is what a reader is told, whatever the store says.
func TestTierObeysItsContext(t *testing.T) {
	store := newMemoryStore()
	log, _ := trimmedLog(t, store)
	tier := archive.Tier(log, openArchive(t, store, log))
	ctx, cancel := context.WithCancel(t.Context())
	store.fail = func(int) (before, after error) {
		cancel()
		return errors.New("no answer"), nil
	}
	if _, err := tier.ReadShard(ctx, leat.ShardNumber(0), 0, leat.ReadOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

// A LazyTier is a log before there is an archive, and while that cannot be opened.
func TestLazyTier(t *testing.T) {
	store := newMemoryStore()
	log, twin := trimmedLog(t, store)
	_, opening := archive.Open(t.Context(), newMemoryStore(), "shop") // there is none
	tier := archive.LazyTier(log, func(ctx context.Context) (*archive.Archive, error) {
		if opening != nil {
			return nil, opening
		}
		return archive.Open(ctx, store, "shop")
	})
	isTrimmed(t, tier, log)
	opening = leat.ErrDenied
	_, err := tier.ReadShard(t.Context(), leat.ShardNumber(0), 0, leat.ReadOptions{})
	isUnreachable(t, err)
	opening = nil
	asTwin(t, tier, twin)
}

// A store that is not there, such as a bucket that was removed, says nothing of
// what is archived: events are out of reach, and not told to be lost.
func TestLazyTierWithoutItsBucket(t *testing.T) {
	store := newMemoryStore()
	log, twin := trimmedLog(t, store)
	tier := archive.LazyTier(log, func(ctx context.Context) (*archive.Archive, error) {
		return archive.Open(ctx, store, "shop")
	})
	store.fail = func(int) (before, after error) { return leat.ErrNotFound, nil }
	if _, err := tier.ReadShard(t.Context(), leat.ShardNumber(0), 0, leat.ReadOptions{}); !errors.Is(err, archive.ErrUnreachable) {
		t.Errorf("read from an archive without its bucket: %v, want ErrUnreachable", err)
	}
	store.fail = nil
	asTwin(t, tier, twin)
}

// isTrimmed checks that a tier tells what its log has trimmed as the log does.
func isTrimmed(t testing.TB, tier, log leat.Log) {
	t.Helper()
	want, err := log.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	shards, err := tier.Shards(t.Context())
	if err != nil || shards[0].Oldest != want[0].Oldest || want[0].Oldest == 1 {
		t.Fatalf("shards: %+v, %v, want %+v", shards, err, want)
	}
	for after := range want[0].Oldest - 1 {
		var trimmed *leat.TrimmedError
		_, err = tier.ReadShard(t.Context(), leat.ShardNumber(0), after, leat.ReadOptions{})
		if !errors.As(err, &trimmed) || trimmed.Oldest != want[0].Oldest || trimmed.Shard != want[0].ID {
			t.Fatalf("read after %d: %v, want a TrimmedError up to %d", after, err, want[0].Oldest)
		}
	}
	for n := range 40 {
		for _, r := range []leat.Range{{}, leat.Range{}.Reverse()} {
			name := "order-{c" + string(rune('0'+n/10)) + string(rune('0'+n%10)) + "}-1"
			got, err := readStream(tier.ReadStream(t.Context(), name, r))
			wanted, wantErr := readStream(log.ReadStream(t.Context(), name, r))
			if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() || len(got) != len(wanted) {
				t.Fatalf("stream %q: %d events, %v, want %d, %v", name, len(got), err, len(wanted), wantErr)
			}
		}
	}
}

// Events that are neither in the archive nor in the log are told, and so is what
// comes before them.
func TestTierTellsAHole(t *testing.T) {
	store := newMemoryStore()
	log, _ := trimmedLog(t, store)
	tier := archive.Tier(log, openArchive(t, store, log))
	if _, err := log.Trim(t.Context(), leat.ShardNumber(0), 260); err != nil {
		t.Fatal(err)
	}
	isTrimmed(t, tier, log)
	for _, err := range leat.Read(t.Context(), tier, leat.Filter{}, leat.Checkpoint{}) {
		if !errors.Is(err, leat.ErrTrimmed) {
			t.Fatalf("read over a hole: %v", err)
		}
	}
}

// The archive of another log is refused, and so is one of a history that the log
// does not have.
func TestTierOfAnotherLog(t *testing.T) {
	store := newMemoryStore()
	log, _ := trimmedLog(t, store)
	other := newLog(t, leat.Config{ID: "other"}, nil)
	single := newLog(t, leat.Config{ID: "shop", Single: true}, nil)
	back := newLog(t, leat.Config{ID: "shop"}, nil) // set back to an older copy
	again := newLog(t, leat.Config{ID: "shop"}, nil)
	appendSome(t, again, seeded(t), 250) // and gone on
	for name, wrong := range map[string]*leattest.Log{"another": other, "single": single, "set back": back, "set back and gone on": again} {
		for range 9 {
			appendOne(t, wrong, "order-1")
		}
		if _, err := wrong.Trim(t.Context(), leat.ShardNumber(0), 9); err != nil {
			t.Fatal(err)
		}
		tier := archive.Tier(wrong, openArchive(t, store, log))
		_, err := tier.Shards(t.Context())
		if !errors.Is(err, leat.ErrDiverged) {
			t.Errorf("%s: shards: %v, want ErrDiverged", name, err)
		}
		_, err = tier.ReadShard(t.Context(), leat.ShardNumber(0), 0, leat.ReadOptions{})
		if !errors.Is(err, leat.ErrDiverged) {
			t.Errorf("%s: read: %v, want ErrDiverged", name, err)
		}
		if _, err := readStream(tier.ReadStream(t.Context(), "order-1", leat.Range{})); name != "set back and gone on" && !errors.Is(err, leat.ErrDiverged) {
			t.Errorf("%s: read a stream: %v, want ErrDiverged", name, err)
		}
		appendOne(t, tier, "order-1")
	}
}

// Damage in the archive names the object, and does not keep anybody from what the
// log has.
func TestTierOverADamagedArchive(t *testing.T) {
	store := newMemoryStore()
	log, _ := trimmedLog(t, store)
	damaged := objects(t, store, "shop/segments/")[4]
	store.set(damaged, append(slices.Clone(store.objects[damaged]), 0))
	tier := archive.Tier(log, openArchive(t, store, log))
	var err error
	read := 0
	for _, err = range leat.Read(t.Context(), tier, leat.Filter{System: true}, leat.Checkpoint{}) {
		read++
	}
	if !errors.Is(err, leat.ErrCorrupt) || !strings.Contains(err.Error(), damaged) || read > 50 {
		t.Errorf("read ends after %d events with %v, want ErrCorrupt that names %s", read, err, damaged)
	}
	for _, err := range leat.Read(t.Context(), tier, leat.Filter{System: true}, leat.Checkpoint{Seqs: map[leat.ShardID]uint64{leat.ShardNumber(0): 50}}) {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// bare is a log without any optional capability.
type bare struct{ leat.Log }

// A tier is an Importer and a Splitter only if its log is one.
func TestTierCapabilities(t *testing.T) {
	log := newLog(t, leat.Config{}, nil)
	for _, c := range []struct {
		log             leat.Log
		imports, splits bool
	}{
		{log, true, true},
		{bare{log}, false, false},
		{struct {
			leat.Log
			leat.Splitter
		}{log, log}, false, true},
		{struct {
			leat.Log
			leat.Importer
		}{log, log}, true, false},
	} {
		tier := archive.LazyTier(c.log, nil)
		_, imports := tier.(leat.Importer)
		_, splits := tier.(leat.Splitter)
		_, trims := tier.(leat.Trimmer)
		_, scans := tier.(leat.Scanner)
		if imports != c.imports || splits != c.splits || trims || !scans {
			t.Errorf("the tier over %T is an Importer: %v, a Splitter: %v, a Trimmer: %v, a Scanner: %v", c.log, imports, splits, trims, scans)
		}
		if got, want := leat.LimitsOf(tier), leat.LimitsOf(c.log); got != want {
			t.Errorf("limits %+v, want %+v", got, want)
		}
	}
}

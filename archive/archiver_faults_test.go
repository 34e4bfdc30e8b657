package archive_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

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

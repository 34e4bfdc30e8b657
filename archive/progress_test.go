package archive_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/leattest"
)

func lag(t testing.TB, a *archive.Archiver) (events uint64, oldest time.Time) {
	t.Helper()
	events, oldest, err := a.Lag(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return events, oldest
}

func countCalls(s *memoryStore) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// setFail makes all calls fail, or none.
func setFail(s *memoryStore, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = func(int) (before, after error) { return err, nil }
}

// What an archiver knows of itself costs the store nothing.
func TestArchiverStats(t *testing.T) {
	inBubble(t, func(t *testing.T, log *leattest.Log, store *memoryStore) {
		a := newArchiver(t, log, store)
		if _, _, err := a.Lag(t.Context()); !errors.Is(err, leat.ErrUnavailable) {
			t.Errorf("lag before the archive was read: %v, want ErrUnavailable", err)
		}
		stop := run(t, a)
		synctest.Wait()
		began := time.Now()
		first := appendOne(t, log, "order-1")
		appendOne(t, log, "order-2")
		time.Sleep(10 * time.Second)
		calls := countCalls(store)
		if n, oldest := lag(t, a); n != 2 || !oldest.Equal(first.At) {
			t.Errorf("lag %d since %s, want 2 since %s", n, oldest, first.At)
		}
		if st := a.Stats(); st.Segments != 0 || st.Errors != 0 || st.Err != nil || st.Success.Before(began) {
			t.Errorf("stats %+v, want nothing archived and no errors", st)
		}
		if n := countCalls(store) - calls; n != 0 {
			t.Errorf("it took %d calls of the store", n)
		}
		time.Sleep(archive.DefaultMaxAge)
		st := a.Stats()
		if st.Segments != 1 || st.Events != 2 || st.EventBytes == 0 || st.Bytes == 0 || time.Since(st.Success) > 2*time.Second {
			t.Errorf("stats %+v, want two events in a segment, and success just now", st)
		}
		if n, oldest := lag(t, a); n != 0 || !oldest.IsZero() {
			t.Errorf("lag %d since %s, want none", n, oldest)
		}

		other := newArchiver(t, log, store)
		appendOne(t, log, "order-3")
		flush(t, other, log) // is faster
		time.Sleep(2 * archive.DefaultMaxAge)
		if st := a.Stats(); st.Retries == 0 || st.Events != 2 {
			t.Errorf("stats %+v, want a retry, and that the other one's event is not counted", st)
		}
		if n, _ := lag(t, a); n != 0 {
			t.Errorf("lag %d, want what the other one archived counted", n)
		}
		stop()
	})
}

// Credentials that expire and a bucket that is removed can come back.
func TestRunOutlivesRefusals(t *testing.T) {
	for name, refusal := range map[string]error{"denied": leat.ErrDenied, "no bucket": leat.ErrNotFound, "full": leat.ErrFull} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, log *leattest.Log, store *memoryStore) {
				a := newArchiver(t, log, store)
				stop := run(t, a)
				synctest.Wait()
				setFail(store, refusal)
				appendOne(t, log, "order-1")
				time.Sleep(time.Hour)
				st := a.Stats()
				if !errors.Is(a.Err(), refusal) || st.Errors < 10 || time.Since(st.Success) < 50*time.Minute {
					t.Errorf("stats %+v, want the error %q again and again, and no success", st, refusal)
				}
				if n, oldest := lag(t, a); n != 1 || time.Since(oldest) < time.Hour {
					t.Errorf("lag %d since %s, want one event, an hour old", n, oldest)
				}
				setFail(store, nil)
				time.Sleep(2 * time.Minute)
				if n, _ := lag(t, a); n != 0 || a.Err() != nil {
					t.Errorf("lag %d, %v; want none and no error", n, a.Err())
				}
				stop()
			})
		})
	}
}

// With another key than the archive's, trying again is of no use.
func TestRunWithAnotherKey(t *testing.T) {
	log, store := newLog(t, leat.Config{}, nil), newMemoryStore()
	flush(t, newArchiver(t, log, store), log)
	key, err := archive.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	a, err := archive.NewArchiver(log, store, archive.Config{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(t.Context()); !errors.Is(err, archive.ErrOtherKey) || !errors.Is(err, leat.ErrDenied) || !errors.Is(a.Err(), archive.ErrOtherKey) {
		t.Errorf("Run: %v, Err: %v; want ErrOtherKey", err, a.Err())
	}
}

// The server from before a restore is told what it is when it comes back.
func TestLogFromBeforeARestore(t *testing.T) {
	store, rng := newMemoryStore(), seeded(t)
	log := newLog(t, leat.Config{ID: "shop"}, nil)
	appendSome(t, log, rng, 50)
	flush(t, newArchiver(t, log, store), log)
	kept := head(t, log)
	restored := restore(t, openArchive(t, store, log), leat.Epoch{Number: 1, Heads: kept.Seqs})
	flush(t, newArchiver(t, restored, store), restored)
	for name, more := range map[string]int{"as it was": 0, "with more": 20} {
		appendSome(t, log, rng, more)
		a := newArchiver(t, log, store)
		for call, err := range map[string]error{"Flush": a.Flush(t.Context(), head(t, log)), "Run": a.Run(t.Context())} {
			if !errors.Is(err, leat.ErrDiverged) || !strings.Contains(err.Error(), "the archive is of epoch 2, the log of epoch 1") {
				t.Errorf("%s, %s: %v, want ErrDiverged that names the epochs", name, call, err)
			}
		}
	}
	audit(t, store, restored)
}

func TestWaitArchived(t *testing.T) {
	inBubble(t, func(t *testing.T, log *leattest.Log, store *memoryStore) {
		a := newArchiver(t, log, store)
		wait := func(r leat.Receipt) error { return a.WaitArchived(t.Context(), r.Shard, r.Last) }
		stop := run(t, a)
		began := time.Now()
		r := appendOne(t, log, "order-1")
		if err := wait(r); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < archive.DefaultMaxAge || took > archive.DefaultMaxAge+2*time.Second {
			t.Errorf("waited %s, want until the segment was cut", took)
		}
		if c, err := openArchive(t, store, log).Checkpoint(t.Context()); err != nil || c.Seqs[r.Shard] != r.Last {
			t.Errorf("archived up to %s, %v; want %d", c, err, r.Last)
		}

		r = appendOne(t, log, "order-1")
		time.AfterFunc(time.Second, func() { flush(t, a, log) })
		began = time.Now()
		if err := wait(r); err != nil || time.Since(began) > time.Second {
			t.Errorf("waited %s for a Flush after a second: %v", time.Since(began), err)
		}

		r = appendOne(t, log, "order-1")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := a.WaitArchived(ctx, r.Shard, r.Last); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a second's patience: %v", err)
		}
		time.AfterFunc(time.Second, stop)
		if err := wait(r); !errors.Is(err, leat.ErrClosed) {
			t.Errorf("when Run was stopped: %v, want ErrClosed", err)
		}

		stop = run(t, a)
		synctest.Wait()
		if err := wait(r); err != nil {
			t.Errorf("when Run goes on: %v", err)
		}
		stop()
	})
}

// Who waits is told when Run cannot go on.
func TestWaitArchivedInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, store := newLog(t, leat.Config{}, nil), newMemoryStore()
		a := newArchiver(t, log, store)
		appendOne(t, log, "order-1")
		r := appendOne(t, log, "order-1")
		if _, err := log.Trim(t.Context(), r.Shard, r.Last+1); err != nil {
			t.Fatal(err)
		}
		waited := make(chan error, 1)
		go func() { waited <- a.WaitArchived(t.Context(), r.Shard, r.Last) }()
		synctest.Wait()
		if err := a.Run(t.Context()); !errors.Is(err, leat.ErrTrimmed) {
			t.Errorf("Run: %v, want ErrTrimmed", err)
		}
		if err := <-waited; !errors.Is(err, leat.ErrTrimmed) {
			t.Errorf("who waited: %v, want ErrTrimmed", err)
		}
	})
}

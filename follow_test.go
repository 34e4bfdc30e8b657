package leat_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A restorable is a log that can be restored while it is read, as one behind a
// network can.
type restorable struct {
	*leattest.Log // as it was created; not used after a restore

	mu      sync.Mutex
	current *leattest.Log
	gone    chan struct{} // closed when current is restored

	hold map[leat.ShardID]*hold // batches of these shards are held back
}

// A hold keeps a batch between its reading and its return.
type hold struct {
	once    sync.Once
	read    chan struct{} // closed when a batch was read
	release chan struct{} // closed by the test
}

func newRestorable(t *testing.T, shards int) *restorable {
	t.Helper()
	log := newLog(t, leat.Config{ID: "log", Shards: leat.EvenShards(shards)})
	return &restorable{Log: log, current: log, gone: make(chan struct{}), hold: make(map[leat.ShardID]*hold)}
}

func newLog(t *testing.T, c leat.Config) *leattest.Log {
	t.Helper()
	log, err := leattest.New(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return log
}

func (r *restorable) now() (*leattest.Log, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current, r.gone
}

func (r *restorable) Info(ctx context.Context) (leat.Info, error) {
	log, _ := r.now()
	return log.Info(ctx)
}

func (r *restorable) Shards(ctx context.Context) ([]leat.Shard, error) {
	log, _ := r.now()
	return log.Shards(ctx)
}

func (r *restorable) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	log, _ := r.now()
	return log.Append(ctx, events, conds...)
}

func (r *restorable) ReadShard(ctx context.Context, shard leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	for {
		log, gone := r.now()
		reading, cancel := context.WithCancel(ctx)
		go func() {
			defer cancel()
			select {
			case <-gone:
			case <-reading.Done():
			}
		}()
		b, err := log.ReadShard(reading, shard, after, o)
		restored := err != nil && reading.Err() != nil && ctx.Err() == nil
		cancel()
		if restored {
			continue
		}
		if h := r.hold[shard]; h != nil {
			h.once.Do(func() { close(h.read) })
			select {
			case <-h.release:
			case <-ctx.Done():
			}
		}
		return b, err
	}
}

// restore replaces the log by one that kept only the first events of each shard.
func (r *restorable) restore(t *testing.T, keep map[leat.ShardID]uint64) {
	t.Helper()
	old, _ := r.now()
	info, err := old.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	shards, err := old.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	log := newLog(t, leat.Config{ID: info.ID, Shards: shards, Ended: append(info.Ended, leat.Epoch{Number: info.Epoch, Heads: keep})})
	for shard, head := range keep {
		b, err := old.ReadShard(t.Context(), shard, 0, leat.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := log.Import(t.Context(), shard, b.Events[:head]); err != nil {
			t.Fatal(err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.gone)
	r.current, r.gone = log, make(chan struct{})
}

func appendTo(t *testing.T, log leat.Log, streams ...string) {
	t.Helper()
	for _, s := range streams {
		if _, err := log.Append(t.Context(), []leat.Event{{Stream: s, Type: "Tested", Source: "leat"}}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFollowStopsWhenWhatItYieldedIsNotRestored(t *testing.T) {
	log := newRestorable(t, 1)
	appendTo(t, log, "a", "a", "a")
	for b, err := range leat.Follow(t.Context(), log, leat.Filter{}, leat.Checkpoint{}) {
		if errors.Is(err, leat.ErrDiverged) {
			return
		}
		if err != nil || b.Next != 3 {
			t.Fatalf("got a batch up to %d and error %v, want one up to 3", b.Next, err)
		}
		log.restore(t, map[leat.ShardID]uint64{b.Shard: 2})
		appendTo(t, log, "a", "a", "a") // what comes round again must not be taken for what was seen
	}
	t.Fatal("Follow ended without an error")
}

func TestFollowGoesOnWhenWhatItYieldedIsRestored(t *testing.T) {
	log := newRestorable(t, 1)
	appendTo(t, log, "a", "a", "a")
	at := leat.Checkpoint{Log: "log"}
	for b, err := range leat.Follow(t.Context(), log, leat.Filter{}, at) {
		if err != nil {
			t.Fatal(err)
		}
		at.Advance(b)
		if b.Next == 4 {
			break
		}
		log.restore(t, map[leat.ShardID]uint64{b.Shard: 3})
		appendTo(t, log, "a")
	}
	if got := at.String(); got != "log@2,shardId-000000000000=4" {
		t.Errorf("the checkpoint is %s", got)
	}
	info, _ := log.Info(t.Context())
	shards, _ := log.Shards(t.Context())
	if err := at.Verify(info, shards); err != nil {
		t.Error(err)
	}
}

// A batch that was read before a restore and comes after one from the restored
// log must be on the history that was kept.
func TestFollowVerifiesBatchesReadBeforeARestore(t *testing.T) {
	for _, c := range []struct {
		name string
		keep uint64
		want error
	}{
		{"kept", 3, nil},
		{"not kept", 2, leat.ErrDiverged},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := newRestorable(t, 2)
			first, second := leat.ShardNumber(0), leat.ShardNumber(1)
			here, there := "a", "b" // in the first and the second shard
			appendTo(t, log, here, there, there, there)
			h := &hold{read: make(chan struct{}), release: make(chan struct{})}
			log.hold[second] = h

			for b, err := range leat.Follow(t.Context(), log, leat.Filter{}, leat.Checkpoint{}) {
				switch {
				case err != nil || b.Shard == second:
					if !errors.Is(err, c.want) {
						t.Fatalf("got error %v, want %v", err, c.want)
					}
					if err == nil && (b.Next != 3 || b.Epoch != 2) {
						t.Fatalf("got a batch up to %d of epoch %d, want one up to 3 of epoch 2", b.Next, b.Epoch)
					}
					return
				case b.Epoch == 1:
					<-h.read
					log.restore(t, map[leat.ShardID]uint64{first: 1, second: c.keep})
					appendTo(t, log, here)
				default:
					close(h.release)
				}
			}
		})
	}
}

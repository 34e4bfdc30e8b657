package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
)

// appendBlocks appends n Appends of three events that take a block together.
func appendBlocks(t *testing.T, log leat.Log, n int) {
	t.Helper()
	for i := range n {
		var events []leat.Event
		for j := range 3 {
			events = append(events, leat.Event{
				ID: fmt.Sprintf("%d-%d", i, j), Stream: fmt.Sprintf("s%d-{k}", (i+j)%5), Type: "T", Source: "test",
				Data: make([]byte, 6<<10),
			})
		}
		mustAppend(t, log, events...)
	}
}

// TestInterruptedTrim cuts the power at each operation of a Trim and a Close: afterwards all
// of it is done or nothing, and what is left to remove is removed at Open.
func TestInterruptedTrim(t *testing.T) {
	shard := leat.ShardNumber(0)
	trimmed := 0
	for n := 1; ; n++ {
		before := newDisk()
		var mu sync.Mutex
		left := math.MaxInt
		var disk *vfs.MemFS
		before.watch(func(errorfs.Op) error {
			mu.Lock()
			defer mu.Unlock()
			if left--; left == 0 {
				disk = before.cut(0, nil)
			}
			return nil
		})
		log := create(t, before, engine.Options{GenerationEvents: 64, CacheBytes: 1 << 20}.WithFileBytes(256<<10))
		appendBlocks(t, log, 300)
		mu.Lock()
		left = n
		mu.Unlock()
		if oldest, err := log.Trim(t.Context(), shard, 850); err != nil || oldest != 850 {
			t.Fatalf("trim: got %d, %v, want 850", oldest, err)
		}
		closeLog(t, log)
		mu.Lock()
		done := left > 0
		mu.Unlock()
		if done {
			t.Logf("power was cut at %d operations, after %d of them the trim was durable", n-1, trimmed)
			if trimmed == 0 || trimmed == n-1 {
				t.Error("want some of either")
			}
			return
		}
		mustCheck(t, disk, "log")
		log, err := engine.Open("log", engine.Options{FS: disk, GenerationEvents: 64, CacheBytes: 1 << 20}.WithFileBytes(256<<10))
		if err != nil {
			t.Fatal(err)
		}
		shards, err := log.Shards(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		oldest := shards[0].Oldest
		if oldest == 850 {
			trimmed++
		} else if oldest != 1 {
			t.Fatalf("cut at operation %d: %s is kept from %d on", n, shard, oldest)
		}
		closeLog(t, log)
		report := mustCheck(t, disk, "log")
		if want := 901 - oldest; report.Events != want && report.Events != want+1 {
			t.Errorf("cut at operation %d: %d events are kept, want %d and perhaps the trim's", n, report.Events, want)
		}
		withStore(t, disk, func(db *pebble.DB) {
			if blocks := countKeys(t, db, 'e'); oldest > 1 && blocks > 20+64/3 {
				t.Errorf("cut at operation %d: %d blocks are left after Open", n, blocks)
			}
			if runs := countKeys(t, db, 's'); uint64(runs) > report.Events {
				t.Errorf("cut at operation %d: %d runs are left after Open for %d events", n, runs, report.Events)
			}
		})
	}
}

// TestDamageInWhatIsTrimmed opens a log of which a block is damaged that a trim
// did not get to remove: what is kept is not affected.
func TestDamageInWhatIsTrimmed(t *testing.T) {
	mem := vfs.NewMem()
	log, err := engine.Create("log", leat.Config{}, engine.Options{FS: mem, GenerationEvents: 1})
	if err != nil {
		t.Fatal(err)
	}
	appendBlocks(t, log, 5)
	if _, err := log.Trim(t.Context(), leat.ShardNumber(0), 13); err != nil {
		t.Fatal(err)
	}
	closeLog(t, log)
	withStore(t, mem, func(db *pebble.DB) {
		remove(t, db, "w\x00\x00\x00\x00")
	})
	overwrite(t, mem, blockFile(1), "0-1", "0-x") // the ID of the second event
	log, err = engine.Open("log", engine.Options{FS: mem})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	defer closeLog(t, log)
	b, err := log.ReadShard(t.Context(), leat.ShardNumber(0), 12, leat.ReadOptions{Filter: leat.Filter{System: true}})
	if err != nil || len(b.Events) != 4 {
		t.Errorf("read what is kept: got %d events, %v, want 3 and the trim", len(b.Events), err)
	}
	mustAppend(t, log, event("a"))
	if _, err := log.Trim(t.Context(), leat.ShardNumber(0), 16); err != nil {
		t.Errorf("trim: %v", err)
	}
}

func countKeys(t *testing.T, db *pebble.DB, prefix byte) int {
	t.Helper()
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefix}, UpperBound: []byte{prefix + 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	n := 0
	for it.First(); it.Valid(); it.Next() {
		n++
	}
	return n
}

// TestReadingWhileTrimming reads while the ground is cut away: a reader gets
// every event in order, or is told that it was trimmed.
func TestReadingWhileTrimming(t *testing.T) {
	log := create(t, vfs.NewMem(), engine.Options{})
	appendBlocks(t, log, 400)
	shard := leat.ShardNumber(0)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := readDense(ctx, log, leat.Range{}); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
				if err := readDense(ctx, log, leat.Range{}.Reverse()); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for ctx.Err() == nil {
				_, err := log.ReadShard(ctx, shard, 0, leat.ReadOptions{})
				if err != nil && !errors.Is(err, leat.ErrTrimmed) && ctx.Err() == nil {
					t.Errorf("read %s: %v", shard, err)
				}
			}
		})
	}
	for below := uint64(1); below <= 1200; below += 7 {
		if _, err := log.Trim(t.Context(), shard, below); err != nil {
			t.Errorf("trim: %v", err)
		}
	}
	cancel()
	wg.Wait()
}

// readDense reads a stream whose versions must have no hole.
func readDense(ctx context.Context, log leat.Log, r leat.Range) error {
	var last uint64
	for e, err := range log.ReadStream(ctx, "s1-{k}", r) {
		switch {
		case errors.Is(err, leat.ErrTrimmed):
			return nil
		case err != nil:
			return err
		case last > 0 && !r.Reversed() && e.Version != last+1, last > 0 && r.Reversed() && e.Version != last-1:
			return fmt.Errorf("version %d follows %d", e.Version, last)
		}
		last = e.Version
	}
	return nil
}

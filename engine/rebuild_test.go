package engine_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
)

// TestRepairOfShardTrimmedWhole repairs a log with a shard of which no block is
// left: it is good afterwards, and Open reads no more of it than of any other.
func TestRepairOfShardTrimmedWhole(t *testing.T) {
	fs := newDisk()
	o := manyFiles(fs, 500, 8)
	shards := leat.EvenShards(2)
	log, err := engine.Create("log", leat.Config{Shards: shards}, o)
	if err != nil {
		t.Fatal(err)
	}
	var streams [2]string // one in the shard of the system, which trims, and one in the other
	for n := 0; streams[0] == "" || streams[1] == ""; n++ {
		name := fmt.Sprint("stream-", n)
		i := 0
		if leat.OpenShard(shards, leat.RouteHash(name)) != leat.OpenShard(shards, leat.RouteHash(leat.SystemStream)) {
			i = 1
		}
		streams[i] = name
	}
	n := 0
	give := func(stream string) (r leat.Receipt) {
		for range 40 {
			n++
			r = mustAppend(t, log, leat.Event{ID: fmt.Sprint(n), Stream: stream, Type: "T", Source: "test", Data: make([]byte, 100)})
		}
		return r
	}
	r := give(streams[1])
	kept := give(streams[0])
	for shard, below := range map[leat.ShardID]uint64{r.Shard: r.Last + 1, kept.Shard: kept.Last} {
		if _, err := log.Trim(t.Context(), shard, below); err != nil {
			t.Fatal(err)
		}
	}
	give(streams[0])
	closeLog(t, log)
	closeLog(t, mustOpen(t, o)) // which removes what was not yet indexed at the trim
	if _, err := fs.mem.Stat(blockFile(1)); err == nil {
		t.Error("the files of the trimmed shard are still there")
	}
	report, err := engine.Repair(t.Context(), "log", o, nil)
	if err != nil || report.Found > 0 {
		t.Fatalf("repair: got %d problems, %v, want none: %.300v", report.Found, err, fmt.Sprint(report.Problems))
	}

	var mu sync.Mutex
	read := make(map[string]bool) // files of which groups are read
	fs.watch(func(op errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if isBlocks(op.Path) && op.Kind == errorfs.OpFileReadAt && op.Offset > 0 {
			read[op.Path] = true
		}
		return nil
	})
	log = mustOpen(t, o)
	fs.leave()
	defer closeLog(t, log)
	if all := len(mustList(t, fs.mem, "log/blocks", "")); len(read) > 2 || all < 10 {
		t.Errorf("open after a repair read groups of %d of %d files, want the last alone", len(read), all)
	}
	got, err := log.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range got {
		if s.ID == r.Shard && (s.Head != r.Last || s.Oldest != r.Last+1) {
			t.Errorf("the shard that was trimmed whole is %+v, want it to end at %d", s, r.Last)
		}
	}
}

// TestInterruptedRepair interrupts the repair of a log whose beginning is
// trimmed: by a power cut, and by an end of its context, at calls that change
// the disk, and between blocks. Open goes on with what it leaves.
func TestInterruptedRepair(t *testing.T) {
	whole := vfs.NewCrashableMem()
	o := manyFiles(whole, 1000, 8)
	log, err := engine.Create("log", leat.Config{}, o)
	if err != nil {
		t.Fatal(err)
	}
	last := fill(t, log, "event", 120)
	if _, err := log.Trim(t.Context(), last.Shard, last.Last-70); err != nil {
		t.Fatal(err)
	}
	want, err := readContents(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	closeLog(t, log)
	goesOn := func(fs vfs.FS, how string, n int) {
		t.Helper()
		o := manyFiles(fs, 1000, 8)
		log := mustOpen(t, o)
		got, err := readContents(t.Context(), log)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s %d: the log holds something else (%v)", how, n, err)
		}
		if r := mustAppend(t, log, event("event-0;")); !r.Duplicate || r.First != 1 {
			t.Errorf("%s %d: an event that was trimmed is not known: got %+v", how, n, r)
		}
		fill(t, log, "more", 3)
		closeLog(t, log)
		if err := check(t.Context(), fs, "log"); err != nil {
			t.Fatalf("%s %d: %v", how, n, err)
		}
	}
	rng := newRand(t)
	calls, blocks := 0, 0
	repair := func(at int, byCall bool) (cut, left *vfs.MemFS) {
		fs := newDisk()
		copyLog(t, whole, "log", fs.mem)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var mu sync.Mutex
		n := 0
		step := func() {
			mu.Lock()
			defer mu.Unlock()
			if n++; n == at {
				cut = fs.cut(0, nil)
				cancel()
			}
		}
		fs.watch(func(op errorfs.Op) error {
			if byCall && changes(op) && isDataFile(op.Path) {
				step()
			}
			return nil
		})
		_, err := engine.Repair(ctx, "log", manyFiles(fs, 1000, 8), func(uint64, uint64) {
			if !byCall {
				step()
			}
		})
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatalf("repair: %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		if byCall {
			calls = n
		} else {
			blocks = n
		}
		return cut, fs.mem
	}
	repair(0, true)
	repair(0, false)
	t.Logf("%d calls, %d steps", calls, blocks)
	for _, byCall := range []bool{true, false} {
		how, total, stride := "step", blocks, blocks/8
		if byCall {
			how, total, stride = "call", calls, 1
		}
		for n := 1 + rng.IntN(stride); n <= total; n += stride {
			cut, left := repair(n, byCall)
			goesOn(left, how, n)
			if byCall && cut != nil {
				goesOn(cut, "power cut at "+how, n)
			}
		}
	}
}

// TestInterruptedUpgrade cuts the power while a log of an earlier version is
// brought up to date: the next Open does it.
func TestInterruptedUpgrade(t *testing.T) {
	for _, version := range []string{"v1", "v2"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			const stride = 11
			cuts := 0
			for n := 1 + newRand(t).IntN(stride); ; n += stride {
				fs := newDisk()
				copyLog(t, vfs.Default, "testdata/"+version, fs.mem)
				var mu sync.Mutex
				var after *vfs.MemFS
				left := n
				fs.watch(func(errorfs.Op) error {
					mu.Lock()
					defer mu.Unlock()
					if left--; left == 0 {
						after = fs.cut(0, nil)
					}
					return nil
				})
				closeLog(t, mustOpen(t, manyFiles(fs, 1<<10, 8)))
				fs.leave()
				mu.Lock()
				done := after == nil
				mu.Unlock()
				if done {
					after = fs.mem
				}
				log := mustOpen(t, manyFiles(after, 1<<10, 8))
				holdsFixture(t, log)
				closeLog(t, log)
				if report := mustCheck(t, after, "log"); report.Events != 12+2-3+1 {
					t.Errorf("check: got %+v", report)
				}
				if t.Failed() {
					t.Fatalf("that was after a power cut at call %d", n)
				}
				if done {
					t.Logf("cut the power %d times", cuts)
					return
				}
				cuts++
			}
		})
	}
}

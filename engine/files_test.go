package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
)

// manyFiles are options of a log with files of blocks of about that size, whose
// index is sorted after so many events.
func manyFiles(fs vfs.FS, fileBytes int64, generation int) engine.Options {
	o := engine.Options{FS: fs, CacheBytes: 1, GenerationEvents: generation, ReserveBytes: -1}
	return o.WithFileBytes(fileBytes)
}

func mustOpen(t *testing.T, o engine.Options) *engine.Log {
	t.Helper()
	log, err := engine.Open("log", o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return log
}

// fill appends n Appends of one event each.
func fill(t *testing.T, log leat.Log, name string, n int) (last leat.Receipt) {
	t.Helper()
	for i := range n {
		last = mustAppend(t, log, event(fmt.Sprintf("%s-%d;", name, i)))
	}
	return last
}

// copyLog copies a log, durably so.
func copyLog(t *testing.T, from vfs.FS, dir string, to vfs.FS) {
	t.Helper()
	if _, err := vfs.Clone(from, to, dir, "log", vfs.CloneSync); err != nil {
		t.Fatal(err)
	}
	root, err := to.OpenDir("/")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(root.Sync(), root.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedFiles damages files of blocks, or removes them: Check and Open say
// what is wrong and where, and Check also goes on to report on the rest when a
// group is damaged.
func TestDamagedFiles(t *testing.T) {
	whole := vfs.NewMem()
	log := create(t, whole, manyFiles(whole, 200, 1))
	fill(t, log, "event", 30)
	closeLog(t, log)
	names := mustList(t, whole, "log/blocks", "log/blocks/")
	last := len(names)
	if last < 10 {
		t.Fatalf("there are %d files, want 10 or more", last)
	}
	gone := func(n int) func(*testing.T, vfs.FS) {
		return func(t *testing.T, fs vfs.FS) {
			if err := fs.Remove(blockFile(n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	write := func(n int, at int64, with string) func(*testing.T, vfs.FS) {
		return func(t *testing.T, fs vfs.FS) {
			f, err := fs.OpenReadWrite(blockFile(n), vfs.WriteCategoryUnspecified)
			if err == nil {
				_, err = f.WriteAt([]byte(with), at)
				err = errors.Join(err, f.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	missing := func(n int) string { return "the file of blocks " + blockFile(n) + " is missing" }
	for _, c := range []struct {
		name   string
		damage func(*testing.T, vfs.FS)
		report string // has a problem with that
		check  string // or Check fails with that
		open   string // Open fails with that; "" when it need not look there
	}{
		{"the first is missing", gone(1), "shardId-000000000000, sequence 1: ", "", missing(1)},
		{"one in the middle is missing", gone(5), "", missing(5), missing(5)},
		{"the last is missing", gone(last), missing(last), "", missing(last)},
		{"all are missing", func(t *testing.T, fs vfs.FS) {
			for n := range names {
				gone(n+1)(t, fs)
			}
		}, "", "is missing", "is missing"},
		{"a header is damaged", write(5, 20, "damage"), "", blockFile(5), blockFile(5)},
		{"the header of the last is damaged", write(last, 0, "damage"), "", blockFile(last), blockFile(last)},
		{"a file is another's", func(t *testing.T, fs vfs.FS) {
			if err := errors.Join(fs.Remove(blockFile(5)), fs.Link(blockFile(6), blockFile(5))); err != nil {
				t.Fatal(err)
			}
		}, "", blockFile(5), blockFile(5)},
		{"a file is empty", func(t *testing.T, fs vfs.FS) {
			f, err := fs.Create(blockFile(5), vfs.WriteCategoryUnspecified)
			if err = errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
		}, "", blockFile(5), blockFile(5)},
		{"a group in the middle", write(5, 60, "damage"), "file of blocks 5, at 48: ", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := vfs.NewMem()
			copyLog(t, whole, "log", fs)
			c.damage(t, fs)
			report, err := engine.Check(t.Context(), "log", manyFiles(fs, 200, 8), nil)
			if c.check != "" && (err == nil || !errors.Is(err, leat.ErrCorrupt) || !strings.Contains(err.Error(), c.check)) {
				t.Errorf("check: got %+v, %v, want ErrCorrupt with %q", report, err, c.check)
			}
			if c.report != "" && (err != nil || !strings.Contains(fmt.Sprint(report.Problems), c.report)) {
				t.Errorf("check: got %+v, %v, want a problem with %q", report, err, c.report)
			}
			log, err := engine.Open("log", manyFiles(fs, 200, 8))
			if err == nil {
				closeLog(t, log)
			}
			if c.open != "" && (!errors.Is(err, leat.ErrCorrupt) || !strings.Contains(err.Error(), c.open)) {
				t.Errorf("open: got %v, want ErrCorrupt with %q", err, c.open)
			}
		})
	}
}

// TestCheckGoesOn damages a group of the last file that later ones say is
// durable, and that Open has to read: Check names the place and still tells what
// else there is.
func TestCheckGoesOn(t *testing.T) {
	mem := vfs.NewMem()
	log := create(t, mem, engine.Options{ReserveBytes: -1})
	fill(t, log, "event", 20)
	closeLog(t, log)
	overwrite(t, mem, blockFile(1), "event-10;", "Event-10;")
	report, err := engine.Check(t.Context(), "log", engine.Options{FS: mem}, nil)
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	if text := fmt.Sprint(report.Problems); !strings.Contains(text, "the file of blocks 1 is damaged at ") || len(report.Shards) != 1 {
		t.Errorf("got %+v, want a problem that names the place", report)
	}
	log, err = engine.Open("log", engine.Options{FS: mem})
	if !errors.Is(err, leat.ErrCorrupt) || !strings.Contains(err.Error(), "the file of blocks 1 is damaged") {
		t.Errorf("open: got %v, %v, want ErrCorrupt that names the file", log, err)
	}
}

// TestTrimRemovesFiles trims a log bit by bit: the files of which nothing is kept
// go, and no other.
func TestTrimRemovesFiles(t *testing.T) {
	const n = 60
	mem := vfs.NewMem()
	o := manyFiles(mem, 500, 1)
	log := create(t, mem, o)
	closeLog(t, log)
	log = mustOpen(t, o)
	fill(t, log, "event", n)
	rng := newRand(t)
	holds := func(name, id string) bool { return bytes.Contains(contentOf(t, mem, name), []byte(id)) }
	for below := uint64(1); below <= n; below += 1 + rng.Uint64N(9) {
		if oldest, err := log.Trim(t.Context(), leat.ShardNumber(0), below); err != nil || oldest != below {
			t.Fatalf("trim below %d: got %d, %v", below, oldest, err)
		}
		closeLog(t, log)
		log = mustOpen(t, o) // which removes what was not yet indexed at the trim
		names := mustList(t, mem, "log/blocks", "log/blocks/")
		for seq := below; seq <= n; seq++ {
			id := fmt.Sprintf("event-%d;", seq-1)
			if !slices.ContainsFunc(names, func(name string) bool { return holds(name, id) }) {
				t.Fatalf("trimmed below %d, the file with sequence %d is gone", below, seq)
			}
		}
		if id := fmt.Sprintf("event-%d;", below-1); !holds(names[0], id) {
			t.Errorf("trimmed below %d, the first of %d files does not hold that sequence", below, len(names))
		}
		if events := mustReadShard(t, log, below-1); len(events) < int(n-below+1) || events[0].Seq != below {
			t.Errorf("trimmed below %d, %d events can be read", below, len(events))
		}
	}
	closeLog(t, log)
	mustCheck(t, mem, "log")
}

// TestRemovalsInOrder trims a log: no file is removed before the removal of those
// ahead of it is durable, so that after a power cut none is missing between
// others.
func TestRemovalsInOrder(t *testing.T) {
	fs := newDisk()
	log := create(t, fs, manyFiles(fs, 500, 8))
	fill(t, log, "event", 100)
	var mu sync.Mutex
	removed, last := 0, ""
	fs.watch(func(op errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case op.Kind == errorfs.OpRemove && isBlocks(op.Path):
			if last != "" {
				t.Errorf("%s is removed, and the removal of %s is not durable", op.Path, last)
			}
			removed, last = removed+1, op.Path
		case isSync(op) && op.Path == "log/blocks":
			last = ""
		}
		return nil
	})
	if _, err := log.Trim(t.Context(), leat.ShardNumber(0), 90); err != nil {
		t.Fatal(err)
	}
	closeLog(t, log)
	fs.leave()
	if removed < 5 {
		t.Errorf("%d files were removed, want 5 or more", removed)
	}
	mustCheck(t, fs.cut(0, nil), "log")
}

// mustReadShard returns the events of the first shard after a sequence.
func mustReadShard(t *testing.T, log leat.Log, after uint64) (events []leat.Recorded) {
	t.Helper()
	for {
		b, err := log.ReadShard(t.Context(), leat.ShardNumber(0), after, leat.ReadOptions{Filter: leat.Filter{System: true}})
		if err != nil {
			t.Fatalf("read after %d: %v", after, err)
		}
		if b.Next == after {
			return events
		}
		events, after = append(events, b.Events...), b.Next
	}
}

// TestReadingWhileFilesGo reads while files are removed: a reader gets every
// event in order, or is told that it was trimmed.
func TestReadingWhileFilesGo(t *testing.T) {
	mem := vfs.NewMem()
	log := create(t, mem, manyFiles(mem, 30<<10, 8))
	appendBlocks(t, log, 200)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, r := range []leat.Range{{}, leat.Range{}.Reverse()} {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := readDense(ctx, log, r); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for after := uint64(0); ctx.Err() == nil; {
			b, err := log.ReadShard(ctx, leat.ShardNumber(0), after, leat.ReadOptions{Filter: leat.Filter{System: true}})
			var trimmed *leat.TrimmedError
			switch {
			case errors.As(err, &trimmed):
				after = trimmed.Oldest - 1
			case err != nil && ctx.Err() == nil:
				t.Errorf("read after %d: %v", after, err)
			case err == nil && len(b.Events) > 0 && b.Events[0].Seq != after+1:
				t.Errorf("sequence %d follows %d", b.Events[0].Seq, after)
			case err == nil && len(b.Events) == 0:
				after = 0
			default:
				after = b.Next
			}
		}
	})
	before := len(mustList(t, mem, "log/blocks", ""))
	for below := uint64(1); below <= 600; below += 5 {
		if _, err := log.Trim(t.Context(), leat.ShardNumber(0), below); err != nil {
			t.Errorf("trim: %v", err)
		}
	}
	cancel()
	wg.Wait()
	if after := len(mustList(t, mem, "log/blocks", "")); before < 50 || after > before/2 {
		t.Errorf("of %d files %d are left, want fewer", before, after)
	}
}

// TestManyFiles reads a log of more files than are open at once, by several
// goroutines, in all directions.
func TestManyFiles(t *testing.T) {
	const n = 600
	mem := vfs.NewMem()
	o := manyFiles(mem, 1, 100)
	log := create(t, mem, o)
	for i := range n {
		e := event(fmt.Sprint(i))
		e.Stream = fmt.Sprintf("order-%d", i%7)
		mustAppend(t, log, e)
	}
	if files := len(mustList(t, mem, "log/blocks", "")); files < n {
		t.Fatalf("there are %d files, want %d", files, n)
	}
	closeLog(t, log)
	log = mustOpen(t, o)
	defer closeLog(t, log)
	var wg sync.WaitGroup
	for reader := range 4 {
		wg.Go(func() {
			for i, e := range mustReadShard(t, log, 0) {
				if e.ID != fmt.Sprint(i) {
					t.Errorf("read the shard: event %d is %q", i, e.ID)
				}
			}
		})
		for _, r := range []leat.Range{{}, leat.Range{}.Reverse()} {
			wg.Go(func() {
				for k := range 7 {
					k = (k + reader) % 7
					want := (n + 6 - k) / 7
					got := 0
					for e, err := range log.ReadStream(t.Context(), fmt.Sprintf("order-%d", k), r) {
						version := got + 1
						if r.Reversed() {
							version = want - got
						}
						if err != nil || e.Version != uint64(version) || e.ID != fmt.Sprint((version-1)*7+k) {
							t.Errorf("stream %d, version %d: got %q of version %d, %v", k, version, e.ID, e.Version, err)
							return
						}
						got++
					}
					if got != want {
						t.Errorf("stream %d has %d events, want %d", k, got, want)
					}
				}
			})
		}
	}
	wg.Wait()
}

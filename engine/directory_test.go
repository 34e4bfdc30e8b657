package engine_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
)

func event(id string) leat.Event {
	return leat.Event{ID: id, Stream: "order-1", Type: "Placed", Source: "test", Data: []byte(id)}
}

func mustAppend(t testing.TB, log leat.Log, events ...leat.Event) leat.Receipt {
	t.Helper()
	r, err := log.Append(t.Context(), events)
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	return r
}

func create(t testing.TB, fs vfs.FS, o engine.Options) *engine.Log {
	t.Helper()
	o.FS = fs
	log, err := engine.Create("log", leat.Config{}, o)
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	t.Cleanup(func() { closeLog(t, log) })
	return log
}

func TestDirectories(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	log, err := engine.Create(at("a/log"), leat.Config{ID: "mine"}, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Open(at("a/log"), engine.Options{}); err == nil || !strings.Contains(err.Error(), "this process (PID") {
		t.Errorf("open it twice: got %v, want an error that says who has it open", err)
	}
	if _, err := engine.Check(t.Context(), at("a/log"), engine.Options{}, nil); err == nil || !strings.Contains(err.Error(), "PID") {
		t.Errorf("check it while it is open: got %v, want an error that says who has it open", err)
	}
	closeLog(t, log)
	if _, err := engine.Create(at("a/log"), leat.Config{}, engine.Options{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create it twice: got %v, want fs.ErrExist", err)
	}
	for _, name := range []string{"none", "."} {
		if _, err := engine.Open(at(name), engine.Options{}); !errors.Is(err, leat.ErrNotFound) {
			t.Errorf("open %q: got %v, want ErrNotFound", name, err)
		}
		if _, err := engine.Check(t.Context(), at(name), engine.Options{}, nil); !errors.Is(err, leat.ErrNotFound) {
			t.Errorf("check %q: got %v, want ErrNotFound", name, err)
		}
	}
	if _, err := engine.Create(dir, leat.Config{}, engine.Options{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create among other files: got %v, want fs.ErrExist", err)
	}
	if _, err := engine.Create(at("b"), leat.Config{ID: "no spaces"}, engine.Options{}); !errors.Is(err, leat.ErrInvalid) {
		t.Errorf("create with a bad ID: got %v, want ErrInvalid", err)
	}
	if _, err := os.Stat(at("b")); err == nil {
		t.Error("a Create that was refused left a directory behind")
	}

	if log, err = engine.Open(at("a/log"), engine.Options{}); err != nil {
		t.Fatal(err)
	}
	defer closeLog(t, log)
	if info, err := log.Info(t.Context()); err != nil || info.ID != "mine" || info.Epoch != 1 {
		t.Errorf("got %+v, %v", info, err)
	}
}

// withStore opens the Pebble store of a closed log, as only its own code should.
func withStore(t *testing.T, fs vfs.FS, do func(*pebble.DB)) {
	t.Helper()
	db, err := pebble.Open("log", &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	do(db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// quiet is a Pebble logger that says nothing.
type quiet struct{}

func (quiet) Infof(string, ...any)      {}
func (quiet) Errorf(string, ...any)     {}
func (quiet) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

func put(t *testing.T, db *pebble.DB, key, value string) {
	t.Helper()
	if err := db.Set([]byte(key), []byte(value), pebble.Sync); err != nil {
		t.Fatal(err)
	}
}

func TestStoresThatAreNotLogs(t *testing.T) {
	empty := vfs.NewMem()
	withStore(t, empty, func(*pebble.DB) {})
	if _, err := engine.Open("log", engine.Options{FS: empty}); !errors.Is(err, leat.ErrNotFound) {
		t.Errorf("open what an interrupted Create left: got %v, want ErrNotFound", err)
	}
	mustAppend(t, create(t, empty, engine.Options{}), event("a"))

	foreign := vfs.NewMem()
	withStore(t, foreign, func(db *pebble.DB) { put(t, db, "their", "key") })
	if _, err := engine.Open("log", engine.Options{FS: foreign}); err == nil || !strings.Contains(err.Error(), "not a log's") {
		t.Errorf("open a foreign store: got %v", err)
	}
	if _, err := engine.Create("log", leat.Config{}, engine.Options{FS: foreign}); err == nil || !strings.Contains(err.Error(), "not a log's") {
		t.Errorf("create in a foreign store: got %v", err)
	}

	newer := vfs.NewMem()
	closeLog(t, create(t, newer, engine.Options{}))
	withStore(t, newer, func(db *pebble.DB) { put(t, db, "mformat", "4") })
	if _, err := engine.Open("log", engine.Options{FS: newer}); !errors.Is(err, leat.ErrUnsupported) {
		t.Errorf("open a newer format: got %v, want ErrUnsupported", err)
	}
}

// TestInterruptedCreate cuts the power, or kills the process, at each operation
// of Create: afterwards the log is there and whole, or it can be created again.
func TestInterruptedCreate(t *testing.T) {
	t.Run("power cut", func(t *testing.T) { interruptCreate(t, 0) })
	t.Run("kill", func(t *testing.T) { interruptCreate(t, 100) })
}

// interruptCreate keeps a percentage of what is not synced.
func interruptCreate(t *testing.T, percent int) {
	rng := newRand(t)
	for n := 0; ; n++ {
		before := newDisk()
		var left, cut = n, false
		var mu sync.Mutex
		var disk *vfs.MemFS
		before.watch(func(errorfs.Op) error {
			mu.Lock()
			defer mu.Unlock()
			if left--; left == 0 && !cut {
				cut, disk = true, before.cut(percent, rng)
			}
			return nil
		})
		log, err := engine.Create("log", leat.Config{}, engine.Options{FS: before})
		if err != nil {
			t.Fatal(err)
		}
		closeLog(t, log)
		mu.Lock()
		done := !cut
		mu.Unlock()
		if done && n > 0 {
			t.Logf("interrupted at %d operations", n-1)
			return
		}
		if n == 0 {
			continue
		}
		log, err = engine.Open("log", engine.Options{FS: disk})
		if errors.Is(err, leat.ErrNotFound) {
			log, err = engine.Create("log", leat.Config{}, engine.Options{FS: disk})
		}
		if err != nil {
			t.Fatalf("cut at operation %d: %v", n, err)
		}
		mustAppend(t, log, event("a"))
		closeLog(t, log)
	}
}

func TestFullDisk(t *testing.T) {
	mem := vfs.NewMem()
	free := func(bytes uint64) {
		mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: bytes, TotalBytes: 100 << 30, UsedBytes: 100<<30 - bytes})
	}
	free(50 << 30)
	log := create(t, mem, engine.Options{ReserveBytes: 1 << 30})
	first := mustAppend(t, log, event("a"))

	free(1 << 30)
	var err error
	for n := 0; err == nil; n++ { // until the log looks again
		_, err = log.Append(t.Context(), []leat.Event{event(fmt.Sprint(n))})
	}
	if !errors.Is(err, leat.ErrFull) {
		t.Fatalf("append to a full disk: got %v, want ErrFull", err)
	}
	if r := mustAppend(t, log, event("a")); !r.Duplicate || r.First != first.First {
		t.Errorf("a known event on a full disk: got %+v, want its first receipt", r)
	}
	if _, err := log.Append(t.Context(), []leat.Event{event("b")}, leat.ExpectNew("order-1")); !errors.Is(err, leat.ErrConflict) {
		t.Errorf("a conflict on a full disk: got %v", err)
	}
	if events := readAll(t, log); len(events[leat.ShardNumber(0)]) == 0 {
		t.Error("nothing can be read while the disk is full")
	}
	if _, err := log.Trim(t.Context(), leat.ShardNumber(0), 2); err != nil {
		t.Errorf("trim while the disk is full: %v", err)
	}

	free(50 << 30)
	mustAppend(t, log, event("c"))
}

func TestCloseEndsEverything(t *testing.T) {
	log := create(t, vfs.NewMem(), engine.Options{})
	mustAppend(t, log, event("a"))
	ctx := context.Background()
	shard := leat.ShardNumber(0)

	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				if _, err := log.Append(ctx, []leat.Event{{Stream: "s", Type: "T", Source: "t"}}); err != nil {
					if !errors.Is(err, leat.ErrClosed) {
						t.Errorf("append: got %v, want ErrClosed", err)
					}
					return
				}
			}
		})
		wg.Go(func() {
			var after uint64
			for {
				b, err := log.ReadShard(ctx, shard, after, leat.ReadOptions{Wait: time.Hour})
				if err != nil {
					if !errors.Is(err, leat.ErrClosed) {
						t.Errorf("read: got %v, want ErrClosed", err)
					}
					return
				}
				after = b.Next
			}
		})
	}
	if b, err := log.ReadShard(ctx, shard, 1, leat.ReadOptions{Wait: time.Hour}); err != nil || b.Next == 1 {
		t.Errorf("wait until the producers are at work: got %+v, %v", b, err)
	}
	closeLog(t, log)
	wg.Wait()
	closeLog(t, log)

	for _, err := range log.ReadStream(ctx, "order-1", leat.Range{}) {
		if !errors.Is(err, leat.ErrClosed) {
			t.Errorf("read a stream of a closed log: got %v", err)
		}
	}
	if _, err := log.Shards(ctx); !errors.Is(err, leat.ErrClosed) {
		t.Errorf("shards of a closed log: got %v", err)
	}
}

// TestSlowLoops closes a log while a loop over a stream has only begun.
func TestSlowLoops(t *testing.T) {
	log := create(t, vfs.NewMem(), engine.Options{})
	for n := range 200 {
		mustAppend(t, log, event(fmt.Sprint(n)))
	}
	var last error
	var version uint64
	for e, err := range log.ReadStream(t.Context(), "order-1", leat.Range{}) {
		if last = err; err != nil {
			break
		}
		if version++; e.Version != version {
			t.Fatalf("got version %d, want %d", e.Version, version)
		}
		if version == 1 {
			closeLog(t, log)
		}
	}
	if !errors.Is(last, leat.ErrClosed) || version == 0 {
		t.Errorf("got %d events and %v, want some and ErrClosed", version, last)
	}
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	mem := vfs.NewMem()
	log := create(t, mem, engine.Options{GenerationEvents: 1})
	for n := range 50 {
		e := event(fmt.Sprint(n))
		e.Data = bytes.Repeat([]byte{byte(n)}, 2000)
		mustAppend(t, log, e)
	}
	closeLog(t, log)
	var done, total uint64
	report, err := engine.Check(t.Context(), "log", engine.Options{FS: mem}, func(d, n uint64) { done, total = d, n })
	if err != nil || report.Found != 0 || report.Events != 50 || report.Indexed != 50 || report.IDs != 50 || report.Streams != 1 || report.Blocks == 0 {
		t.Fatalf("check a good log: got %+v, %v", report, err)
	}
	if done != 50 || total != 50 {
		t.Errorf("progress ended at %d of %d, want 50 of 50", done, total)
	}

	keys := make(map[byte][]string)
	withStore(t, mem, func(db *pebble.DB) {
		it, err := db.NewIter(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer it.Close()
		for it.First(); it.Valid(); it.Next() {
			keys[it.Key()[0]] = append(keys[it.Key()[0]], string(it.Key()))
		}
	})
	inStore := func(damage func(*testing.T, *pebble.DB)) func(*testing.T, vfs.FS) {
		return func(t *testing.T, fs vfs.FS) { withStore(t, fs, func(db *pebble.DB) { damage(t, db) }) }
	}
	for _, c := range []struct {
		name   string
		block  bool // which no repair mends
		damage func(*testing.T, vfs.FS)
		want   string
	}{
		{"a block is damaged", true, func(t *testing.T, fs vfs.FS) {
			overwrite(t, fs, blockFile(1), strings.Repeat("\x0b", 100), "\x0c")
		}, "shardId-000000000000, sequence 12: block of shardId-000000000000 that ends at sequence 12: corrupt: checksum"},
		{"a block says it is of another shard", true, func(t *testing.T, fs vfs.FS) {
			overwrite(t, fs, blockFile(1), "\x00\x00\x00\x00\x01\x00\x00\x00\x0c\x00\x00\x00", "\x09")
		}, "it says that it is of shard 9"},
		{"a group says nothing", true, func(t *testing.T, fs vfs.FS) {
			overwrite(t, fs, blockFile(1), "\x0c\x00\x00\x00\x00\x00\x00\x00\x0b\x00\x00\x00\x00\x00\x00\x00", "\xff")
		}, "the events from here to the head 50 are missing"},
		{"the place of a block is gone", false, inStore(func(t *testing.T, db *pebble.DB) { remove(t, db, keys['e'][10]) }), "shardId-000000000000, sequence 11"},
		{"the place of a block is another's", false, inStore(func(t *testing.T, db *pebble.DB) { move(t, db, keys['e'][9], keys['e'][10]) }), "place of its block in the index: it says"},
		{"the place of a block is nothing", false, inStore(func(t *testing.T, db *pebble.DB) { put(t, db, keys['e'][10], "\x00") }), "place of a block 00"},
		{"an ID is gone", false, inStore(func(t *testing.T, db *pebble.DB) { remove(t, db, keys['i'][10]) }), "ID index"},
		{"an ID is another's", false, inStore(func(t *testing.T, db *pebble.DB) { move(t, db, keys['i'][9], keys['i'][10]) }), "in the index"},
		{"a chunk of runs is gone", false, inStore(func(t *testing.T, db *pebble.DB) { remove(t, db, keys['s'][0]) }), `version 11 of stream "order-1"`},
		{"a head is wrong", false, inStore(func(t *testing.T, db *pebble.DB) { put(t, db, keys['h'][0], "\x07") }), "the head is 7"},
		{"a head says nothing", false, inStore(func(t *testing.T, db *pebble.DB) { put(t, db, keys['h'][0], "") }), `stream "order-1"`},
		{"runs of nothing", false, inStore(func(t *testing.T, db *pebble.DB) {
			put(t, db, "snone\xff\x00\x00\x00\x00\x00\x00\x00\x01", "\x00\x63\x01\x00")
		}), "1 chunks of streams that have no head"},
		{"a head of events to come", false, inStore(func(t *testing.T, db *pebble.DB) { put(t, db, "hnone", "\x01\x00\x63\x01\x00") }), "sequence 99"},
		{"an ID of nothing", false, inStore(func(t *testing.T, db *pebble.DB) { put(t, db, "inones\x03", "\x00\x63\x01"+strings.Repeat("\x00", 32)) }), "sequence 99"},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := vfs.NewMem()
			if _, err := vfs.Clone(mem, disk, "log", "log"); err != nil {
				t.Fatal(err)
			}
			c.damage(t, disk)
			report, err := engine.Check(t.Context(), "log", engine.Options{FS: disk}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if text := fmt.Sprint(report.Problems); !strings.Contains(text, c.want) {
				t.Errorf("got %s, want a problem with %q", text, c.want)
			}
			report, err = engine.Repair(t.Context(), "log", engine.Options{FS: disk}, nil)
			if c.block {
				if !errors.Is(err, leat.ErrCorrupt) {
					t.Errorf("repair: got %v, want ErrCorrupt", err)
				}
				return
			}
			if err != nil || report.Found != 0 || report.Indexed != 50 {
				t.Errorf("after a repair: got %+v, %v, want a good log", report, err)
			}
		})
	}
}

// blockFile returns the path of a file of blocks.
func blockFile(n int) string { return fmt.Sprintf("log/blocks/%010d", n) }

// contentOf returns what is in a file.
func contentOf(t *testing.T, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return data
}

// overwrite puts a text where another begins in a file.
func overwrite(t *testing.T, fs vfs.FS, path, at, with string) {
	t.Helper()
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	i := bytes.Index(contentOf(t, fs, path), []byte(at))
	if i < 0 {
		t.Fatalf("%s does not hold %x", path, at)
	}
	if _, err := f.WriteAt([]byte(with), int64(i)); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, db *pebble.DB, key string) {
	t.Helper()
	if err := db.Delete([]byte(key), pebble.Sync); err != nil {
		t.Fatal(err)
	}
}

// move puts the value of one key under another.
func move(t *testing.T, db *pebble.DB, from, to string) {
	t.Helper()
	value, closer, err := db.Get([]byte(from))
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	put(t, db, to, string(value))
}

// TestDamageIsNeverRead damages a block: reads fail and name it,
// and give no other event for it.
func TestDamageIsNeverRead(t *testing.T) {
	mem := vfs.NewMem()
	log := create(t, mem, engine.Options{GenerationEvents: 1})
	for _, id := range []string{"first", "second", "third"} {
		mustAppend(t, log, event(id))
	}
	closeLog(t, log)
	overwrite(t, mem, blockFile(1), "second", "nothing")
	log, err := engine.Open("log", engine.Options{FS: mem})
	if err != nil {
		t.Fatal(err)
	}
	defer closeLog(t, log)
	if b, err := log.ReadShard(t.Context(), leat.ShardNumber(0), 1, leat.ReadOptions{}); !errors.Is(err, leat.ErrCorrupt) {
		t.Errorf("read the shard: got %+v, %v, want ErrCorrupt", b, err)
	}
	var versions []uint64
	var last error
	for e, err := range log.ReadStream(t.Context(), "order-1", leat.Range{}) {
		if last = err; err == nil {
			versions = append(versions, e.Version)
		}
	}
	if !errors.Is(last, leat.ErrCorrupt) || !reflect.DeepEqual(versions, []uint64{1}) {
		t.Errorf("read the stream: got versions %v and %v, want 1 and ErrCorrupt", versions, last)
	}
}

// TestDamagedIndex lets the index name shards that do not exist.
func TestDamagedIndex(t *testing.T) {
	mem := vfs.NewMem()
	log := create(t, mem, engine.Options{GenerationEvents: 1})
	mustAppend(t, log, event("a"))
	closeLog(t, log)
	withStore(t, mem, func(db *pebble.DB) {
		put(t, db, "ia"+"order-1"+"\x00", "\x63\x01\x01"+strings.Repeat("\x00", 32))
		put(t, db, "horder-1", "\x01\x63\x01\x01\x00")
	})
	log, err := engine.Open("log", engine.Options{FS: mem})
	if err != nil {
		t.Fatal(err)
	}
	defer closeLog(t, log)
	if r, err := log.Append(t.Context(), []leat.Event{event("a")}); !errors.Is(err, leat.ErrCorrupt) {
		t.Errorf("append a known event: got %+v, %v, want ErrCorrupt", r, err)
	}
	for _, r := range []leat.Range{{}, leat.Range{}.Reverse()} {
		var last error
		for _, err := range log.ReadStream(t.Context(), "order-1", r) {
			last = err
		}
		if !errors.Is(last, leat.ErrCorrupt) {
			t.Errorf("read %+v: got %v, want ErrCorrupt", r, last)
		}
	}
}

var writeFixture = flag.Bool("write-fixture", false, "write testdata/v3, the log that later versions have to open")

// fixture writes the log of testdata/v3. It opens it once more in between, which
// sorts what is there so far into files.
func fixture(t *testing.T, dir string) {
	t.Helper()
	moment := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	o := engine.Options{Clock: func() time.Time { return moment }, GenerationEvents: 5}
	log, err := engine.Create(dir, leat.Config{ID: "fixture"}, o)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 12 {
		e := event(fmt.Sprint(n))
		e.Stream = fmt.Sprintf("order-%d", n%3)
		e.Meta = leat.NewMeta(leat.MetaCausation, fmt.Sprint(n))
		mustAppend(t, log, e)
	}
	closeLog(t, log)
	if log, err = engine.Open(dir, o); err != nil {
		t.Fatal(err)
	}
	defer closeLog(t, log)
	if _, err := log.Split(t.Context(), leat.ShardNumber(0), leat.HashKey{0x80}); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, log, event("after the split, 1"), event("after the split, 2"))
	if _, err := log.Trim(t.Context(), leat.ShardNumber(0), 4); err != nil {
		t.Fatal(err)
	}
}

// TestFixtures opens logs that were written by earlier versions, and by this
// one.
func TestFixtures(t *testing.T) {
	if *writeFixture {
		fixture(t, filepath.Join("testdata", "v3"))
	}
	for _, version := range []string{"v1", "v2", "v3"} {
		t.Run(version, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", version))); err != nil {
				t.Fatal(err)
			}
			if version != "v3" {
				if _, err := engine.Check(t.Context(), dir, engine.Options{}, nil); !errors.Is(err, leat.ErrUnsupported) {
					t.Errorf("check it before it is brought up to date: got %v, want ErrUnsupported", err)
				}
			}
			log, err := engine.Open(dir, engine.Options{})
			if err != nil {
				t.Fatal(err)
			}
			holdsFixture(t, log)
			closeLog(t, log)
			report := mustCheck(t, vfs.Default, dir)
			if report.Events != 12+2-3+1 {
				t.Errorf("check: got %+v", report)
			}
		})
	}
}

func holdsFixture(t *testing.T, log *engine.Log) {
	t.Helper()
	if info, err := log.Info(t.Context()); err != nil || info.ID != "fixture" {
		t.Errorf("info: got %+v, %v", info, err)
	}
	if r := mustAppend(t, log, event("after the split, 1"), event("after the split, 2")); !r.Duplicate || r.Versions[1] != 6 {
		t.Errorf("append what it holds: got %+v, want a duplicate up to version 6", r)
	}
	trimmed := event("0")
	trimmed.Stream, trimmed.Meta = "order-0", leat.NewMeta(leat.MetaCausation, "0")
	if r := mustAppend(t, log, trimmed); !r.Duplicate || r.First != 1 {
		t.Errorf("append what it held: got %+v, want a duplicate of sequence 1", r)
	}
	var got []string
	for e, err := range log.ReadStream(t.Context(), "order-1", leat.Range{After: 1}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%d %s %s", e.Version, e.Data, e.Meta.Get(leat.MetaCausation)))
	}
	want := []string{"2 4 4", "3 7 7", "4 10 10", "5 after the split, 1 ", "6 after the split, 2 "}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("stream order-1: got %q, want %q", got, want)
	}
}

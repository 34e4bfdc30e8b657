package archive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/archive/archivetest"
)

func TestCachePassesTheSuite(t *testing.T) {
	folder, cache := t.TempDir(), t.TempDir()
	archivetest.TestStore(t, func(t testing.TB) archive.Store { return cached(t, openStore(t, folder), cache, 10<<20) })
}

func cached(t testing.TB, store archive.Store, dir string, bytes int64) *archive.Cache {
	t.Helper()
	c, err := archive.Cached(store, dir, bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// segment returns the name of a test's object, and its bytes.
func segment(i int) (name string, data []byte) {
	rng := rand.New(rand.NewPCG(uint64(i), 0))
	data = make([]byte, rng.IntN(200_000))
	for j := range data {
		data[j] = byte(rng.Uint32())
	}
	return fmt.Sprintf("log/segments/s/%d.parquet", i), data
}

// fill returns a store with n segments.
func fill(t testing.TB, n int) *memoryStore {
	t.Helper()
	store := newMemoryStore()
	for i := range n {
		name, data := segment(i)
		store.set(name, append([]byte{}, data...))
	}
	return store
}

// cacheFiles returns the paths of the files of a cache, and their size.
func cacheFiles(t testing.TB, dir string) (paths []string, size int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			paths, size = append(paths, path), size+info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths, size
}

// What was read once is not read from the store again, not by the next process
// either.
func TestCacheKeeps(t *testing.T) {
	store, dir := newMemoryStore(), t.TempDir()
	names := []string{
		"log/segments/s/a.parquet", "log/compact/day/b.parquet", "log/manifests/s/00000000000000000001.json", "log/segments/s/empty",
	}
	for _, name := range names[:3] {
		store.set(name, bytes.Repeat([]byte(name), 10_000))
	}
	store.set("log/segments/s/empty", []byte{})
	store.set("log/log.json", []byte("{}"))
	c := cached(t, store, dir, 1<<30)
	read := func(when string, wantCalls int) {
		t.Helper()
		store.calls = 0
		for _, name := range names {
			if data, err := c.Get(t.Context(), name); err != nil || !bytes.Equal(data, store.objects[name]) {
				t.Errorf("%s: Get(%q): %d bytes, %v", when, name, len(data), err)
			}
			if len(store.objects[name]) == 0 {
				continue
			}
			for _, r := range [][2]int64{{0, 1}, {65_535, 2}, {100_000, 100_000}} {
				if data, err := c.GetRange(t.Context(), name, r[0], r[1]); err != nil || !bytes.Equal(data, store.objects[name][r[0]:r[0]+r[1]]) {
					t.Errorf("%s: GetRange(%q, %d, %d): %d bytes, %v", when, name, r[0], r[1], len(data), err)
				}
			}
		}
		if store.calls != wantCalls {
			t.Errorf("%s: %d calls of the store, want %d", when, store.calls, wantCalls)
		}
	}
	read("the first time", 4) // ranges of what is there whole
	read("the second time", 0)
	c = cached(t, store, dir, 1<<30)
	read("reopened", 0)
	st := c.Stats()
	if st.Hits != 13 || st.Misses != 0 || st.HitBytes < 300_000 || st.Bytes < 300_000 {
		t.Errorf("%+v, want 13 hits and no miss", st)
	}

	ranges := cached(t, store, t.TempDir(), 1<<30)
	for range 2 {
		if data, err := ranges.GetRange(t.Context(), names[0], 70_000, 100); err != nil || !bytes.Equal(data, store.objects[names[0]][70_000:70_100]) {
			t.Errorf("GetRange: %d bytes, %v", len(data), err)
		}
	}
	if st := ranges.Stats(); st.Hits != 1 || st.Misses != 1 || st.HitBytes != 100 || st.MissBytes != 100 {
		t.Errorf("%+v, want one range missed and then hit", st)
	}
	store.calls = 0
	for range 3 {
		if _, err := c.Get(t.Context(), "log/log.json"); err != nil {
			t.Error(err)
		}
	}
	if store.calls != 3 {
		t.Error("log.json, which says whose archive it is, was kept")
	}
}

// Two stores in one directory do not get each other's objects.
func TestCacheKeepsStoresApart(t *testing.T) {
	dir := t.TempDir()
	for i := range 2 {
		store := openStore(t, t.TempDir())
		if err := store.Create(t.Context(), "log/segments/a", []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
		c := cached(t, store, dir, 1<<20)
		for range 2 {
			if data, err := c.Get(t.Context(), "log/segments/a"); err != nil || data[0] != byte(i) {
				t.Errorf("store %d: %v, %v", i, data, err)
			}
		}
	}
}

// The cache stays within its bounds, and what is read often stays in it.
func TestCacheIsBounded(t *testing.T) {
	const limit = 2 << 20
	rng := seeded(t)
	store, dir := fill(t, 100), t.TempDir()
	c := cached(t, store, dir, limit)
	if err := os.WriteFile(filepath.Join(dir, "not-ours"), make([]byte, limit), 0o600); err != nil {
		t.Fatal(err)
	}
	hot, hotData := segment(0)
	for i := range 400 {
		name, want := segment(rng.IntN(100))
		if data, err := c.Get(t.Context(), name); err != nil || !bytes.Equal(data, want) {
			t.Fatalf("Get(%q): %d bytes, %v", name, len(data), err)
		}
		before := c.Stats().Misses
		if data, err := c.Get(t.Context(), hot); err != nil || !bytes.Equal(data, hotData) {
			t.Fatalf("Get(%q): %d bytes, %v", hot, len(data), err)
		}
		if i > 0 && c.Stats().Misses > before {
			t.Errorf("read %d: what is read every other time was removed", i)
		}
		if _, size := cacheFiles(t, filepath.Join(dir, "leat-cache-1")); size > limit {
			t.Fatalf("read %d: %d bytes are kept, want at most %d", i, size, limit)
		}
	}
	if st := c.Stats(); st.Evicted == 0 || st.Hits < 400 || st.Failed+st.Damaged > 0 {
		t.Errorf("%+v, want hits and evictions and nothing else", st)
	}
	small := cached(t, store, t.TempDir(), 100) // less than any object
	if data, err := small.Get(t.Context(), hot); err != nil || !bytes.Equal(data, hotData) {
		t.Errorf("through a cache that is too small: %d bytes, %v", len(data), err)
	}
	if _, err := os.Stat(filepath.Join(dir, "not-ours")); err != nil {
		t.Errorf("a file that is not the cache's: %v", err)
	}
	for _, n := range []int64{0, -1} {
		if _, err := archive.Cached(store, t.TempDir(), n); !errors.Is(err, leat.ErrInvalid) {
			t.Errorf("a cache of %d bytes: %v, want ErrInvalid", n, err)
		}
	}
}

// Whatever becomes of the files, what is read is what was written.
func TestCacheOfDamagedFiles(t *testing.T) {
	rng := seeded(t)
	store, dir := fill(t, 4), t.TempDir()
	c := cached(t, store, dir, 1<<30)
	readAll := func() {
		t.Helper()
		for i := range 4 {
			name, want := segment(i)
			if data, err := c.Get(t.Context(), name); err != nil || !bytes.Equal(data, want) {
				t.Fatalf("Get(%q): other bytes, or %v", name, err)
			}
			at := int64(rng.IntN(len(want)))
			n := rng.Int64N(int64(len(want)) - at)
			if data, err := c.GetRange(t.Context(), name, at, n); err != nil || !bytes.Equal(data, want[at:at+n]) {
				t.Fatalf("GetRange(%q, %d, %d): other bytes, or %v", name, at, n, err)
			}
		}
	}
	readAll()
	for range 300 {
		paths, _ := cacheFiles(t, dir)
		path := paths[rng.IntN(len(paths))]
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		switch at := rng.IntN(len(data)); rng.IntN(6) {
		case 0:
			data[min(at, 30)] ^= 1 << rng.IntN(8) // in the header
		case 1:
			data[at] ^= 1 << rng.IntN(8)
		case 2:
			data = data[:at]
		case 3:
			clear(data[at:]) // as after a power cut
		case 4:
			data = append(data, data[at:]...)
		case 5: // another object's file
			if data, err = os.ReadFile(paths[rng.IntN(len(paths))]); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		readAll()
	}
	if st := c.Stats(); st.Damaged < 200 {
		t.Errorf("%+v, want most of the damage noticed", st)
	}
}

// A cache that cannot write is no reason not to read.
func TestCacheThatCannotWrite(t *testing.T) {
	store, dir := fill(t, 3), t.TempDir()
	c := cached(t, store, dir, 1<<20)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		name, want := segment(i)
		if data, err := c.Get(t.Context(), name); err != nil || !bytes.Equal(data, want) {
			t.Errorf("Get(%q): %d bytes, %v", name, len(data), err)
		}
	}
	if st := c.Stats(); st.Failed != 3 || st.Misses != 3 {
		t.Errorf("%+v, want 3 misses that could not be kept", st)
	}
	if _, err := c.Get(t.Context(), "log/segments/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Get of nothing: %v, want fs.ErrNotExist", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Cached(store, file, 1<<20); err == nil {
		t.Error("a file is taken for a directory")
	}
}

// Several processes, each with several readers, share a directory that is too
// small for them.
func TestCacheIsShared(t *testing.T) {
	const limit, processes = 1 << 20, 3
	rng := seeded(t)
	store, dir := fill(t, 30), t.TempDir()
	var caches []*archive.Cache
	for range processes {
		caches = append(caches, cached(t, store, dir, limit))
	}
	var wg sync.WaitGroup
	for _, c := range slices.Repeat(caches, 3) {
		rng := rand.New(rand.NewPCG(rng.Uint64(), 0))
		wg.Go(func() {
			for range 200 {
				name, want := segment(rng.IntN(30))
				if rng.IntN(50) == 0 && c.Remove(context.WithoutCancel(t.Context()), "log/segments/s/none") != nil {
					t.Error("Remove failed")
				}
				at := int64(rng.IntN(len(want)))
				n := int64(len(want)) - at
				data, err := c.GetRange(t.Context(), name, at, n)
				if rng.IntN(2) == 0 {
					at = 0
					data, err = c.Get(t.Context(), name)
				}
				if err != nil || !bytes.Equal(data, want[at:]) {
					t.Errorf("%s: other bytes, or %v", name, err)
				}
			}
		})
	}
	wg.Wait()
	if _, size := cacheFiles(t, dir); size > limit+processes*limit/16+200_000*9 {
		t.Errorf("%d bytes are kept, of %d", size, limit)
	}
	for _, c := range caches {
		if st := c.Stats(); st.Damaged+st.Failed > 0 || st.Hits == 0 {
			t.Errorf("%+v, want hits and nothing damaged or failed", st)
		}
	}
}

const cacheInto = "LEAT_TEST_CACHE_INTO"

// A process that is killed leaves nothing that is taken for an object.
func TestCacheAfterKills(t *testing.T) {
	if dir := os.Getenv(cacheInto); dir != "" {
		c := cached(t, fill(t, 20), dir, 1<<20)
		fmt.Println("reading")
		for i := 0; ; i++ {
			name, _ := segment(i % 20)
			if _, err := c.Get(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir, store := t.TempDir(), fill(t, 20)
	for range 10 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCacheAfterKills$")
		cmd.Env = append(os.Environ(), cacheInto+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		c := cached(t, store, dir, 1<<20)
		for i := range 20 { // beside it
			name, want := segment(i)
			if data, err := c.Get(t.Context(), name); err != nil || !bytes.Equal(data, want) {
				t.Errorf("Get(%q): other bytes, or %v", name, err)
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // killed
		c = cached(t, store, dir, 1<<20)
		for i := range 20 {
			name, want := segment(i)
			if data, err := c.Get(t.Context(), name); err != nil || !bytes.Equal(data, want) {
				t.Errorf("after a kill: Get(%q): other bytes, or %v", name, err)
			}
		}
		if st := c.Stats(); st.Damaged > 0 {
			t.Errorf("after a kill: %+v, want no file damaged", st)
		}
	}
}

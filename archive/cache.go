package archive

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leathq/leat"
)

const (
	// cacheFolder is where a cache keeps its files, in the directory it is given:
	// it removes nothing that is not its own. The number is that of their format.
	cacheFolder = "leat-cache-1"

	// cacheSlack is the part of a cache that is freed at once when it is full,
	// and may be added before the directory is looked at again, to which another
	// process may add as well: a 16th.
	cacheSlack = 16
)

// A Cache is a [Store] that keeps what was read of another one in files of a
// local directory: segments, compacted files and manifests, whole or in ranges.
// What was not read for the longest time makes room for the new. Objects do not
// change, so nothing in it goes out of date.
//
// A Cache is safe for concurrent use, and so is its directory by several
// processes. What a killed process, a power cut or a failing disk leaves behind
// is never taken for an object: each file holds checksums. What cannot be kept
// costs nothing but another read of the store; see Stats.
//
// Whoever verifies an archive must do so without a cache.
type Cache struct {
	Store
	identity string // of the store: what keeps two in one directory apart
	dir      string
	limit    int64
	calls    chan struct{} // holds a token for each file that is open, see maxDirCalls

	hits, hitBytes, misses, missBytes, evicted, damaged, failed atomic.Uint64

	mu      sync.Mutex
	used    int64 // bytes in dir, as far as is known, those of writing included
	writing int64 // bytes of files that are being written
	added   int64 // bytes added since dir was looked at
}

// CacheStats count what a [Cache] has done since it was opened.
type CacheStats struct {
	Hits, HitBytes    uint64 // reads that the cache answered, and their bytes
	Misses, MissBytes uint64 // reads that went to the store, and their bytes
	Evicted           uint64 // files removed to make room
	Damaged           uint64 // files found damaged, and removed
	Failed            uint64 // reads that could not be kept, such as on a full disk
	Bytes             int64  // in the directory, as far as is known
}

// Cached returns a store that reads through a cache of so many bytes in a
// directory, which is made if it is not there. Processes that share the
// directory should give it the same size; each of them may exceed it by a 16th
// before it notices the others. A directory may be shared by caches of stores
// that say which one they are by a String method, as ours do. When an archive is
// deleted and begun anew under the same log ID, the directory has to be deleted,
// too.
func Cached(store Store, dir string, bytes int64) (*Cache, error) {
	if bytes <= 0 {
		return nil, &leat.InvalidError{Field: "size of the archive cache", Limit: "at least one byte", Got: fmt.Sprint(bytes)}
	}
	c := &Cache{Store: store, dir: filepath.Join(dir, cacheFolder), limit: bytes, calls: make(chan struct{}, maxDirCalls)}
	if s, ok := store.(fmt.Stringer); ok {
		c.identity = s.String()
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil { // what is in it is as secret as the archive
		return nil, fmt.Errorf("open the archive cache: %w", err)
	}
	if err := c.makeRoom(0); err != nil {
		return nil, fmt.Errorf("open the archive cache: %w", err)
	}
	return c, nil
}

// Stats returns the counts so far.
func (c *Cache) Stats() CacheStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return CacheStats{
		Hits: c.hits.Load(), HitBytes: c.hitBytes.Load(), Misses: c.misses.Load(), MissBytes: c.missBytes.Load(),
		Evicted: c.evicted.Load(), Damaged: c.damaged.Load(), Failed: c.failed.Load(), Bytes: c.used,
	}
}

// cacheable reports whether an object is of a kind that is read again and again.
func cacheable(name string) bool {
	_, rest, _ := strings.Cut(name, "/")
	return CheckName(name) == nil &&
		(strings.HasPrefix(rest, "segments/") || strings.HasPrefix(rest, "compact/") || strings.HasPrefix(rest, manifestsFolder))
}

// A cacheKey names what a file of the cache holds: an object, or n bytes of it
// from an offset on.
type cacheKey struct {
	text string // is part of the file's checksums
	path string
}

func (c *Cache) object(name string) string {
	sum := sha256.Sum256([]byte(c.identity + "\x00" + name))
	return hex.EncodeToString(sum[:20])
}

func (c *Cache) wholeKey(name string) cacheKey {
	return cacheKey{c.identity + "\x00" + name, filepath.Join(c.dir, c.object(name)+"-all")}
}

func (c *Cache) rangeKey(name string, offset, n int64) cacheKey {
	part := fmt.Sprintf("-%d-%d", offset, n)
	return cacheKey{c.identity + "\x00" + name + "\x00" + part, filepath.Join(c.dir, c.object(name)+part)}
}

// Get implements [Store].
func (c *Cache) Get(ctx context.Context, name string) ([]byte, error) {
	if !cacheable(name) {
		return c.Store.Get(ctx, name)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	key := c.wholeKey(name)
	if data, ok := c.look(key, 0, -1); ok {
		return data, nil
	}
	data, err := c.Store.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	c.keep(key, data)
	return data, nil
}

// GetRange implements [Store].
func (c *Cache) GetRange(ctx context.Context, name string, offset, n int64) ([]byte, error) {
	if !cacheable(name) || n <= 0 || offset < 0 {
		return c.Store.GetRange(ctx, name, offset, n)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	key := c.rangeKey(name, offset, n)
	if data, ok := c.look(key, 0, n); ok {
		return data, nil
	}
	if data, ok := c.look(c.wholeKey(name), offset, n); ok {
		return data, nil
	}
	data, err := c.Store.GetRange(ctx, name, offset, n)
	if err != nil {
		return nil, err
	}
	c.keep(key, data)
	return data, nil
}

// Remove implements [Store].
func (c *Cache) Remove(ctx context.Context, name string) error {
	if err := c.Store.Remove(ctx, name); err != nil || !cacheable(name) {
		return err
	}
	// An object of that name may be created anew, with other bytes.
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return fmt.Errorf("remove object %s from the cache: %w", name, err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), c.object(name)+"-") {
			continue
		}
		if err := os.Remove(filepath.Join(c.dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove object %s from the cache: %w", name, err)
		}
	}
	return nil
}

// look returns n bytes from an offset on of what a file holds, all when n is
// negative, if the file is there and undamaged.
func (c *Cache) look(key cacheKey, offset, n int64) ([]byte, bool) {
	c.calls <- struct{}{}
	defer func() { <-c.calls }()
	data, err := readCacheFile(key, offset, n)
	switch {
	case err == nil:
		now := time.Now()
		_ = os.Chtimes(key.path, now, now) // was used; another process may have removed it
		c.hits.Add(1)
		c.hitBytes.Add(uint64(len(data)))
		return data, true
	case errors.Is(err, errBeyond), errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, leat.ErrCorrupt):
		c.damaged.Add(1)
		_ = os.Remove(key.path) // or else it is replaced
	default:
		c.failed.Add(1)
	}
	return nil, false
}

// keep puts what was read from the store into the cache.
func (c *Cache) keep(key cacheKey, data []byte) {
	c.misses.Add(1)
	c.missBytes.Add(uint64(len(data)))
	size := cacheFileSize(int64(len(data)))
	if size > c.limit {
		return
	}
	c.calls <- struct{}{}
	defer func() { <-c.calls }()
	err := c.makeRoom(size)
	if err == nil {
		err = writeCacheFile(c.dir, key, data)
		c.written(size)
	}
	if err != nil {
		c.failed.Add(1)
	}
}

// written tells that a file of a size is there, or could not be written.
func (c *Cache) written(size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing -= size
}

// makeRoom reserves room for a file of a size that is about to be written, and
// removes files for it.
func (c *Cache) makeRoom(size int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if size > 0 && c.used+size <= c.limit && c.added+size <= c.limit/cacheSlack {
		c.used, c.writing, c.added = c.used+size, c.writing+size, c.added+size
		return nil
	}
	files, used, err := c.files()
	if err != nil {
		return err
	}
	used += c.writing + size
	if used > c.limit {
		used -= c.evict(files, used-(c.limit-c.limit/cacheSlack))
	}
	c.used, c.writing, c.added = used, c.writing+size, size
	return nil
}

// files returns the files in the directory that are whole, the one longest not
// used first, and how many bytes they take. It removes what killed processes
// left.
func (c *Cache) files() (files []fs.FileInfo, used int64, err error) {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return nil, 0, err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue // another process has removed it
		}
		if strings.HasPrefix(info.Name(), cacheTemp) {
			if time.Since(info.ModTime()) > tempAge {
				_ = os.Remove(filepath.Join(c.dir, info.Name())) // or the next time
			}
			continue
		}
		files, used = append(files, info), used+info.Size()
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), strings.Compare(a.Name(), b.Name()))
	})
	return files, used, nil
}

// evict removes files from the first on that take at least so many bytes, and
// returns how many they took.
func (c *Cache) evict(files []fs.FileInfo, bytes int64) (freed int64) {
	for _, f := range files {
		if freed >= bytes {
			return freed
		}
		if err := os.Remove(filepath.Join(c.dir, f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		c.evicted.Add(1)
		freed += f.Size()
	}
	return freed
}

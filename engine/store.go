package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/leathq/leat"
)

// A store is the Pebble store of a directory, locked for this process.
type store struct {
	*pebble.DB
	fuse    *fuse
	dir     string
	fs      vfs.FS
	options *pebble.Options
	lock    *pebble.Lock
	outlet  *atomic.Pointer[outlet] // of the backup that is made, holds nil while there is none

	changing sync.Mutex // held by who changes the store
	applied  bool       // something that is not flushed; guarded by changing
}

// ownerFile holds the process ID of who has the directory open. It is also how
// a directory in which Create was interrupted is told from a foreign one.
const ownerFile = "OWNER"

// lockFile is what Pebble locks.
const lockFile = "LOCK"

// openStore opens the Pebble store in a directory that exists.
func openStore(dir string, o Options, f *fuse, mode storeMode) (*store, error) {
	lock, err := lockDir(o.FS, dir)
	if err != nil {
		return nil, err
	}
	out := new(atomic.Pointer[outlet])
	po := pebbleOptions(dir, o, f, out)
	po.Lock = lock
	po.ReadOnly = mode == readStore
	po.ErrorIfNotExists = mode != createStore
	db, err := pebble.Open(dir, po)
	po.Cache.Unref()
	if err == nil && f.err() != nil {
		err = errors.Join(f.err(), db.Close())
	}
	if err != nil {
		err = fmt.Errorf("open the store in %s: %w", dir, corruptOr(err))
		return nil, errors.Join(err, lock.Close())
	}
	return &store{DB: db, fuse: f, dir: dir, fs: o.FS, options: po, lock: lock, outlet: out}, nil
}

// openExisting opens the store of a log that exists.
func openExisting(dir string, o Options, f *fuse, mode storeMode) (*store, error) {
	found, err := exists(o.FS, dir)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("%s: %w: the directory holds no log; create one there first", dir, leat.ErrNotFound)
	}
	return openStore(dir, o, f, mode)
}

type storeMode int

const (
	writeStore  storeMode = iota
	readStore             // changes nothing
	createStore           // makes the store when there is none
)

// apply writes a batch, which is durable after the next flush.
func (s *store) apply(b *pebble.Batch) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	s.applied = true
	return s.Apply(b, pebble.NoSync)
}

// applySync writes a batch durably.
func (s *store) applySync(b *pebble.Batch) error {
	if err := s.apply(b); err != nil {
		return err
	}
	return s.flush()
}

// ingest takes over files that a tableWriter wrote.
func (s *store) ingest(paths []string) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	// Pebble would flush, too, and wait for that without end when it fails.
	if err := s.flushApplied(); err != nil {
		return err
	}
	return s.Ingest(context.Background(), paths)
}

// flush makes durable what was applied. The fuse blows when that cannot be done.
func (s *store) flush() error {
	s.changing.Lock()
	defer s.changing.Unlock()
	return s.flushApplied()
}

func (s *store) flushApplied() error {
	if err := s.fuse.err(); err != nil || !s.applied {
		return err
	}
	done, err := s.AsyncFlush()
	if err != nil {
		s.fuse.blow(err)
		return s.fuse.err()
	}
	patience := time.NewTimer(closePatience)
	defer patience.Stop()
	select {
	case <-done:
		s.applied = false
	case <-s.fuse.blown:
	case <-patience.C:
		s.fuse.blow(fmt.Errorf("the store did not sort its files within %v", closePatience))
	}
	return s.fuse.err()
}

// close closes the store and lets others open the directory.
func (s *store) close() error {
	err := s.DB.Close()
	if rmErr := s.fs.Remove(s.fs.PathJoin(s.dir, ownerFile)); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
		err = errors.Join(err, rmErr)
	}
	return errors.Join(err, s.lock.Close())
}

// memTableBytes is for what the store is given one by one, which is little.
const memTableBytes = 1 << 20

// pebbleOptions are chosen for what the store holds: small entries that come as
// sorted tables and are looked up one by one.
func pebbleOptions(dir string, o Options, f *fuse, out *atomic.Pointer[outlet]) *pebble.Options {
	logger := storeLogger{o.Logger, f}
	po := &pebble.Options{
		FS:                 guardFS{o.FS, dir, f, out},
		FormatMajorVersion: pebble.FormatNewest,
		Logger:             logger,
		EventListener:      logger.listener(),

		// What is applied can be found out again, until it is flushed: blocks are the
		// log's write-ahead log.
		DisableWAL: true,

		// Pebble takes the memory of memtables out of the cache.
		Cache:                      pebble.NewCache(o.CacheBytes/2 + 2*memTableBytes),
		MemTableSize:               memTableBytes,
		L0CompactionThreshold:      12, // tables come sorted and with filters, so that many cost little to ask
		L0StopWritesThreshold:      64,
		LBaseMaxBytes:              256 << 20,
		CompactionConcurrencyRange: func() (int, int) { return 1, 2 },

		// Tables go to the disk in pieces rather than in one burst that the syncs
		// of the blocks would have to wait for.
		BytesPerSync: 1 << 20,
	}
	// A checkpoint of Pebble 2.1.7 leaves out tables that it has yet to put into
	// its levels.
	po.Experimental.DisableIngestAsFlushable = func() bool { return true }
	for i := range po.Levels {
		po.Levels[i].BlockSize = 16 << 10
		po.Levels[i].FilterPolicy = bloom.FilterPolicy(10) // most IDs asked for are new
	}
	po.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionFastest })
	return po
}

// corruptOr wraps what Pebble calls corruption as leat.ErrCorrupt.
func corruptOr(err error) error {
	if pebble.IsCorruptionError(err) {
		return fmt.Errorf("%w: %w", leat.ErrCorrupt, err)
	}
	return err
}

// lockDir locks a directory that exists for this process.
func lockDir(fsys vfs.FS, dir string) (*pebble.Lock, error) {
	lock, err := pebble.LockDirectory(dir, fsys)
	if err != nil {
		return nil, fmt.Errorf("open log in %s: it is in use by %s: %w", dir, owner(fsys, dir), err)
	}
	if err := writeOwner(fsys, dir); err != nil {
		return nil, errors.Join(fmt.Errorf("open log in %s: %w", dir, err), lock.Close())
	}
	return lock, nil
}

func writeOwner(fsys vfs.FS, dir string) error {
	f, err := fsys.Create(fsys.PathJoin(dir, ownerFile), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, os.Getpid())
	return errors.Join(err, f.Sync(), f.Close())
}

// owner names the process that has a directory open, as well as can be told.
func owner(fsys vfs.FS, dir string) string {
	const unknown = "another process"
	text, err := readFile(fsys, fsys.PathJoin(dir, ownerFile))
	pid, convErr := strconv.Atoi(strings.TrimSpace(string(text)))
	switch {
	case err != nil || convErr != nil:
		return unknown
	case pid == os.Getpid():
		return fmt.Sprintf("this process (PID %d)", pid)
	}
	return fmt.Sprintf("the process with PID %d", pid)
}

// exists reports whether a directory holds a Pebble store.
func exists(fsys vfs.FS, dir string) (bool, error) {
	if _, err := fsys.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	desc, err := pebble.Peek(dir, fsys)
	if err != nil {
		return false, fmt.Errorf("look into %s: %w", dir, corruptOr(err))
	}
	return desc.Exists, nil
}

// makeDir makes a directory that holds nothing foreign, durably so.
func makeDir(fsys vfs.FS, dir string) error {
	made := missingDirs(fsys, dir)
	if err := fsys.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, d := range made {
		if err := syncDir(fsys, fsys.PathDir(d)); err != nil {
			return err
		}
	}
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	// An interrupted Create leaves a lock, and then its owner.
	names = slices.DeleteFunc(names, func(name string) bool { return name == lockFile })
	if len(names) > 0 && !slices.Contains(names, ownerFile) {
		return fmt.Errorf("the directory holds other files, such as %s: %w", names[0], fs.ErrExist)
	}
	return nil
}

// missingDirs returns those of a directory and its ancestors that do not exist.
func missingDirs(fsys vfs.FS, dir string) []string {
	var missing []string
	for {
		if _, err := fsys.Stat(dir); err == nil || fsys.PathDir(dir) == dir {
			return missing
		}
		missing, dir = append(missing, dir), fsys.PathDir(dir)
	}
}

func readFile(fsys vfs.FS, path string) ([]byte, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// syncDir makes the entries of a directory durable.
func syncDir(fsys vfs.FS, dir string) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

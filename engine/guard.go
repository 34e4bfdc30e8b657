package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrStopped is the error of an Append to a log whose storage failed. Readers
// go on. Close the log and open it again, once the cause is dealt with.
var ErrStopped = errors.New("the log has stopped, because its storage failed: close it and open it again")

// A fuse blows once, at the first failure after which nobody knows what is on
// the disk.
type fuse struct {
	cause atomic.Pointer[error]
	blown chan struct{} // closed when it blows
	log   *slog.Logger

	// retries counts failures of Pebble's background work since it last got
	// something done.
	retries atomic.Int64
}

func newFuse(log *slog.Logger) *fuse { return &fuse{log: log, blown: make(chan struct{})} }

// blow makes err the failure, unless there was one before.
func (f *fuse) blow(err error) {
	if f.cause.CompareAndSwap(nil, &err) {
		close(f.blown)
		f.log.Error("storage failed, the log takes no more events", "error", err)
	}
}

// err returns nil while the fuse is whole, then an ErrStopped.
func (f *fuse) err() error {
	if cause := f.cause.Load(); cause != nil {
		return fmt.Errorf("%w (%w)", ErrStopped, *cause)
	}
	return nil
}

// retryPause holds back what Pebble repeats without end: a flush that failed.
const retryPause = 50 * time.Millisecond

// refuse returns an error when the fuse has blown.
func (f *fuse) refuse() error {
	err := f.err()
	if err != nil {
		time.Sleep(retryPause)
	}
	return err
}

// A guardFS stands between Pebble and the file system. Once its fuse has blown
// it changes nothing any more. Pebble expects its process to end at certain
// failures and would go on to remove files that are in use if it did not.
type guardFS struct {
	vfs.FS
	dir string // of the log
	*fuse
	outlet *atomic.Pointer[outlet] // see store
}

func (g guardFS) Unwrap() vfs.FS { return g.FS }

// guard guards a file that was opened for writing.
func (g guardFS) guard(f vfs.File, err error) (vfs.File, error) {
	if err == nil {
		return guardFile{File: f, fuse: g.fuse}, nil
	}
	if vfs.IsNoSpaceError(err) {
		time.Sleep(retryPause)
	}
	return nil, err
}

func (g guardFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if o := g.outlet.Load(); o.holds(name) {
		return o.create(g.FS, name, c)
	}
	if err := g.refuse(); err != nil {
		return nil, err
	}
	f, err := g.FS.Create(name, c)
	return g.guard(f, err)
}

func (g guardFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if err := g.refuse(); err != nil {
		return nil, err
	}
	f, err := g.FS.OpenReadWrite(name, c, opts...)
	return g.guard(f, err)
}

func (g guardFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := g.refuse(); err != nil {
		return nil, err
	}
	f, err := g.FS.ReuseForWrite(oldname, newname, c)
	return g.guard(f, err)
}

// OpenDir opens a directory. If it is the log's, syncs that fail are hidden from
// Pebble, which panics at some of them.
func (g guardFS) OpenDir(name string) (vfs.File, error) {
	f, err := g.FS.OpenDir(name)
	if err != nil || name != g.dir {
		return f, err
	}
	return guardFile{File: f, fuse: g.fuse, mute: true}, nil
}

func (g guardFS) Link(oldname, newname string) error {
	if o := g.outlet.Load(); o.holds(newname) {
		return o.link(g.FS, oldname, newname)
	}
	if err := g.refuse(); err != nil {
		return err
	}
	return g.FS.Link(oldname, newname)
}

func (g guardFS) Rename(oldname, newname string) error {
	if err := g.refuse(); err != nil {
		return err
	}
	return g.FS.Rename(oldname, newname)
}

func (g guardFS) Remove(name string) error {
	if err := g.refuse(); err != nil {
		return err
	}
	return g.FS.Remove(name)
}

func (g guardFS) RemoveAll(name string) error {
	if err := g.refuse(); err != nil {
		return err
	}
	return g.FS.RemoveAll(name)
}

type guardFile struct {
	vfs.File
	*fuse

	// mute hides errors, which blow the fuse, from the writer: Pebble 2.1.7
	// panics when a directory cannot be synced.
	mute bool
}

// settle returns what the writer of the file is to know of an error.
func (f guardFile) settle(err error) error {
	if err == nil || !f.mute {
		return err
	}
	f.blow(err)
	return nil
}

// Write waits while the disk is full: Pebble must not fail for want of space
// where it cannot go back.
func (f guardFile) Write(p []byte) (n int, err error) {
	waited := false
	for {
		if err = f.refuse(); err != nil {
			break
		}
		var m int
		m, err = f.File.Write(p[n:])
		n += m
		if !vfs.IsNoSpaceError(err) {
			break
		}
		if !waited {
			waited = true
			f.log.Warn("a write waits for space on the disk", "error", err)
		}
		time.Sleep(retryPause)
	}
	if err = f.settle(err); err == nil {
		n = len(p) // what a muted file claims
	}
	return n, err
}

// Close closes the file, whatever became of the fuse.
func (f guardFile) Close() error { return f.settle(f.File.Close()) }

func (f guardFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.refuse(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

// Preallocate reserves less than Pebble asks for, which is as much as a memtable
// takes: a small log is to be a small directory.
func (f guardFile) Preallocate(offset, length int64) error {
	return f.File.Preallocate(offset, min(length, 1<<20))
}

func (f guardFile) Sync() error {
	if err := f.refuse(); err != nil {
		return f.settle(err)
	}
	return f.settle(f.File.Sync())
}

func (f guardFile) SyncData() error {
	if err := f.refuse(); err != nil {
		return f.settle(err)
	}
	return f.settle(f.File.SyncData())
}

func (f guardFile) SyncTo(length int64) (bool, error) {
	if err := f.refuse(); err != nil {
		return false, err
	}
	return f.File.SyncTo(length)
}

// A storeLogger takes Pebble's messages. Of Fatalf Pebble expects that it does
// not return; here it blows the fuse, which makes going on harmless.
type storeLogger struct {
	*slog.Logger
	fuse *fuse
}

func (l storeLogger) Infof(format string, args ...any) { l.Debug(fmt.Sprintf(format, args...)) }

func (l storeLogger) Errorf(format string, args ...any) { l.Warn(fmt.Sprintf(format, args...)) }

func (l storeLogger) Fatalf(format string, args ...any) { l.fuse.blow(fmt.Errorf(format, args...)) }

// maxRetries is how often background work may fail before the log stops. What
// fails for want of space is tried for ever.
const maxRetries = 20

// listener returns what Pebble tells of its background work.
func (l storeLogger) listener() *pebble.EventListener {
	done := func(err error) {
		if err == nil {
			l.fuse.retries.Store(0)
		}
	}
	return &pebble.EventListener{
		BackgroundError: func(err error) {
			l.Warn("background work of the store failed, it is tried again", "error", err)
			if !vfs.IsNoSpaceError(err) && l.fuse.retries.Add(1) > maxRetries {
				l.fuse.blow(fmt.Errorf("background work failed %d times: %w", maxRetries, err))
			}
		},
		FlushEnd:      func(info pebble.FlushInfo) { done(info.Err) },
		CompactionEnd: func(info pebble.CompactionInfo) { done(info.Err) },
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			l.Error("corrupt data", "file", info.Path, "error", info.Details)
		},
		DiskSlow: func(info pebble.DiskSlowInfo) { l.Warn("slow disk", "path", info.Path, "duration", info.Duration) },
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			l.Warn("writes to the index wait until the store has sorted what it has", "reason", info.Reason)
		},
	}
}

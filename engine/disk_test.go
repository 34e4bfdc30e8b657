package engine_test

import (
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// A disk is a file system in memory. What is to happen to it can be decided
// before each call, its power can be cut, and it is the disk of a log.
type disk struct {
	*errorfs.FS
	mem    *vfs.MemFS
	before atomic.Pointer[func(errorfs.Op) error]

	// linking is held for reading in Link and Lock, in which MemFS locks twice
	// what CrashClone locks, and would wait for itself.
	linking sync.RWMutex
}

func newDisk() *disk { return diskOn(vfs.NewCrashableMem()) }

func diskOn(mem *vfs.MemFS) *disk {
	d := &disk{mem: mem}
	d.FS = errorfs.Wrap(mem, errorfs.InjectorFunc(d.call))
	return d
}

// watch has f called before each call of the file system, which fails when f
// returns an error. There are several at once.
func (d *disk) watch(f func(errorfs.Op) error) { d.before.Store(&f) }

// leave ends what watch began.
func (d *disk) leave() { d.before.Store(nil) }

func (d *disk) call(op errorfs.Op) error {
	if f := d.before.Load(); f != nil {
		return (*f)(op)
	}
	return nil
}

// cut returns the disk as it may be after its power was cut: what was synced,
// and the given share of what was not.
func (d *disk) cut(percent int, rng *rand.Rand) *vfs.MemFS {
	d.linking.Lock()
	defer d.linking.Unlock()
	return d.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
}

// Link implements vfs.FS.
func (d *disk) Link(oldname, newname string) error {
	if err := d.call(errorfs.Op{Kind: errorfs.OpLink, Path: oldname}); err != nil {
		return err
	}
	d.linking.RLock()
	defer d.linking.RUnlock()
	return d.mem.Link(oldname, newname)
}

// Lock implements vfs.FS.
func (d *disk) Lock(name string) (io.Closer, error) {
	if err := d.call(errorfs.Op{Kind: errorfs.OpLock, Path: name}); err != nil {
		return nil, err
	}
	d.linking.RLock()
	defer d.linking.RUnlock()
	return d.mem.Lock(name)
}

// ReuseForWrite implements vfs.FS. That of errorfs lets the file's calls pass
// unseen.
func (d *disk) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.call(errorfs.Op{Kind: errorfs.OpReuseForWrite, Path: oldname}); err != nil {
		return nil, err
	}
	if err := d.mem.Rename(oldname, newname); err != nil {
		return nil, err
	}
	return d.OpenReadWrite(newname, c)
}

// changes reports whether a call changes what is on the disk, or makes it last.
func changes(op errorfs.Op) bool { return op.Kind.ReadOrWrite() == errorfs.OpIsWrite }

func isSync(op errorfs.Op) bool {
	return op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
}

func isBlocks(path string) bool { return strings.Contains(path, "blocks/") }

func isDataFile(path string) bool {
	return strings.HasSuffix(path, ".sst") || strings.Contains(path, "/index-") // which becomes one
}

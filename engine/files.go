package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/leathq/leat"
)

// blockFiles are the files that hold the blocks of a log, numbered without a
// hole: groups are put at the end of the last one, whole files are removed at
// the beginning. docs/format-block.md describes them. Only the committer writes;
// anybody reads.
type blockFiles struct {
	fs    vfs.FS
	dir   string
	fuse  *fuse
	limit int64   // size at which a file takes no further group
	syncs latency // of what every group waits for

	// Known to the committer only.
	end    blockEnd // where the next group goes
	writer *handle  // of the last file; nil when a new one is due
	room   int64    // up to where space for that file is reserved
	salt   uint32   // of that file
	proven bool     // the last group is empty

	// durable is the number of a group that is known to be, like all before it.
	durable atomic.Uint64

	mu    sync.RWMutex
	files []*blockFile

	handles [maxHandles]slot // for reading
}

const (
	blocksDir = "blocks"

	// newFile is the name of a file until its header is durable.
	newFile = "new"

	// maxHandles is how many files are open for reading.
	maxHandles = 256

	// A file reserves as much space ahead as it has, within these bounds.
	minReserve = 256 << 10
	maxReserve = 16 << 20

	// maxShards bounds what a header is believed.
	maxShards = 1 << 20
)

// A blockEnd is a place between two groups.
type blockEnd struct {
	file  uint32 // 0 before the first
	at    int64
	group uint64 // number of the group that begins there, from 1
}

// An extent is where a block lies.
type extent struct{ file, at, size uint32 }

// A blockFile is what the header of a file says.
type blockFile struct {
	number uint32
	salt   uint32   // begins the checksums of its groups
	first  uint64   // number of its first group
	before int64    // where the file before it ends, whatever stands there
	heads  []uint64 // by shard, when it was begun
}

const (
	fileMagic      = "leatblk3"
	fileHeaderSize = 40 // without the heads
)

// start is where the first group begins.
func (f *blockFile) start() int64 { return fileHeaderSize + 8*int64(len(f.heads)) }

func (f *blockFile) encode() []byte {
	b := make([]byte, f.start())
	copy(b, fileMagic)
	binary.LittleEndian.PutUint32(b[12:], uint32(len(f.heads)))
	binary.LittleEndian.PutUint32(b[16:], f.number)
	binary.LittleEndian.PutUint32(b[20:], f.salt)
	binary.LittleEndian.PutUint64(b[24:], f.first)
	binary.LittleEndian.PutUint64(b[32:], uint64(f.before))
	for i, head := range f.heads {
		binary.LittleEndian.PutUint64(b[fileHeaderSize+8*i:], head)
	}
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b[12:], castagnoli))
	return b
}

// readBlockFile reads the header of a file.
func readBlockFile(f vfs.File, number uint32) (*blockFile, error) {
	b := make([]byte, fileHeaderSize)
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("%w: header: %w", leat.ErrCorrupt, err)
	}
	heads := binary.LittleEndian.Uint32(b[12:])
	if string(b[:8]) != fileMagic || heads > maxShards {
		return nil, fmt.Errorf("%w: begins with %q and has %d shards", leat.ErrCorrupt, b[:8], heads)
	}
	r := &blockFile{
		number: binary.LittleEndian.Uint32(b[16:]), salt: binary.LittleEndian.Uint32(b[20:]),
		first: binary.LittleEndian.Uint64(b[24:]), before: int64(binary.LittleEndian.Uint64(b[32:])),
		heads: make([]uint64, heads),
	}
	b = make([]byte, r.start())
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("%w: header: %w", leat.ErrCorrupt, err)
	}
	if binary.LittleEndian.Uint32(b[8:]) != crc32.Checksum(b[12:], castagnoli) || r.number != number || r.first == 0 {
		return nil, fmt.Errorf("%w: the header does not match its checksum or the name", leat.ErrCorrupt)
	}
	for i := range r.heads {
		r.heads[i] = binary.LittleEndian.Uint64(b[fileHeaderSize+8*i:])
	}
	return r, nil
}

func newBlockFiles(dir string, o Options, f *fuse) *blockFiles {
	return &blockFiles{fs: o.FS, dir: o.FS.PathJoin(dir, blocksDir), fuse: f, limit: o.fileBytes}
}

func (f *blockFiles) path(number uint32) string {
	return f.fs.PathJoin(f.dir, fmt.Sprintf("%010d", number))
}

// open reads the headers of the files that there are.
func (f *blockFiles) open() error {
	names, err := f.fs.List(f.dir)
	if err != nil {
		return fmt.Errorf("%w: list the files of blocks: %w", leat.ErrCorrupt, err)
	}
	var numbers []uint32
	for _, name := range names {
		if n, err := strconv.ParseUint(name, 10, 32); err == nil && len(name) == 10 {
			numbers = append(numbers, uint32(n))
		}
	}
	slices.Sort(numbers)
	for i, n := range numbers {
		if want := numbers[0] + uint32(i); n != want {
			return f.missing(want)
		}
		b, err := f.readHeader(n)
		if err != nil {
			return fmt.Errorf("file of blocks %s: %w", f.path(n), err)
		}
		f.files = append(f.files, b)
	}
	return nil
}

func (f *blockFiles) readHeader(number uint32) (*blockFile, error) {
	file, err := f.fs.Open(f.path(number))
	if err != nil {
		return nil, err
	}
	b, err := readBlockFile(file, number)
	return b, errors.Join(err, file.Close())
}

func (f *blockFiles) missing(number uint32) error {
	return fmt.Errorf("%w: the file of blocks %s is missing: put it back, or go back to a backup", leat.ErrCorrupt, f.path(number))
}

// list returns the files that there are, in order. They may be removed any time.
func (f *blockFiles) list() []*blockFile {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.files
}

// A handle is an open file.
type handle struct {
	vfs.File
	users atomic.Int32
}

func newHandle(file vfs.File) *handle {
	h := &handle{File: file}
	h.users.Store(1)
	return h
}

func (h *handle) use() *handle {
	h.users.Add(1)
	return h
}

// release ends a use; the last one closes the file.
func (h *handle) release() error {
	if h.users.Add(-1) > 0 {
		return nil
	}
	return h.Close()
}

// A slot keeps one file open, of those that share it the last one used.
type slot struct {
	mu     sync.Mutex
	number uint32
	handle *handle
}

// use returns a file open for reading. Release it after use.
func (f *blockFiles) use(number uint32) (*handle, error) {
	s := &f.handles[number%maxHandles]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handle != nil && s.number == number {
		return s.handle.use(), nil
	}
	file, err := f.fs.Open(f.path(number))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, f.missing(number)
	}
	if err != nil {
		return nil, err
	}
	old := s.handle
	s.number, s.handle = number, newHandle(file)
	if old != nil {
		_ = old.release() // it was only read
	}
	return s.handle.use(), nil
}

// forget closes a file that was open for reading.
func (s *slot) forget(number uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handle != nil && s.number == number {
		_ = s.handle.release()
		s.handle = nil
	}
}

// read reads a block.
func (f *blockFiles) read(x extent, id blockID) (*block, error) {
	h, err := f.use(x.file)
	if err != nil {
		return nil, err
	}
	data := make([]byte, x.size)
	_, err = h.ReadAt(data, int64(x.at))
	_ = h.release()
	if err != nil {
		return nil, fmt.Errorf("read %d bytes at %d of %s: %w", x.size, x.at, f.path(x.file), err)
	}
	return parseBlock(id, data)
}

// close closes all files.
func (f *blockFiles) close() error {
	for i := range f.handles {
		f.handles[i].forget(f.handles[i].number)
	}
	if f.writer == nil {
		return nil
	}
	return f.writer.release()
}

// full reports whether the last file takes no further group.
func (f *blockFiles) full() bool { return f.writer != nil && f.end.at >= f.limit }

// begin returns where the next group goes, in a file that has room for one. What
// an earlier file holds must be durable.
func (f *blockFiles) begin(shards []*tail) (blockEnd, error) {
	if f.writer != nil && !f.full() {
		return f.end, nil
	}
	if f.writer != nil {
		if err := f.writer.release(); err != nil {
			return f.end, err
		}
		f.writer = nil
	}
	err := f.add(f.next(shards), nil)
	return f.end, err
}

// next returns the file that comes after the end.
func (f *blockFiles) next(shards []*tail) *blockFile {
	return &blockFile{number: f.end.file + 1, salt: rand.Uint32(), first: f.end.group, before: f.end.at, heads: headsOf(shards)}
}

func headsOf(shards []*tail) []uint64 {
	heads := make([]uint64, len(shards))
	for i, t := range shards {
		heads[i] = t.Head
	}
	return heads
}

// add begins a file with groups, durably so.
func (f *blockFiles) add(b *blockFile, groups []byte) error {
	file, err := f.create(b, groups)
	if err != nil {
		return fmt.Errorf("begin the file of blocks %s: %w", f.path(b.number), err)
	}
	f.writer, f.salt, f.proven = newHandle(file), b.salt, len(groups) == 0
	f.end.file, f.end.at, f.room = b.number, b.start()+int64(len(groups)), 0
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files = append(f.files[:len(f.files):len(f.files)], b)
	return nil
}

// create makes a file with a header and groups. It gets its name last, when all
// that is durable: a file that has one is whole.
func (f *blockFiles) create(b *blockFile, groups []byte) (vfs.File, error) {
	path := f.fs.PathJoin(f.dir, newFile)
	if err := f.fs.RemoveAll(path); err != nil {
		return nil, err
	}
	file, err := f.fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	if _, err = file.WriteAt(append(b.encode(), groups...), 0); err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = f.fs.Rename(path, f.path(b.number))
	}
	if err == nil {
		err = syncDir(f.fs, f.dir)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// put writes a group, complete but for its header, at the end. It is durable
// once the file that put returns is synced.
func (f *blockFiles) put(group []byte) (*handle, error) {
	sealGroup(group, f.salt, f.end.group, f.durable.Load())
	f.reserve(int64(len(group)))
	if err := f.write(f.writer, group, f.end.at); err != nil {
		return nil, fmt.Errorf("write %d bytes at %d of %s: %w", len(group), f.end.at, f.path(f.end.file), err)
	}
	f.end.at += int64(len(group))
	f.end.group++
	f.proven = len(group) == groupHeaderSize
	return f.writer.use(), nil
}

// reserve has the file system set space aside for a group and some more behind
// it. Syncing a group then need not wait until places for it are found and noted,
// which takes up to half of the time. Where that cannot be had, all goes on as it
// would without.
func (f *blockFiles) reserve(size int64) {
	to := f.end.at + size
	if to <= f.room {
		return
	}
	more := min(max(f.end.at, minReserve), maxReserve)
	f.room = max(to, min(to+more, f.limit))
	_ = f.writer.Preallocate(f.end.at, f.room-f.end.at)
}

// prove writes a group that is empty but says that those before it are durable,
// so that Open knows. It need not be durable itself.
func (f *blockFiles) prove() error {
	if f.writer == nil || f.proven {
		return nil
	}
	h, err := f.put(make([]byte, groupHeaderSize))
	if err != nil {
		return err
	}
	return h.release()
}

// write writes all of p, and waits while the disk is full.
func (f *blockFiles) write(file vfs.File, p []byte, at int64) error {
	for waited := false; ; waited = true {
		if err := f.fuse.err(); err != nil {
			return err
		}
		n, err := file.WriteAt(p, at)
		p, at = p[n:], at+int64(n)
		if !vfs.IsNoSpaceError(err) {
			return err
		}
		if !waited {
			f.fuse.log.Warn("a write waits for space on the disk", "error", err)
		}
		time.Sleep(retryPause)
	}
}

// makeDurable syncs a file.
func (f *blockFiles) makeDurable(h *handle) error {
	began := time.Now()
	err := h.SyncData()
	f.syncs.note(time.Since(began))
	return err
}

// removeBefore removes the files before one, as long as nothing of them is
// needed: their blocks lie below the oldest sequences of their shards.
func (f *blockFiles) removeBefore(file uint32, oldest func(shard uint32) uint64) error {
	for {
		files := f.list()
		if len(files) < 2 || files[0].number >= file {
			return nil
		}
		for shard, head := range files[1].heads {
			if head >= oldest(uint32(shard)) {
				return nil
			}
		}
		number := files[0].number
		if err := f.fs.Remove(f.path(number)); err != nil {
			return err
		}
		f.handles[number%maxHandles].forget(number)
		f.mu.Lock()
		f.files = f.files[1:]
		f.mu.Unlock()
		if err := syncDir(f.fs, f.dir); err != nil { // none is to go before those ahead of it
			return err
		}
	}
}

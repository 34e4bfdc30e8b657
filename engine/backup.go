package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/leathq/leat"
)

const (
	// unfinished is what the name of the directory ends with in which a backup
	// is made. Open finds no log in it.
	unfinished = ".unfinished"

	// backupFile is in a copy that was not opened yet, and holds the number of
	// the epoch that the copy ends.
	backupFile = "BACKUP"
)

// Backup makes a copy of the log in a directory that does not exist or is empty,
// while appends go on. The copy holds all that was acknowledged before the call,
// and of what comes during it a part: whole Appends, each shard without a hole,
// and nothing that is not durable in the log as well. It is a log that Open
// opens, and everything is synced.
//
// The first Open of the copy ends the epoch, with the heads that the copy has:
// who read the log further than that gets leat.ErrDiverged from the copy. Use
// the copy or the log, not both: they have the same ID.
//
// Files that the log does not write to any more are shared with the copy, as
// hard links, where the file system can do that: then the copy is made at once
// and takes little space, at first. Elsewhere, and on another disk, they are
// copied. To outlive the disk, a copy has to be on another.
//
// The copy is made in a directory beside the one given, of that name with
// ".unfinished" after it, and renamed. What an interrupted Backup leaves there
// is no log, and is removed by the next one to the same place. Before it is renamed
// the copy is opened for reading, to see that it has what it should.
//
// The error is fs.ErrExist when something is in the directory, leat.ErrInvalid
// when it lies in the log's own, leat.ErrFull when its disk is full or would
// keep less free than Options.ReserveBytes, ErrStopped when the log's storage
// failed. Then there is no copy, and the log goes on. Backups of one log wait for
// each other.
func (l *Log) Backup(ctx context.Context, dir string) error {
	err := l.backup(ctx, filepath.Clean(dir))
	if vfs.IsNoSpaceError(err) {
		err = fmt.Errorf("%w: %w", leat.ErrFull, err)
	}
	if err != nil {
		return fmt.Errorf("back up the log in %s to %s: %w", l.dir, dir, err)
	}
	return nil
}

func (l *Log) backup(ctx context.Context, dir string) error {
	if within(dir, l.dir) {
		return &leat.InvalidError{Field: "backup directory", Limit: "outside of the log's own", Got: strconv.Quote(dir)}
	}
	select {
	case l.backingUp <- struct{}{}:
		defer func() { <-l.backingUp }()
	case <-ctx.Done():
		return ctx.Err()
	}
	fsys := l.o.FS
	if err := vacate(fsys, dir); err != nil {
		return err
	}
	work := dir + unfinished
	if err := makeDir(fsys, work); err != nil {
		return err
	}
	lock, err := lockDir(fsys, work)
	if err != nil {
		return err
	}
	made := fsys.PathJoin(work, "log")
	if err = fsys.RemoveAll(made); err == nil {
		err = l.copyTo(ctx, made)
	}
	if err == nil {
		err = moveDir(fsys, made, dir)
	}
	left := errors.Join(lock.Close(), fsys.RemoveAll(work))
	if err != nil {
		return errors.Join(err, left)
	}
	if left != nil {
		l.o.Logger.Warn("what a backup does not need any more is still there", "dir", work, "error", left)
	}
	return nil
}

// moveDir gives a directory another name, durably so. When that fails, there is
// none of the new name.
func moveDir(fsys vfs.FS, from, to string) error {
	if err := fsys.Rename(from, to); err != nil {
		return err
	}
	if err := syncDir(fsys, fsys.PathDir(to)); err != nil {
		return errors.Join(err, fsys.RemoveAll(to))
	}
	return nil
}

// copyTo makes a copy of the log that is complete but for its name.
func (l *Log) copyTo(ctx context.Context, dir string) error {
	// Of what the index covers in the copy, the copy has the blocks: they are
	// copied after it, and none is removed while there is an outlet.
	l.sweeping.Lock()
	o := &outlet{dir: dir, reserve: l.o.ReserveBytes, ended: func() error {
		if l.queue.isClosed() {
			return l.errClosed()
		}
		return ctx.Err()
	}}
	l.store.outlet.Store(o)
	l.sweeping.Unlock()
	err := l.checkpoint(ctx, dir)
	copied := l.view.Load()
	if err == nil {
		err = l.copyBlocks(o, copied.end)
	}
	l.store.outlet.Store(nil)
	if err := l.sweepBlocks(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, leat.ErrClosed) {
		l.o.Logger.Warn("what is trimmed stays on the disk", "dir", l.dir, "error", err)
	}
	if err != nil {
		return err
	}
	if err := l.markBackup(dir); err != nil {
		return err
	}
	return l.tryBackup(dir, copied)
}

// copyBlocks copies the files of blocks up to an end, up to which all is durable.
func (l *Log) copyBlocks(o *outlet, end blockEnd) error {
	fsys := l.o.FS
	dir := fsys.PathJoin(o.dir, blocksDir)
	if err := fsys.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, b := range l.files.list() {
		if b.number > end.file {
			break
		}
		to := fsys.PathJoin(dir, fsys.PathBase(l.files.path(b.number)))
		var err error
		if b.number < end.file {
			err = o.linkOrCopy(fsys, l.files.path(b.number), to)
		} else {
			err = o.copy(fsys, l.files.path(b.number), to, end.at)
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(syncDir(fsys, dir), syncDir(fsys, o.dir))
}

// checkpoint has Pebble make a copy of the store as a power cut at this moment
// would leave it.
func (l *Log) checkpoint(ctx context.Context, dir string) (err error) {
	if err := l.read(ctx); err != nil {
		return err
	}
	defer l.reading.RUnlock()
	// Pebble panics, with the error, when it cannot sync the copy's directory. It
	// holds no lock then.
	defer func() {
		switch p := recover().(type) {
		case nil:
		case error:
			err = p
		default:
			panic(p)
		}
	}()
	if err := l.fuse.err(); err != nil {
		return err
	}
	return corruptOr(l.store.Checkpoint(dir))
}

// markBackup writes which epoch ends with a copy.
func (l *Log) markBackup(dir string) error {
	f, err := l.o.FS.Create(l.o.FS.PathJoin(dir, backupFile), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, l.info.Epoch)
	return errors.Join(err, f.Sync(), f.Close())
}

// tryBackup opens a copy and sees that it has what it should.
func (l *Log) tryBackup(dir string, copied *view) error {
	o := l.o
	o.CacheBytes = 1 << 20
	s, err := openStore(dir, o, newFuse(o.Logger), readStore)
	if err != nil {
		return err
	}
	shards, err := s.shardsAtEnd(o)
	for i, want := range copied.shards {
		if err == nil && (i >= len(shards) || shards[i].Head != want.Head) {
			err = fmt.Errorf("%w: the copy has other events of %s than those up to %d", leat.ErrCorrupt, want.ID, want.Head)
		}
	}
	return errors.Join(err, s.close(), syncDir(o.FS, dir))
}

// shardsAtEnd reads which shards a log has that nobody works on.
func (s *store) shardsAtEnd(o Options) ([]*tail, error) {
	r, err := s.newReplay(func(*block, extent) error { return nil })
	if err != nil {
		return nil, err
	}
	err = r.read(s, o, r.from)
	return r.tails, err
}

// endEpoch makes the log in a copy that is opened for the first time one of a
// new epoch.
func (s *store) endEpoch(info *leat.Info, shards []*tail, o Options) error {
	path := s.fs.PathJoin(s.dir, backupFile)
	text, err := readFile(s.fs, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	ended, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || ended > info.Epoch {
		return fmt.Errorf("%w: %s holds %q, which is no epoch of this log", leat.ErrCorrupt, path, text)
	}
	if ended == info.Epoch { // else it got no further than this the last time
		heads := make(map[leat.ShardID]uint64)
		for _, t := range shards {
			if t.Head > 0 {
				heads[t.ID] = t.Head
			}
		}
		info.Ended = append(info.Ended, leat.Epoch{Number: ended, Heads: heads})
		info.Epoch, info.Created = ended+1, o.Clock().UTC()
		b := s.NewBatch()
		defer b.Close()
		if err := saveInfo(b, *info); err != nil {
			return err
		}
		if err := s.applySync(b); err != nil {
			return err
		}
	}
	return errors.Join(s.fs.Remove(path), syncDir(s.fs, s.dir))
}

// vacate returns fs.ErrExist unless a directory does not exist or is empty. It
// removes an empty one, in whose place another comes.
func vacate(fsys vfs.FS, dir string) error {
	info, err := fsys.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("a file is in its place: %w", fs.ErrExist)
	}
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	if len(names) > 0 {
		return fmt.Errorf("the directory holds files, such as %s: %w", names[0], fs.ErrExist)
	}
	return fsys.Remove(dir)
}

// within reports whether a directory is another or lies in it.
func within(dir, outer string) bool {
	rel, err := filepath.Rel(realPath(outer), realPath(dir))
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// realPath returns a path without symbolic links, as far as it exists.
func realPath(path string) string {
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	if found, err := filepath.EvalSymlinks(path); err == nil {
		return found
	}
	parent := filepath.Dir(path)
	if parent == path {
		return path
	}
	return filepath.Join(realPath(parent), filepath.Base(path))
}

// An outlet is where Pebble writes a copy of the store. What fails there fails
// the backup, not the log, and nothing waits for space.
type outlet struct {
	dir     string
	reserve int64        // see Options.ReserveBytes
	ended   func() error // why nothing more is to be written; nil to go on
}

// holds reports whether a file is the copy's.
func (o *outlet) holds(name string) bool {
	rest, ok := "", false
	if o != nil {
		rest, ok = strings.CutPrefix(name, o.dir)
	}
	return ok && (rest == "" || rest[0] == '/' || rest[0] == filepath.Separator)
}

func (o *outlet) create(fsys vfs.FS, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := o.ended(); err != nil {
		return nil, err
	}
	if o.reserve >= 0 {
		if _, err := askRoom(fsys, o.dir, o.reserve, 0); err != nil {
			return nil, err
		}
	}
	f, err := fsys.Create(name, c)
	if err != nil {
		return nil, err
	}
	return outletFile{f, o}, nil
}

// link links a file into the copy. Pebble then copies what cannot be linked,
// unless the error says that links are not permitted, which on some file systems
// means that there are none.
func (o *outlet) link(fsys vfs.FS, oldname, newname string) error {
	if err := o.ended(); err != nil {
		return err
	}
	err := fsys.Link(oldname, newname)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("link %s: %v", oldname, err) //nolint:errorlint // Pebble is not to see what it is
	}
	return err
}

// linkOrCopy links or copies a file that is not written to any more.
func (o *outlet) linkOrCopy(fsys vfs.FS, oldname, newname string) error {
	if o.link(fsys, oldname, newname) == nil {
		return nil
	}
	info, err := fsys.Stat(oldname)
	if err != nil {
		return err
	}
	return o.copy(fsys, oldname, newname, info.Size())
}

// copy copies the beginning of a file, durably so.
func (o *outlet) copy(fsys vfs.FS, oldname, newname string, size int64) error {
	from, err := fsys.Open(oldname)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := o.create(fsys, newname, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	n, err := io.Copy(to, io.NewSectionReader(from, 0, size))
	if err == nil && n < size {
		err = fmt.Errorf("%w: %s has %d bytes, of which %d are durable", leat.ErrCorrupt, oldname, n, size)
	}
	if err == nil {
		err = to.Sync()
	}
	return errors.Join(err, to.Close())
}

type outletFile struct {
	vfs.File
	*outlet
}

func (f outletFile) Write(p []byte) (int, error) {
	if err := f.ended(); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

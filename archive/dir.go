package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/leathq/leat"
)

const (
	// tempFolder holds objects that are being written. A log cannot be called
	// this: "~" is no part of a log's ID.
	tempFolder = "~tmp"

	// tempAge is how old a file in tempFolder is when nobody can be writing it
	// any more.
	tempAge = time.Hour

	// maxDirCalls bounds the files that are open, and the threads that wait for
	// the disk, of which a Go program may have 10,000.
	maxDirCalls = 64
)

// A dirStore is a Store in a directory. An object is written and synced under
// another name and then linked to its own, which fails when that is taken: so
// it is there whole or not at all, and is never replaced.
type dirStore struct {
	root   string
	denied error         // why nothing can be written; nil when it can
	calls  chan struct{} // holds a token for each call that is under way

	mu     sync.Mutex
	folder map[string]bool // directories known to be durable
}

func openDir(path string) (*dirStore, error) {
	root, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open archive store: %w", err)
	}
	d := &dirStore{root: root, calls: make(chan struct{}, maxDirCalls), folder: make(map[string]bool)}
	err = makeLast(root)
	if err == nil {
		err = makeLast(filepath.Join(root, tempFolder))
	}
	switch {
	case readOnly(err) && isDir(root):
		d.denied = fmt.Errorf("%w: the directory can be read but not written: %w", leat.ErrDenied, err)
		return d, nil
	case err != nil:
		return nil, fmt.Errorf("open archive store: %w", err)
	}
	if err := d.sweep(time.Now().Add(-tempAge)); err != nil && !readOnly(err) {
		return nil, fmt.Errorf("open archive store: sweep leftovers: %w", err)
	}
	return d, nil
}

// readOnly reports whether an error says that this process may only read.
func readOnly(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// String returns the URL of the store.
func (d *dirStore) String() string { return "file://" + d.root }

// sweep removes what writers that were killed before a moment left behind.
func (d *dirStore) sweep(before time.Time) error {
	temp := filepath.Join(d.root, tempFolder)
	entries, err := os.ReadDir(temp)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && info.ModTime().Before(before) {
			err = os.Remove(filepath.Join(temp, e.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// call does something with the file of an object when it is its turn.
func (d *dirStore) call(ctx context.Context, name string, do func(path string) error) error {
	if err := CheckName(name); err != nil {
		return err
	}
	return d.turn(ctx, func() error { return do(filepath.Join(d.root, filepath.FromSlash(name))) })
}

// turn does something when there are few enough calls under way.
func (d *dirStore) turn(ctx context.Context, do func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case d.calls <- struct{}{}:
		defer func() { <-d.calls }()
	case <-ctx.Done():
		return ctx.Err()
	}
	err := do()
	if errors.Is(err, fs.ErrNotExist) {
		err = cmp.Or(d.gone(), err)
	}
	return err
}

// gone returns an error when the directory is not the one that was opened: in the
// place of a disk that is not mounted any more there is an empty one, or none. What
// is missing there is not missing in the archive, and what is written there is
// hidden when the disk is back.
func (d *dirStore) gone() error {
	if d.denied != nil {
		return nil //nolint:nilerr // it may never have had the folder
	}
	_, err := os.Stat(filepath.Join(d.root, tempFolder))
	if errors.Is(absent(err), fs.ErrNotExist) {
		return fmt.Errorf("the archive's directory %s is gone, or emptied: is its disk mounted?", d.root)
	}
	return err
}

func (d *dirStore) Create(ctx context.Context, name string, data []byte) error {
	return d.call(ctx, name, func(path string) error {
		err := cmp.Or(d.denied, d.gone())
		if err == nil {
			err = classify(d.create(path, data))
		}
		if err != nil {
			return fmt.Errorf("create object %s: %w", path, err)
		}
		return nil
	})
}

// classify adds what an error of the file system means to callers.
func classify(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", leat.ErrFull, err)
	case readOnly(err):
		return fmt.Errorf("%w: let this user write there: %w", leat.ErrDenied, err)
	}
	return err
}

func (d *dirStore) create(path string, data []byte) error {
	folder := filepath.Dir(path)
	if err := d.makeFolder(folder); err != nil {
		return err
	}
	linked := fs.ErrExist
	if _, err := os.Lstat(path); err != nil { // else there is no need to write anything
		temp, err := writeTemp(filepath.Join(d.root, tempFolder), data)
		if err != nil {
			return err
		}
		defer os.Remove(temp) // what stays is swept later
		linked = os.Link(temp, path)
	}
	if linked != nil && !errors.Is(linked, fs.ErrExist) {
		return linked
	}
	// Also when it existed: whoever made it may have been killed before this, and
	// what exists is taken to be durable.
	if err := syncDir(folder); err != nil {
		return err
	}
	return linked
}

// makeFolder makes a directory of the store durably: also when it is there,
// because whoever made it may have been killed before it was durable.
func (d *dirStore) makeFolder(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.folder[path] {
		return nil
	}
	if err := makeDir(path); err != nil {
		return err
	}
	for p := path; len(p) >= len(d.root) && p != filepath.Dir(p); p = filepath.Dir(p) {
		if err := syncDir(filepath.Dir(p)); err != nil {
			return err
		}
	}
	d.folder[path] = true
	return nil
}

// makeDir makes a directory, and those above it that are missing, durably.
func makeDir(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := makeDir(filepath.Dir(path)); err != nil {
		return err
	}
	return makeLast(path)
}

// makeLast makes a directory durably in one that is there.
func makeLast(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(path)
	err := os.Mkdir(path, 0o755)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: there is no %s: is its disk mounted? If it was never there, make it first", err, parent)
	case err != nil && !errors.Is(err, fs.ErrExist):
		return err
	}
	return syncDir(parent)
}

// writeTemp writes and syncs a new file and returns its path.
func writeTemp(folder string, data []byte) (path string, err error) {
	f, err := os.CreateTemp(folder, "put-*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o444), f.Sync(), f.Close())
	if err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d *dirStore) Get(ctx context.Context, name string) ([]byte, error) {
	return d.read(ctx, name, func(size int64) (offset, n int64) { return 0, size })
}

func (d *dirStore) GetRange(ctx context.Context, name string, offset, n int64) ([]byte, error) {
	if err := CheckRange(offset, n); err != nil {
		return nil, err
	}
	return d.read(ctx, name, func(int64) (int64, int64) { return offset, n })
}

// read returns the bytes of an object that a function of its size tells.
func (d *dirStore) read(ctx context.Context, name string, part func(size int64) (offset, n int64)) (data []byte, err error) {
	err = d.call(ctx, name, func(path string) error {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("get object: %w", absent(err))
		}
		defer f.Close()
		size, err := objectSize(f.Stat())
		if err != nil {
			return fmt.Errorf("get object %s: %w", path, err)
		}
		offset, n := part(size)
		if n > size-offset { // before there is memory for them
			return fmt.Errorf("get %d bytes at %d of object %s: %w: it has %d", n, offset, path, io.ErrUnexpectedEOF, size)
		}
		data = make([]byte, n)
		if _, err := io.ReadFull(io.NewSectionReader(f, offset, n), data); err != nil {
			return fmt.Errorf("get %d bytes at %d of object %s: %w", n, offset, path, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}

// objectSize returns the size of an object. A folder is none.
func objectSize(info fs.FileInfo, err error) (int64, error) {
	switch {
	case err != nil:
		return 0, absent(err)
	case info.IsDir():
		return 0, fs.ErrNotExist
	}
	return info.Size(), nil
}

// absent adds [fs.ErrNotExist] to the error of a path through an object, where
// there can be none.
func absent(err error) error {
	if errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return err
}

func (d *dirStore) Size(ctx context.Context, name string) (size int64, err error) {
	err = d.call(ctx, name, func(path string) error {
		if size, err = objectSize(os.Stat(path)); err != nil {
			return fmt.Errorf("size of object %s: %w", path, err)
		}
		return nil
	})
	return size, err
}

func (d *dirStore) Remove(ctx context.Context, name string) error {
	return d.call(ctx, name, func(path string) error {
		_, err := objectSize(os.Lstat(path))
		if err == nil {
			err = os.Remove(path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove object: %w", classify(err))
		}
		return nil
	})
}

func (d *dirStore) List(ctx context.Context, folder, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		names, err := d.list(ctx, folder)
		from, found := slices.BinarySearch(names, after)
		if found {
			from++
		}
		for _, name := range names[from:] {
			if !yield(name, nil) {
				return
			}
		}
		if err != nil {
			yield("", fmt.Errorf("list objects in %q: %w", folder, err))
		}
	}
}

func (d *dirStore) list(ctx context.Context, folder string) (names []string, err error) {
	read := func(path string) error {
		if names, err = readNames(path); err == nil && len(names) == 0 {
			err = d.gone()
		}
		return err
	}
	if folder == "" {
		err = d.turn(ctx, func() error { return read(d.root) })
		return names, err
	}
	err = d.call(ctx, strings.TrimSuffix(folder, "/"), read)
	return names, err
}

// readNames returns the names in a directory, sorted. One that is not there has
// none.
func readNames(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if errors.Is(absent(err), fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() {
			name += "/"
		}
		if name != tempFolder+"/" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

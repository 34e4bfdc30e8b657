package archive

import (
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
)

// A dirStore is a Store in a directory. An object is written and synced under
// another name and then linked to its own, which fails when that is taken: so
// it is there whole or not at all, and is never replaced.
type dirStore struct {
	root string

	mu     sync.Mutex
	folder map[string]bool // directories known to be durable
}

func openDir(path string) (*dirStore, error) {
	root, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open archive store: %w", err)
	}
	d := &dirStore{root: root, folder: make(map[string]bool)}
	if err := makeDir(filepath.Join(root, tempFolder)); err != nil {
		return nil, fmt.Errorf("open archive store: %w", err)
	}
	if err := d.sweep(time.Now().Add(-tempAge)); err != nil {
		return nil, fmt.Errorf("open archive store: sweep leftovers: %w", err)
	}
	return d, nil
}

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

// path returns where an object or folder lies.
func (d *dirStore) path(name string) (string, error) {
	if !fs.ValidPath(name) || name == "." {
		return "", &leat.InvalidError{Field: "object name", Limit: `elements joined by "/", none "." or ".."`, Got: name}
	}
	return filepath.Join(d.root, filepath.FromSlash(name)), nil
}

func (d *dirStore) Create(ctx context.Context, name string, data []byte) error {
	path, err := d.path(name)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err = d.create(path, data)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("create object %s: %w: %w", path, leat.ErrFull, err)
	}
	if err != nil {
		return fmt.Errorf("create object %s: %w", path, err)
	}
	return nil
}

func (d *dirStore) create(path string, data []byte) error {
	folder := filepath.Dir(path)
	if err := d.makeFolder(folder); err != nil {
		return err
	}
	temp, err := writeTemp(filepath.Join(d.root, tempFolder), data)
	if err != nil {
		return err
	}
	defer os.Remove(temp) // what stays is swept later
	linked := os.Link(temp, path)
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
	parent := filepath.Dir(path)
	if err := makeDir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
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
	path, err := d.path(name)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("get object: %w", err)
	}
	return data, nil
}

func (d *dirStore) GetRange(ctx context.Context, name string, offset, n int64) (_ []byte, err error) {
	path, err := d.path(name)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("get object: %w", err)
	}
	defer f.Close()
	data := make([]byte, n)
	if got, err := f.ReadAt(data, offset); err != nil && int64(got) < n {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("get %d bytes at %d of object %s: %w", n, offset, path, err)
	}
	return data, nil
}

func (d *dirStore) Size(ctx context.Context, name string) (int64, error) {
	path, err := d.path(name)
	if err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, fmt.Errorf("size of object: %w", err)
	}
	return info.Size(), nil
}

func (d *dirStore) Remove(ctx context.Context, name string) error {
	path, err := d.path(name)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove object: %w", err)
	}
	return nil
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

func (d *dirStore) list(ctx context.Context, folder string) ([]string, error) {
	path := d.root
	if folder != "" {
		var err error
		if path, err = d.path(strings.TrimSuffix(folder, "/")); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
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

package server

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// makeDir makes a directory, and those above it, unless it is there, so that a
// power cut does not take it away again with the logs in it.
func makeDir(dir string) error {
	parent := filepath.Dir(dir)
	if _, err := os.Stat(parent); errors.Is(err, fs.ErrNotExist) && parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			err = &fs.PathError{Op: "make directory", Path: dir, Err: errors.New("a file is in its place")}
		}
		return err
	}
	if err != nil {
		return err
	}
	d, err := vfs.Default.OpenDir(parent)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lockDir makes this process the owner of a directory, until what it returns is
// closed. Pebble's lock works on every system that Pebble works on.
func lockDir(dir string) (io.Closer, error) { return vfs.Default.Lock(filepath.Join(dir, "lock")) }

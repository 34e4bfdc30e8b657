package archive_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/internal/memdisk"
)

// A disk that fills up costs the object that did not fit, and nothing else.
func TestStoreOnAFullDisk(t *testing.T) {
	memdisk.Run(t, func(t *testing.T) {
		for _, options := range []string{"size=512k", "size=64m,nr_inodes=40"} {
			folder := memdisk.Mount(t, options)
			store := openStore(t, folder)
			object := func(i int) string { return fmt.Sprintf("log/%d/object", i) }
			data := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 10_000) }
			full := 0
			for err := error(nil); err == nil; full++ {
				if err = store.Create(t.Context(), object(full), data(full)); err != nil && !errors.Is(err, leat.ErrFull) {
					t.Fatalf("%s: Create on a full disk: %v, want ErrFull", options, err)
				}
			}
			full-- // the first that did not fit
			if _, err := store.Get(t.Context(), object(full)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: Get of what did not fit: %v, want fs.ErrNotExist", options, err)
			}
			for i := range full {
				if got, err := store.Get(t.Context(), object(i)); err != nil || !bytes.Equal(got, data(i)) {
					t.Errorf("%s: object %d on a full disk: %d bytes, %v", options, i, len(got), err)
				}
			}
			if left, err := os.ReadDir(filepath.Join(folder, "~tmp")); err != nil || len(left) > 0 {
				t.Errorf("%s: leftovers %v, %v", options, left, err)
			}
			for i := range 3 {
				if err := store.Remove(t.Context(), object(i)); err != nil {
					t.Fatalf("%s: Remove on a full disk: %v", options, err)
				}
			}
			if err := store.Create(t.Context(), object(full), data(full)); err != nil {
				t.Errorf("%s: Create when there is space again: %v", options, err)
			}
		}
	})
}

// What can only be read is read, and says why it cannot be written.
func TestStoreOnAReadOnlyDisk(t *testing.T) {
	memdisk.Run(t, func(t *testing.T) {
		folder := memdisk.Mount(t, "size=1m")
		before := openStore(t, folder)
		if err := before.Create(t.Context(), "log/a", []byte("a")); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("", folder, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Skipf("the file system cannot be made read-only here: %v", err)
		}
		for when, store := range map[string]archive.Store{"before": before, "after": openStore(t, folder)} {
			if got, err := store.Get(t.Context(), "log/a"); err != nil || string(got) != "a" {
				t.Errorf("opened %s: Get: %q, %v", when, got, err)
			}
			if err := store.Create(t.Context(), "log/b", nil); !errors.Is(err, leat.ErrDenied) {
				t.Errorf("opened %s: Create: %v, want ErrDenied", when, err)
			}
			if err := store.Remove(t.Context(), "log/a"); !errors.Is(err, leat.ErrDenied) {
				t.Errorf("opened %s: Remove: %v, want ErrDenied", when, err)
			}
		}
	})
}

package archive_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

// inNamespace is set in a child process that may mount file systems for itself.
const inNamespace = "LEAT_TEST_NAMESPACE"

// withMounts runs a test in a child process that may mount file systems, as
// every user may where the system lets users have namespaces of their own.
func withMounts(t *testing.T, f func(*testing.T)) {
	if os.Getenv(inNamespace) != "" {
		f(t)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Skipf("a process that may mount file systems of its own is not allowed here: %v", err)
	}
	err := cmd.Wait()
	switch {
	case err != nil:
		t.Errorf("in its own namespace: %v\n%s", err, &out)
	case strings.Contains(out.String(), "--- SKIP"):
		t.Skipf("in its own namespace:\n%s", &out)
	}
}

// mount mounts a file system in memory.
func mount(t *testing.T, options string) string {
	t.Helper()
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, options); err != nil {
		t.Skipf("no file system in memory can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return folder
}

// A disk that fills up costs the object that did not fit, and nothing else.
func TestStoreOnAFullDisk(t *testing.T) {
	withMounts(t, func(t *testing.T) {
		for _, options := range []string{"size=512k", "size=64m,nr_inodes=40"} {
			folder := mount(t, options)
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
	withMounts(t, func(t *testing.T) {
		folder := mount(t, "size=1m")
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

package archive_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/archive/archivetest"
)

func openStore(t testing.TB, folder string) archive.Store {
	t.Helper()
	store, err := archive.OpenStore("file://" + folder)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestStoreStaysInItsDirectory(t *testing.T) {
	folder := t.TempDir()
	store := openStore(t, filepath.Join(folder, "store"))
	for _, name := range []string{"../out", "a/../../out", "/out", "", "a//b", "."} {
		if err := store.Create(t.Context(), name, nil); !errors.Is(err, leat.ErrInvalid) {
			t.Errorf("Create(%q): %v, want ErrInvalid", name, err)
		}
		if _, err := store.Get(t.Context(), name); !errors.Is(err, leat.ErrInvalid) {
			t.Errorf("Get(%q): %v, want ErrInvalid", name, err)
		}
	}
	if _, err := archive.Open(t.Context(), store, ".."); !errors.Is(err, leat.ErrInvalid) {
		t.Errorf("open log ..: %v, want ErrInvalid", err)
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v, want nothing beside the store", entries, err)
	}
}

// What a killed writer left is invisible, and swept once nobody can need it.
func TestStoreSweepsLeftovers(t *testing.T) {
	folder := t.TempDir()
	openStore(t, folder)
	var left []string
	for i, age := range []time.Duration{0, 2 * time.Hour} {
		path := filepath.Join(folder, "~tmp", fmt.Sprintf("put-%d", i))
		if err := os.WriteFile(path, []byte("half"), 0o444); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
		left = append(left, path)
	}
	store := openStore(t, folder)
	if all := objects(t, store, ""); len(all) > 0 {
		t.Errorf("leftovers are listed: %q", all)
	}
	if _, err := os.Stat(left[0]); err != nil {
		t.Errorf("a young leftover, which may still be written: %v, want it kept", err)
	}
	if _, err := os.Stat(left[1]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an old leftover: %v, want it gone", err)
	}
}

// A disk that is not mounted any more is no archive that is empty: nothing is found
// missing, and nothing is written in its place.
func TestStoreIsGone(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "disk", "store")
	if _, err := archive.OpenStore("file://" + folder); err == nil || !strings.Contains(err.Error(), "is its disk mounted?") {
		t.Errorf("open a store where there is no disk: %v, want an error that asks for it", err)
	}
	if err := os.Mkdir(filepath.Dir(folder), 0o755); err != nil {
		t.Fatal(err)
	}
	store := openStore(t, folder)
	if err := store.Create(t.Context(), "log/a", []byte("a")); err != nil {
		t.Fatal(err)
	}
	mounted := filepath.Dir(folder)
	if err := os.Rename(mounted, mounted+"-away"); err != nil {
		t.Fatal(err)
	}
	for _, leaves := range []string{"", mounted, folder} { // nothing, and an empty mount point
		if leaves != "" {
			if err := os.Mkdir(leaves, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		_, got := store.Get(t.Context(), "log/a")
		_, size := store.Size(t.Context(), "log/b")
		var list, root error
		for _, list = range store.List(t.Context(), "log/", "") {
		}
		for _, root = range store.List(t.Context(), "", "") {
		}
		for call, err := range map[string]error{
			"Get": got, "Size": size, "List": list, "List of all": root, "Create": store.Create(t.Context(), "log/b", nil),
		} {
			if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "is its disk mounted?") {
				t.Errorf("%s without the disk: %v, want an error that asks for it", call, err)
			}
		}
	}
	for _, empty := range []string{folder, mounted} {
		if err := os.Remove(empty); err != nil {
			t.Fatalf("something was written in the place of the disk: %v", err)
		}
	}
	if err := os.Rename(mounted+"-away", mounted); err != nil {
		t.Fatal(err)
	}
	if data, err := store.Get(t.Context(), "log/a"); err != nil || string(data) != "a" {
		t.Errorf("Get with the disk: %q, %v", data, err)
	}
	if err := store.Create(t.Context(), "log/b", nil); err != nil {
		t.Errorf("Create with the disk: %v", err)
	}
}

func TestStoreURLs(t *testing.T) {
	for _, url := range []string{"s3://bucket", "archive", ""} {
		if _, err := archive.OpenStore(url); !errors.Is(err, leat.ErrUnsupported) {
			t.Errorf("%q: %v, want ErrUnsupported", url, err)
		}
	}
	if _, err := archive.OpenStore("file://"); !errors.Is(err, leat.ErrInvalid) {
		t.Errorf("file://: %v, want ErrInvalid", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.OpenStore("file://" + file); err == nil {
		t.Error("a file opens as a directory")
	}
}

func TestDirectoryStore(t *testing.T) {
	folder := t.TempDir()
	archivetest.TestStore(t, func(t testing.TB) archive.Store {
		store, err := archive.OpenStore("file://" + folder)
		if err != nil {
			t.Fatal(err)
		}
		return store
	})
}

func TestMemoryStore(t *testing.T) {
	store := newMemoryStore()
	archivetest.TestStore(t, func(testing.TB) archive.Store { return store })
}

const writeInto = "LEAT_TEST_WRITE_INTO"

// A writer that is killed leaves whole objects and nothing else. The objects it
// said were created are there.
func TestStoreIsWholeAfterKills(t *testing.T) {
	if folder := os.Getenv(writeInto); folder != "" {
		writeUntilKilled(t, openStore(t, folder))
		return
	}
	folder, rng, created := t.TempDir(), seeded(t), 0
	for range 15 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStoreIsWholeAfterKills$")
		cmd.Env = append(os.Environ(), writeInto+"="+folder)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 1 + rng.IntN(20) {
			if lines.Scan() {
				created++
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		for lines.Scan() {
			created++
		}
		_ = cmd.Wait() // killed
	}
	store := openStore(t, folder)
	all := objects(t, store, "")
	if len(all) < created || created == 0 {
		t.Errorf("%d objects are there, %d were created", len(all), created)
	}
	for _, name := range all {
		data, err := store.Get(t.Context(), name)
		if err != nil || !bytes.Equal(data, bytes.Repeat([]byte(name), 5000)) {
			t.Errorf("%s: %d bytes, %v, want all of it", name, len(data), err)
		}
	}
}

// writeUntilKilled creates objects on and on and prints a line for each.
func writeUntilKilled(t *testing.T, store archive.Store) {
	for i := 0; ; i++ {
		name := fmt.Sprintf("log/%d/object", i)
		err := store.Create(t.Context(), name, bytes.Repeat([]byte(name), 5000))
		switch {
		case err == nil:
			fmt.Println(name)
		case !errors.Is(err, fs.ErrExist):
			t.Fatal(err)
		}
	}
}

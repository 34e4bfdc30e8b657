package archive_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

func openStore(t *testing.T, folder string) archive.Store {
	t.Helper()
	store, err := archive.OpenStore("file://" + folder)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestStoreNeverReplaces(t *testing.T) {
	folder := t.TempDir()
	var created atomic.Int32
	var winner atomic.Value
	var wg sync.WaitGroup
	for i := range 8 {
		store := openStore(t, folder) // as if each were a process
		wg.Go(func() {
			data := bytes.Repeat([]byte{byte(i)}, 100_000)
			err := store.Create(t.Context(), "a/b/c", data)
			switch {
			case err == nil:
				created.Add(1)
				winner.Store(data)
			case !errors.Is(err, fs.ErrExist):
				t.Errorf("Create: %v, want nil or ErrExist", err)
			}
		})
	}
	wg.Wait()
	if created.Load() != 1 {
		t.Fatalf("%d of 8 created the object, want 1", created.Load())
	}
	got, err := openStore(t, folder).Get(t.Context(), "a/b/c")
	if err != nil || !bytes.Equal(got, winner.Load().([]byte)) {
		t.Errorf("Get: %d bytes, %v, want what the winner wrote", len(got), err)
	}
}

func TestStoreListsAndGets(t *testing.T) {
	store := openStore(t, t.TempDir())
	for _, name := range []string{"log/b.json", "log/a.json", "log/c/d.json", "log/c/e.json"} {
		if err := store.Create(t.Context(), name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	for folder, want := range map[string][]string{
		"": {"log/"}, "log/": {"a.json", "b.json", "c/"}, "log/c/": {"d.json", "e.json"}, "none/": nil,
	} {
		var got []string
		for name, err := range store.List(t.Context(), folder, "") {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("List(%q): %q, want %q", folder, got, want)
		}
	}
	if _, err := store.Get(t.Context(), "log/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Get of nothing: %v, want ErrNotExist", err)
	}
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

package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/leathq/leat/internal/durable"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := durable.WriteFile(path, []byte(content)); err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, path, content string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != content {
		t.Errorf("the file holds %q, %v; want %q", got, err, content)
	}
}

func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, content := range []string{"a longer content", "short", ""} {
		write(t, path, content)
		want(t, path, content)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("beside the file are %v, %v; want nothing", entries, err)
	}
}

// What a writer that was killed left behind is not in the way, nor in the file.
func TestLeftovers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	write(t, path, "old")
	if err := os.WriteFile(path+".new", []byte("half of something longer"), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, path, "old")
	write(t, path, "new")
	want(t, path, "new")
}

// Whatever fails, the old file stays as it is.
func TestFailures(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"the new file cannot be made": func(path string) error { return os.Mkdir(path+".new", 0o700) },
		"the disk is full": func(path string) error {
			if _, err := os.Stat("/dev/full"); err != nil {
				return errors.ErrUnsupported
			}
			return os.Symlink("/dev/full", path+".new")
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			write(t, path, "old")
			if err := spoil(path); errors.Is(err, errors.ErrUnsupported) {
				t.Skip("this system has no /dev/full")
			} else if err != nil {
				t.Fatal(err)
			}
			if err := durable.WriteFile(path, []byte("new")); err == nil {
				t.Error("the file was written")
			}
			want(t, path, "old")
		})
	}

	t.Run("it cannot be renamed", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(path, "inside"), "old")
		if err := durable.WriteFile(path, []byte("new")); err == nil {
			t.Error("a file took the place of a directory")
		}
		want(t, filepath.Join(path, "inside"), "old")
	})
	t.Run("there is no directory", func(t *testing.T) {
		err := durable.WriteFile(filepath.Join(t.TempDir(), "none", "file"), nil)
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, want ErrNotExist", err)
		}
	})
}

package engine_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
)

// Space that is reserved ahead is little in a small log, and none is left to a
// file that takes no further group.
func TestReservedSpace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	log, err := engine.Create(dir, leat.Config{}, manyFiles(vfs.Default, 1<<20, 0))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	mustAppend(t, log, event("small"))
	if took := occupied(t, dir)[0]; took.space > 512<<10 {
		t.Errorf("with one event, %s takes %d bytes of the disk, want 512 KiB at most", took.name, took.space)
	}
	for i := range 50 {
		e := event(fmt.Sprint("large-", i))
		e.Data = make([]byte, 100<<10)
		mustAppend(t, log, e)
	}
	files := occupied(t, dir)
	if len(files) < 4 {
		t.Fatalf("5 MB make %d files, want at least 4", len(files))
	}
	for _, f := range files[:len(files)-1] {
		if f.space > f.size+64<<10 {
			t.Errorf("%s holds %d bytes and takes %d of the disk", f.name, f.size, f.space)
		}
	}
}

type occupation struct {
	name        string
	size, space int64 // bytes
}

// occupied tells what the files of blocks of a log take, in order.
func occupied(t *testing.T, dir string) []occupation {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "blocks", "0*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no files of blocks (%v)", err)
	}
	var files []occupation
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		stat := info.Sys().(*syscall.Stat_t)
		files = append(files, occupation{filepath.Base(name), info.Size(), 512 * stat.Blocks})
	}
	return files
}

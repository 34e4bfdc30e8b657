package engine_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
)

// TestStats compares what Stats says with what there is, before and after the
// log is opened again.
func TestStats(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	o := engine.Options{GenerationEvents: 64}.WithFileBytes(16 << 10) // so that there are several
	log, err := engine.Create(dir, leat.Config{}, o)
	if err != nil {
		t.Fatal(err)
	}
	appendBlocks(t, log, 200)
	s := log.Stats()
	bytes := s.Bytes
	if s.Events != 600 || s.Recorded != 600 || s.Groups != 200 {
		t.Errorf("got %d events, %d recorded in %d groups, want 600, 600 and 200", s.Events, s.Recorded, s.Groups)
	}
	if s.Syncs.Count < s.Groups || s.Syncs.Sum < s.Syncs.Max || s.Syncs.Max <= 0 {
		t.Errorf("got %+v of %d groups, want a sync for each", s.Syncs, s.Groups)
	}
	for i, n := range s.Syncs.Within[1:] {
		if n < s.Syncs.Within[i] || n > s.Syncs.Count {
			t.Errorf("got %d syncs of at most %v, %d of at most %v, and %d in all",
				s.Syncs.Within[i], engine.LatencyBounds[i], n, engine.LatencyBounds[i+1], s.Syncs.Count)
		}
	}
	for range 3 {
		s := log.Stats()
		if want := lengths(t, dir, "*") + lengths(t, dir, "blocks/*"); !near(s.DiskBytes, want) {
			t.Errorf("got %d bytes on the disk, the files have %d", s.DiskBytes, want)
		}
		if want := lengths(t, dir, "blocks/*"); s.BlockBytes != want || s.BlockFiles != count(t, dir, "blocks/*") {
			t.Errorf("got %d files of blocks with %d bytes, there are %d with %d", s.BlockFiles, s.BlockBytes, count(t, dir, "blocks/*"), want)
		}
		if s.BlockBytes <= bytes {
			t.Errorf("got %d bytes of files of blocks, of which %d are blocks", s.BlockBytes, bytes)
		}
		closeLog(t, log)
		if log, err = engine.Open(dir, o); err != nil {
			t.Fatal(err)
		}
	}
	closeLog(t, log)
	if got := log.Stats(); got.DiskBytes != 0 || got.Events != 600 {
		t.Errorf("closed, the log has %d bytes and %d events, want 0 and 600", got.DiskBytes, got.Events)
	}
}

// near allows for files that come and go.
func near(a, b uint64) bool { return max(a, b)-min(a, b) <= max(a, b)/10 }

// lengths returns the lengths of the files of a pattern, together.
func lengths(t *testing.T, dir, pattern string) (bytes uint64) {
	t.Helper()
	for _, path := range glob(t, dir, pattern) {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			bytes += uint64(info.Size())
		}
	}
	return bytes
}

func count(t *testing.T, dir, pattern string) uint64 {
	t.Helper()
	return uint64(len(glob(t, dir, pattern)))
}

func glob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

package archive_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/archive/archivetest"
)

func TestRememberedStore(t *testing.T) {
	store, dir := archive.Remembered(newMemoryStore(), t.TempDir()), t.TempDir()
	archivetest.TestStore(t, func(testing.TB) archive.Store { return store })
	archivetest.TestStore(t, func(t testing.TB) archive.Store {
		return archive.Remembered(openStore(t, filepath.Join(dir, "store")), filepath.Join(dir, "archives"))
	})
}

// After a start without the disk there is an empty folder where the archive was.
// No other archive is begun there, and what the log has trimmed is not taken for
// lost, until somebody says so.
func TestNoArchiveIsBegunInThePlaceOfAnother(t *testing.T) {
	dir := t.TempDir()
	folder, memory := filepath.Join(dir, "disk"), filepath.Join(dir, "data", "archives")
	open := func() archive.Store { return archive.Remembered(openStore(t, folder), memory) }
	log, rng := newLog(t, leat.Config{ID: "shop"}, nil), seeded(t)
	appendSome(t, log, rng, 20)
	flush(t, newArchiver(t, log, open()), log)
	if _, err := log.Trim(t.Context(), leat.ShardNumber(0), 11); err != nil {
		t.Fatal(err)
	}
	early := func() error {
		tier := archive.LazyTier(log, func(ctx context.Context) (*archive.Archive, error) { return archive.Open(ctx, open(), "shop") })
		_, err := tier.ReadShard(t.Context(), leat.ShardNumber(0), 0, leat.ReadOptions{})
		return err
	}
	if err := early(); err != nil {
		t.Fatal(err)
	}

	if err := os.Rename(folder, folder+"-away"); err != nil {
		t.Fatal(err)
	}
	empty := open()
	file := filepath.Join(memory, "shop.json")
	_, err := archive.Open(t.Context(), empty, "shop")
	if !errors.Is(err, leat.ErrUnavailable) || errors.Is(err, leat.ErrNotFound) || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "file://"+folder) {
		t.Errorf("open: %v; want ErrUnavailable that names the place and the file", err)
	}
	if _, err := archive.Open(t.Context(), empty, "other"); !errors.Is(err, leat.ErrNotFound) {
		t.Errorf("open an archive that never was: %v, want ErrNotFound", err)
	}
	if err := newArchiver(t, log, empty).Flush(t.Context(), head(t, log)); !errors.Is(err, leat.ErrUnavailable) {
		t.Errorf("archive the log: %v, want ErrUnavailable", err)
	}
	if err := early(); !errors.Is(err, leat.ErrUnavailable) {
		t.Errorf("read what is only archived: %v, want ErrUnavailable", err)
	}
	if all := objects(t, empty, ""); len(all) > 0 {
		t.Errorf("in the place of the archive are %q", all)
	}

	if err := os.Rename(folder, folder+"-empty"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(folder+"-away", folder); err != nil {
		t.Fatal(err)
	}
	appendSome(t, log, rng, 5)
	flush(t, newArchiver(t, log, empty), log) // which is the disk again

	if err := os.Rename(folder+"-empty", folder+"-new"); err != nil {
		t.Fatal(err)
	}
	folder += "-new"
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	other := newLog(t, leat.Config{ID: "shop"}, nil)
	appendSome(t, other, rng, 3)
	flush(t, newArchiver(t, other, open()), other)
}

// An archive that was there before anything was remembered is remembered when it is
// found.
func TestAnArchiveOfBeforeIsRemembered(t *testing.T) {
	dir := t.TempDir()
	store := openStore(t, filepath.Join(dir, "disk"))
	log, rng := newLog(t, leat.Config{ID: "shop"}, nil), seeded(t)
	appendSome(t, log, rng, 3)
	flush(t, newArchiver(t, log, store), log)
	memory := filepath.Join(dir, "archives")
	if _, err := archive.Open(t.Context(), archive.Remembered(store, memory), "shop"); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Open(t.Context(), archive.Remembered(newMemoryStore(), memory), "shop"); !errors.Is(err, leat.ErrUnavailable) {
		t.Errorf("open it elsewhere: %v, want ErrUnavailable", err)
	}
}

package keep_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/server/keep"
)

// A server that is started again without the disk of its archive begins no other
// in its place, takes nothing for lost, and goes on when the disk is there.
func TestStartWithoutTheDisk(t *testing.T) {
	disk, data := filepath.Join(t.TempDir(), "disk"), t.TempDir()
	key, err := archive.LoadKey(filepath.Join(data, "key"))
	if err != nil {
		t.Fatal(err)
	}
	config := func(c *keep.Config) {
		c.Dir, c.Key = data, key
		c.Open = func(context.Context) (archive.Store, error) { return archive.OpenStore("file://" + disk) }
	}
	log := newLog(t, 2)
	k := start(t, log, nil, config)
	k.await(t, "leat_archive_lag_events", is(0))
	if _, err := k.Trim(t.Context(), shard, 11); err != nil {
		t.Fatal(err)
	}
	k.await(t, "leat_archive_lag_events", is(0))
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}

	if err := os.Rename(disk, disk+"-away"); err != nil {
		t.Fatal(err)
	}
	k = start(t, log, nil, config, func(c *keep.Config) { c.RetainBytes, c.CacheBytes = 1, 1 })
	k.await(t, "leat_archive_failing", is(1))
	k.await(t, "leat_archive_errors_total", above(0))
	if _, err := k.Reader().ReadShard(t.Context(), shard, 0, leat.ReadOptions{}); !errors.Is(err, leat.ErrUnavailable) {
		t.Errorf("read what is only archived: %v, want ErrUnavailable", err)
	}
	appendTo(t, log, 3)
	empty, err := archive.OpenStore("file://" + disk)
	if err != nil {
		t.Fatal(err)
	}
	if logs, err := archive.Logs(t.Context(), empty); err != nil || len(logs) > 0 {
		t.Errorf("in the place of the archive are those of %q, %v", logs, err)
	}

	if err := os.RemoveAll(disk); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(disk+"-away", disk); err != nil {
		t.Fatal(err)
	}
	k.await(t, "leat_archive_failing", is(0))
	k.await(t, "leat_archive_lag_events", is(0))
	if got := readAll(t, k.Reader()); len(got) < 23 {
		t.Errorf("%d events can be read, want all", len(got))
	}
}

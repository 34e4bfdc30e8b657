package keep_test

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/server/keep"
)

// While the store fails or refuses, metrics tell, and the log goes on; then what
// was missed is archived.
func TestStoreFails(t *testing.T) {
	for name, failure := range map[string]error{
		"down": errors.New("the store answered 503"), "denied": leat.ErrDenied, "full": leat.ErrFull, "no bucket": leat.ErrNotFound,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait for the archiver to try again
			p := newPlace(t)
			p.set(failure, nil)
			k := start(t, newLog(t, 2), p)
			k.await(t, "leat_archive_failing", is(1))
			if _, there := k.figure("leat_archive_lag_events"); there {
				t.Error("there is a lag before it can be known")
			}
			p.set(nil, nil)
			k.await(t, "leat_archive_events_total", is(20))
			k.await(t, "leat_archive_failing", is(0))
			errs, _ := k.figure("leat_archive_errors_total")
			success, _ := k.figure("leat_archive_success_timestamp_seconds")

			p.set(failure, nil)
			appendTo(t, k.log, 7)
			k.await(t, "leat_archive_failing", is(1))
			k.await(t, "leat_archive_errors_total", above(errs))
			k.await(t, "leat_archive_lag_events", is(7))
			k.await(t, "leat_archive_lag_seconds", above(0))
			k.await(t, "leat_archive_store_failures_total create", above(0))
			if now, _ := k.figure("leat_archive_success_timestamp_seconds"); now < success {
				t.Errorf("the last success was at %v and then at %v", success, now)
			}
			p.set(nil, nil)
			k.await(t, "leat_archive_lag_events", is(0))
			k.await(t, "leat_archive_events_total", is(27))
			k.await(t, "leat_archive_success_timestamp_seconds", above(success))
			if failure == leat.ErrDenied { //nolint:errorlint // it is this one
				if p.mu.Lock(); p.opens < 3 {
					t.Errorf("the store was opened %d times, want again after it denied", p.opens)
				}
				p.mu.Unlock()
			}
		})
	}
}

// While the store fails only those cannot read who want what the log has removed,
// and was not read before.
func TestReadsWithoutArchive(t *testing.T) {
	p, log := newPlace(t), newLog(t, 4)
	k := start(t, log, p, func(c *keep.Config) {
		c.CompactEvery = time.Hour
		c.SegmentBytes = 1 // so that no segment has events of two rounds
	})
	k.await(t, "leat_archive_lag_events", is(0))
	for removed := uint64(10); removed <= 30; removed += 10 {
		if _, err := k.Trim(t.Context(), shard, removed+1); err != nil {
			t.Fatal(err)
		}
		k.await(t, "leat_archive_lag_events", is(0))
		p.set(errors.New("the store answered 503"), nil)
		appendTo(t, log, 1)
		first, err := k.Reader().ReadShard(t.Context(), shard, removed-10, leat.ReadOptions{})
		if !errors.Is(err, leat.ErrUnavailable) {
			t.Errorf("reading what was removed: %+v, %v; want ErrUnavailable", first, err)
		}
		if b, err := k.Reader().ReadShard(t.Context(), shard, removed, leat.ReadOptions{}); err != nil || len(b.Events) == 0 {
			t.Errorf("reading what is kept: %+v, %v", b, err)
		}
		p.set(nil, nil)
		k.await(t, "leat_archive_lag_events", is(0))
		if got := readAll(t, k.Reader()); len(got) < 41 {
			t.Errorf("%d events can be read, want all", len(got))
		}
		readShardUpTo(t, k.Reader(), removed)
		p.set(errors.New("the store answered 503"), nil)
		readShardUpTo(t, k.Reader(), removed) // from the cache
		p.set(nil, nil)
	}
}

// readShardUpTo reads a shard from its beginning.
func readShardUpTo(t testing.TB, log leat.Log, seq uint64) {
	t.Helper()
	for after := uint64(0); after < seq; {
		b, err := log.ReadShard(t.Context(), shard, after, leat.ReadOptions{})
		if err != nil {
			t.Fatalf("read after %d: %v", after, err)
		}
		after = b.Next
	}
}

// A store that does not answer is told by how long it has not; what waits for it
// ends when the server does.
func TestStoreStalls(t *testing.T) {
	p := newPlace(t)
	k := start(t, newLog(t, 1), p)
	k.await(t, "leat_archive_lag_events", is(0))
	stall := make(chan struct{})
	p.set(nil, stall)
	appendTo(t, k.log, 5)
	k.await(t, "leat_archive_store_waiting", above(0))
	k.await(t, "leat_archive_store_waiting_seconds", above(0.05))
	k.await(t, "leat_archive_lag_events", is(5))
	k.await(t, "leat_archive_lag_seconds", above(0.05))
	close(stall)
	k.await(t, "leat_archive_lag_events", is(0))
	p.set(nil, make(chan struct{})) // for good
	appendTo(t, k.log, 5)
	k.await(t, "leat_archive_store_waiting", above(0))
	if err := k.Close(); err != nil { // and not never
		t.Error(err)
	}
}

// What only somebody can mend is told apart from what passes.
func TestStopped(t *testing.T) {
	p, log := newPlace(t), newLog(t, 1)
	first := start(t, log, p)
	first.await(t, "leat_archive_events_total", is(10))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	k := start(t, log, p) // with another key
	k.await(t, "leat_archive_stopped", is(1))
	k.await(t, "leat_archive_failing", is(1))
	appendTo(t, log, 3)
	if got := len(readAll(t, k.Reader())); got != 13 {
		t.Errorf("%d events can be read, want 13", got)
	}
}

// When it is mended, archiving goes on by itself.
func TestMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, log := newPlace(t), newLog(t, 1)
		k := start(t, log, p, func(c *keep.Config) { c.MaxAge, c.RetainEvery, c.CompactEvery = time.Minute, 0, 0 })
		check := func(want map[string]float64) {
			t.Helper()
			for name, value := range want {
				if got, there := k.figure(name); !there || got != value {
					t.Errorf("%s is %v, %v, want %v", name, got, there, value)
				}
			}
		}
		time.Sleep(2 * time.Minute)
		check(map[string]float64{"leat_archive_stopped": 0, "leat_archive_lag_events": 0})
		p.set(leat.ErrCorrupt, nil)
		appendTo(t, log, 3)
		for range 5 { // it is tried from time to time, and that looks no better
			time.Sleep(7 * time.Minute)
			check(map[string]float64{"leat_archive_stopped": 1, "leat_archive_failing": 1, "leat_archive_lag_events": 3})
		}
		p.set(nil, nil)
		time.Sleep(12 * time.Minute)
		check(map[string]float64{"leat_archive_stopped": 0, "leat_archive_failing": 0, "leat_archive_lag_events": 0})
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
}

// What was mended and then goes wrong in the same way is news.
func TestStoppedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, log := newPlace(t), newLog(t, 1)
		var told strings.Builder
		k := start(t, log, p, func(c *keep.Config) {
			c.MaxAge, c.RetainEvery, c.CompactEvery = time.Minute, 0, 0
			c.Logger = slog.New(slog.NewTextHandler(&told, nil))
		})
		time.Sleep(2 * time.Minute)
		for times := 1; times <= 2; times++ { // compaction is due in the midst of each
			p.set(leat.ErrCorrupt, nil)
			appendTo(t, log, 3)
			time.Sleep(9 * time.Minute)
			p.set(nil, nil)
			time.Sleep(3 * time.Minute)
			if stopped, _ := k.figure("leat_archive_stopped"); stopped != 0 {
				t.Errorf("leat_archive_stopped is %v when it is mended, want 0", stopped)
			}
			if got := strings.Count(told.String(), "level=ERROR"); got != times {
				t.Errorf("%d errors are logged, want %d:\n%s", got, times, told.String())
			}
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Retention and compaction that fail are told, and do not keep the log from being
// archived. Nothing is removed that is damaged in the archive.
func TestChoresFail(t *testing.T) {
	p, log := newPlace(t), newLog(t, 4)
	k := start(t, log, p, func(c *keep.Config) { c.RetainEvery, c.CompactEvery = time.Hour, time.Hour })
	k.await(t, "leat_archive_events_total", is(40))
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	var segments []string
	for name, err := range p.List(t.Context(), "shop/segments/"+string(shard)+"/", "") {
		if err != nil {
			t.Fatal(err)
		}
		segments = append(segments, name)
	}
	if err := p.Remove(t.Context(), "shop/segments/"+string(shard)+"/"+segments[0]); err != nil {
		t.Fatal(err)
	}
	again, err := archive.LoadKey(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	k = start(t, log, p, func(c *keep.Config) {
		c.RetainBytes, c.Key, c.NewKey = 1, again, true
	})
	k.await(t, "leat_retention_errors_total", above(1))
	k.await(t, "leat_compaction_errors_total", above(1))
	appendTo(t, log, 3)
	k.await(t, "leat_archive_events_total", is(3))
	if shards, err := log.Shards(t.Context()); err != nil || shards[0].Oldest != 1 {
		t.Errorf("%+v, %v; want nothing removed", shards, err)
	}
}

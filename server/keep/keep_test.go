package keep_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/server"
	"github.com/leathq/leat/server/keep"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const shard = leat.ShardID("shardId-000000000000")

// A testLog is a log as a server has it.
type testLog struct{ *leattest.Log }

func (testLog) Stats() server.Stats { return server.Stats{} }

// newLog returns a log of the given number of days up to now, with 10 events a
// day.
func newLog(t testing.TB, days int) testLog {
	t.Helper()
	clock := time.Now().Add(-time.Duration(days) * 24 * time.Hour)
	log, err := leattest.New(leat.Config{ID: "shop"}, func() time.Time { return clock })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	for range days {
		clock = clock.Add(24 * time.Hour)
		appendTo(t, log, 10)
	}
	return testLog{log}
}

func appendTo(t testing.TB, log leat.Log, n int) {
	t.Helper()
	for i := range n {
		e := leat.Event{Stream: fmt.Sprintf("order-%d", i), Type: "Counted", Source: "test", Data: []byte(`{"n":1}`)}
		if _, err := log.Append(t.Context(), []leat.Event{e}); err != nil {
			t.Fatal(err)
		}
	}
}

// A place is where archives are, and can be made to fail.
type place struct {
	archive.Store

	mu    sync.Mutex
	fail  error         // of all calls
	stall chan struct{} // calls wait for it
	opens int
}

func newPlace(t testing.TB) *place {
	t.Helper()
	store, err := archive.OpenStore("file://" + t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &place{Store: store}
}

func (p *place) set(fail error, stall chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail, p.stall = fail, stall
}

func (p *place) open(context.Context) (archive.Store, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opens++
	return p, p.fail
}

// pass returns once a call may go on.
func (p *place) pass(ctx context.Context) error {
	p.mu.Lock()
	fail, stall := p.fail, p.stall
	p.mu.Unlock()
	if stall != nil {
		select {
		case <-stall:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fail
}

func (p *place) Create(ctx context.Context, name string, data []byte) error {
	if err := p.pass(ctx); err != nil {
		return err
	}
	return p.Store.Create(ctx, name, data)
}

func (p *place) Get(ctx context.Context, name string) ([]byte, error) {
	if err := p.pass(ctx); err != nil {
		return nil, err
	}
	return p.Store.Get(ctx, name)
}

func (p *place) List(ctx context.Context, folder, after string) iter.Seq2[string, error] {
	if err := p.pass(ctx); err != nil {
		return func(yield func(string, error) bool) { yield("", err) }
	}
	return p.Store.List(ctx, folder, after)
}

// A keeping is a log that is kept, and what with.
type keeping struct {
	server.Kept
	archive *keep.Archive
	log     testLog
	place   *place
}

// start begins to keep a log.
func start(t testing.TB, log testLog, p *place, change ...func(*keep.Config)) *keeping {
	t.Helper()
	dir := t.TempDir()
	key, err := archive.LoadKey(filepath.Join(dir, "key"))
	if err != nil {
		t.Fatal(err)
	}
	c := keep.Config{
		Open: p.open, URL: "test://place", Key: key, Dir: dir, MaxAge: 10 * time.Millisecond, SegmentBytes: 1 << 10,
		RetainEvery: 10 * time.Millisecond, CompactEvery: 20 * time.Millisecond,
	}
	for _, f := range change {
		f(&c)
	}
	a, err := keep.New(c)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := a.Keep(t.Context(), "orders", log)
	if err != nil {
		t.Fatal(err)
	}
	kept.Start()
	t.Cleanup(func() {
		if err := kept.Close(); err != nil {
			t.Error(err)
		}
	})
	return &keeping{kept, a, log, p}
}

// figure returns a figure by its name and, after a space, the value of its label.
func (k *keeping) figure(name string) (float64, bool) {
	name, label, _ := strings.Cut(name, " ")
	for _, f := range slices.Concat(k.Figures(), k.archive.Figures()) {
		if f.Name != name {
			continue
		}
		if label == "" {
			return f.Value, true
		}
		for _, value := range f.Labels {
			if value == label {
				return f.Value, true
			}
		}
	}
	return 0, false
}

// await waits until a figure has a value that will do.
func (k *keeping) await(t testing.TB, name string, will func(float64) bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		value, there := k.figure(name)
		if there && will(value) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is %v, %v", name, value, there)
		}
		time.Sleep(time.Millisecond)
	}
}

func is(want float64) func(float64) bool { return func(v float64) bool { return v == want } }

func above(than float64) func(float64) bool { return func(v float64) bool { return v > than } }

// A log is archived, compacted, and trimmed of what is old, and can be read from
// its beginning.
func TestKeep(t *testing.T) {
	log := newLog(t, 6)
	before := readAll(t, log)
	k := start(t, log, newPlace(t), func(c *keep.Config) { c.RetainAge = 3 * 24 * time.Hour })
	k.await(t, "leat_archive_events_total", above(59))
	k.await(t, "leat_archive_lag_events", is(0))
	k.await(t, "leat_archive_lag_seconds", is(0))
	k.await(t, "leat_retention_removed_events_total", above(9))
	k.await(t, "leat_compaction_events_total", above(29))
	k.await(t, "leat_retention_verified_head "+string(shard), above(9))
	k.await(t, "leat_archive_head "+string(shard), above(59))
	for _, name := range []string{
		"leat_archive_segments_total", "leat_archive_event_bytes_total", "leat_archive_segment_bytes_total",
		"leat_archive_success_timestamp_seconds", "leat_retention_success_timestamp_seconds", "leat_compaction_success_timestamp_seconds",
		"leat_retention_kept_bytes", "leat_archive_store_calls_total create", "leat_archive_store_calls_total get", "leat_archive_store_calls_total list",
	} {
		k.await(t, name, above(0))
	}
	for _, name := range []string{
		"leat_archive_failing", "leat_archive_stopped", "leat_archive_errors_total", "leat_retention_errors_total", "leat_compaction_errors_total",
		"leat_archive_store_failures_total create", "leat_archive_cache_misses_total",
	} {
		if value, there := k.figure(name); !there || value != 0 {
			t.Errorf("%s is %v, %v, want 0", name, value, there)
		}
	}
	shards, err := log.Shards(t.Context())
	if err != nil || shards[0].Oldest < 11 || shards[0].Oldest > 41 {
		t.Errorf("the log keeps %+v, %v, want about half of the 60", shards, err)
	}
	if after := readAll(t, k.Reader()); !slices.Equal(after[:len(before)], before) {
		t.Errorf("the log held\n%v, and reads\n%v", before, after)
	}
	k.await(t, "leat_archive_cache_misses_total", above(0))
	k.await(t, "leat_archive_cache_miss_bytes_total", above(0))
	k.await(t, "leat_archive_cache_bytes", above(0))
	readAll(t, k.Reader())
	k.await(t, "leat_archive_cache_hits_total", above(0))
	k.await(t, "leat_archive_cache_hit_bytes_total", above(0))
}

// readAll returns the stream, version and sequence of all events of a log.
func readAll(t testing.TB, log leat.Log) []string {
	t.Helper()
	var all []string
	for e, err := range leat.Read(t.Context(), log, leat.Filter{}, leat.Checkpoint{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s@%d %d", e.Stream, e.Version, e.Seq))
	}
	return all
}

// A copy of a log beside it would go on in the same archive, as if a restore had
// begun a new epoch.
func TestCopies(t *testing.T) {
	p, log := newPlace(t), newLog(t, 1)
	k := start(t, log, p)
	k.await(t, "leat_archive_lag_events", is(0))
	backup, err := k.archive.Keep(t.Context(), "backup", newLog(t, 2))
	if err != nil {
		t.Fatal(err)
	}
	backup.Start()
	second := &keeping{backup, k.archive, log, p}
	second.await(t, "leat_archive_stopped", is(1))
	if n, _ := k.figure("leat_archive_stopped"); n != 0 {
		t.Error("the log that was there is not archived any more")
	}
	if err := backup.Close(); err != nil {
		t.Fatal(err)
	}

	again, err := k.archive.Keep(t.Context(), "backup", newLog(t, 2))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	again.Start() // there is no other any more
	if n, _ := (&keeping{again, k.archive, log, p}).figure("leat_archive_stopped"); n != 0 {
		t.Error("the only log with its ID is not archived")
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

// At the start of a server, all logs are known before any begins: of two that are
// copies neither is archived.
func TestCopiesAtTheStart(t *testing.T) {
	p := newPlace(t)
	k := start(t, newLog(t, 1), p) // for what it is kept with
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	appended := newLog(t, 2)
	var both []*keeping
	for _, name := range []string{"orders", "backup"} {
		kept, err := k.archive.Keep(t.Context(), name, appended)
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, &keeping{kept, k.archive, appended, p})
	}
	for _, k := range both {
		k.Start()
	}
	for _, k := range both {
		if stopped, _ := k.figure("leat_archive_stopped"); stopped != 1 {
			t.Error("one of two logs with the same ID is archived")
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What was recorded last is archived when the server ends.
func TestCloseArchives(t *testing.T) {
	p, log := newPlace(t), newLog(t, 1)
	k := start(t, log, p, func(c *keep.Config) { c.MaxAge = time.Hour })
	k.await(t, "leat_archive_success_timestamp_seconds", above(0))
	appendTo(t, log, 5)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	p.archivedUpTo(t, 15)
}

// Also when the store had just failed, and is well again.
func TestCloseArchivesWhatHadFailed(t *testing.T) {
	p, log := newPlace(t), newLog(t, 1)
	k := start(t, log, p)
	k.await(t, "leat_archive_lag_events", is(0))
	p.set(errors.New("the store answered 503"), nil)
	appendTo(t, log, 5)
	k.await(t, "leat_archive_failing", is(1))
	p.set(nil, nil)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	p.archivedUpTo(t, 15)
}

// archivedUpTo checks how far the shard is archived.
func (p *place) archivedUpTo(t testing.TB, want uint64) {
	t.Helper()
	a, err := archive.Open(t.Context(), p.Store, "shop")
	if err != nil {
		t.Fatal(err)
	}
	if c, err := a.Checkpoint(t.Context()); err != nil || c.Seqs[shard] != want {
		t.Errorf("archived up to %s, %v; want %d", c, err, want)
	}
}

// Nobody can make a hole in the archive by trimming the log.
func TestTrim(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.set(errors.New("down"), nil)
	k := start(t, newLog(t, 1), p)
	if _, err := k.Trim(t.Context(), shard, 2); !errors.Is(err, leat.ErrInvalid) {
		t.Errorf("before anything is archived: %v, want ErrInvalid", err)
	}
	p.set(nil, nil)
	k.await(t, "leat_archive_lag_events", is(0))
	if oldest, err := k.Trim(t.Context(), shard, 5); err != nil || oldest != 5 {
		t.Errorf("what is archived: %d, %v", oldest, err)
	}
	if oldest, err := k.Trim(t.Context(), shard, 1); err != nil || oldest != 5 {
		t.Errorf("the trim of nothing: %d, %v, want the oldest event", oldest, err)
	}
}

// An operator finds each metric in the page about operations.
func TestFiguresAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	k := start(t, newLog(t, 1), newPlace(t))
	k.await(t, "leat_archive_lag_events", is(0))
	for _, f := range slices.Concat(k.Figures(), k.archive.Figures()) {
		if !strings.Contains(string(page), "`"+f.Name+"`") && !strings.Contains(string(page), "`"+f.Name+"{") {
			t.Errorf("%s is not there", f.Name)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	key, err := archive.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	open := newPlace(t).open
	for name, c := range map[string]keep.Config{
		"archive":       {Key: key, Dir: t.TempDir()},
		"archive key":   {Open: open, Dir: t.TempDir()},
		"directory":     {Open: open, Key: key},
		"retention":     {Open: open, Key: key, Dir: t.TempDir(), RetainAge: -1},
		"intervals":     {Open: open, Key: key, Dir: t.TempDir(), CompactEvery: -1},
		"archive cache": {Open: open, Key: key, Dir: t.TempDir(), CacheBytes: -1},
	} {
		if _, err := keep.New(c); !errors.Is(err, leat.ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want ErrInvalid that names it", name, err)
		}
	}
	if _, err := keep.New(keep.Config{Open: open, Key: key, Dir: filepath.Join(t.TempDir(), "\x00")}); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that cannot be made: %v", err)
	}
}

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
)

func TestBackup(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "backups", "monday")
	log, err := engine.Create(filepath.Join(dir, "log"), leat.Config{}, engine.Options{GenerationEvents: 64})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { closeLog(t, log) }()
	appendBlocks(t, log, 100)
	first := mustAppend(t, log, event("a"), event("b"))
	early, err := leat.Start(t.Context(), log, leat.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Backup(t.Context(), target+string(filepath.Separator)); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, log, event("c"))
	late, err := leat.Start(t.Context(), log, leat.Now)
	if err != nil {
		t.Fatal(err)
	}
	if names := list(t, filepath.Dir(target)); !reflect.DeepEqual(names, []string{"monday"}) {
		t.Errorf("beside the copy there are %q", names)
	}
	mustCheck(t, vfs.Default, target)

	info, err := log.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the epoch is raised once
		backup, err := engine.Open(target, engine.Options{})
		if err != nil {
			t.Fatalf("open the copy: %v", err)
		}
		got, err := backup.Info(t.Context())
		want := info
		want.Epoch, want.Created = 2, got.Created
		want.Ended = []leat.Epoch{{Number: 1, Heads: map[leat.ShardID]uint64{leat.ShardNumber(0): first.Last}}}
		if err != nil || !reflect.DeepEqual(got, want) || !got.Created.After(info.Created) {
			t.Errorf("the copy is\n%+v, %v, want\n%+v", got, err, want)
		}
		r := mustAppend(t, backup, event("a"), event("b"))
		if want := first; !r.Duplicate || r.Last != want.Last || !r.At.Equal(want.At) {
			t.Errorf("the copy answers a duplicate with %+v, want %+v", r, want)
		}
		for _, err := range leat.Follow(t.Context(), backup, leat.Filter{}, late) {
			if !errors.Is(err, leat.ErrDiverged) {
				t.Errorf("follow the copy from beyond its end: got %v, want ErrDiverged", err)
			}
			break
		}
		for b, err := range leat.Follow(t.Context(), backup, leat.Filter{}, early) {
			if err != nil || len(b.Events) != 0 {
				t.Errorf("follow the copy from its end: got %d events, %v", len(b.Events), err)
			}
			break
		}
		closeLog(t, backup)
	}
	mustCheck(t, vfs.Default, target)
}

// A copy whose mark is damaged is not taken for one that was opened before.
func TestDamagedBackup(t *testing.T) {
	for _, mark := range []string{"", "one", "2", "-1"} {
		disk := newDisk()
		log := create(t, disk, engine.Options{})
		mustAppend(t, log, event("a"))
		if err := log.Backup(t.Context(), "backup"); err != nil {
			t.Fatal(err)
		}
		f, err := disk.Create("backup/BACKUP", vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(mark)); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := engine.Open("backup", engine.Options{FS: disk}); !errors.Is(err, leat.ErrCorrupt) || !strings.Contains(err.Error(), "BACKUP") {
			t.Errorf("with the mark %q: got %v, want ErrCorrupt that names the file", mark, err)
		}
	}
}

func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestBackupUnderWork makes copies of logs at work: each holds what was promised
// before, nothing in part, and nothing that the log has not.
func TestBackupUnderWork(t *testing.T) {
	var copies atomic.Int64
	campaign(t, nil, func(seed uint64) (bool, error) {
		rng := seeded(seed)
		disk, g := newDisk(), &ledger{}
		o := campaignOptions(disk)
		log, err := engine.Create("log", leat.Config{Shards: leat.EvenShards(1 + rng.IntN(3))}, o)
		if err != nil {
			return false, err
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		worked := make(chan error, 1)
		go func() { worked <- g.work(ctx, log, "w", seeded(seed+1), ended) }()
		var ledgers []*ledger
		for i := range 4 {
			for range 1 + rng.IntN(100) {
				if err := awaitNews(ctx, log, rng); err != nil {
					return false, err
				}
			}
			before := g.mark()
			if err := log.Backup(ctx, fmt.Sprintf("backup-%d", i)); err != nil {
				return false, err
			}
			ledgers = append(ledgers, g.cut(before, g.mark()))
		}
		cancel()
		if err := <-worked; err != nil {
			return false, err
		}
		all, err := readContents(t.Context(), log)
		if err != nil {
			return false, err
		}
		for i, g := range ledgers {
			copies.Add(1)
			if err := inspectBackup(t.Context(), disk, fmt.Sprintf("backup-%d", i), g, all); err != nil {
				return false, fmt.Errorf("backup %d: %w", i, err)
			}
		}
		return copies.Load() >= 24, log.Close()
	})
	t.Logf("%d copies", copies.Load())
}

// inspectBackup checks a copy against what its log promised before, and what it
// holds now.
func inspectBackup(ctx context.Context, fsys vfs.FS, dir string, g *ledger, now *contents) error {
	if err := check(ctx, fsys, dir); err != nil {
		return err
	}
	log, err := engine.Open(dir, campaignOptions(fsys))
	if err != nil {
		return err
	}
	defer log.Close()
	if err := g.audit(ctx, log); err != nil {
		return err
	}
	c, err := readContents(ctx, log)
	if err != nil {
		return err
	}
	for shard, events := range c.events {
		s, ok := now.shard(shard)
		for _, e := range events {
			if !ok || e.Seq > s.Head || e.Seq >= s.Oldest && !same(e, now.events[shard][e.Seq-s.Oldest]) {
				return fmt.Errorf("the copy has sequence %d of %s, and the log has not, or another event", e.Seq, shard)
			}
		}
	}
	if err := g.settle(ctx, log); err != nil {
		return err
	}
	return errors.Join(log.Close(), check(ctx, fsys, dir))
}

// TestPowerCutDuringBackup cuts the power before every change that Backup makes
// to the disk, and those that the first Open of the copy makes.
func TestPowerCutDuringBackup(t *testing.T) {
	rng := newRand(t)
	disk, g := newDisk(), &ledger{}
	log, err := engine.Create("log", leat.Config{}, campaignOptions(disk))
	if err != nil {
		t.Fatal(err)
	}
	p := &producer{ledger: g, log: log, name: "p", versions: make(map[string]uint64)}
	for range 60 {
		if err := p.appendNew(t.Context(), rng); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	var ruins []*vfs.MemFS
	disk.watch(func(op errorfs.Op) error {
		if changes(op) {
			mu.Lock()
			defer mu.Unlock()
			// Pebble makes the names of a manifest and of what points at it last
			// together, so a part of them is no state that it opens.
			ruins = append(ruins, disk.cut([]int{0, 100}[len(ruins)%2], rng))
		}
		return nil
	})
	if err := log.Backup(t.Context(), "a/backup"); err != nil {
		t.Fatal(err)
	}
	ruins = append(ruins, disk.cut(0, rng))
	made := len(ruins)
	closeLog(t, log)
	ruins = ruins[:made]
	backup, err := engine.Open("a/backup", campaignOptions(disk))
	if err != nil {
		t.Fatal(err)
	}
	ruins = append(ruins, disk.cut(0, rng))
	disk.leave()
	closeLog(t, backup)

	copies := 0
	for i, ruin := range ruins {
		if err := audit(t.Context(), ruin, "log", g); err != nil {
			t.Fatalf("the log, after power cut %d of %d: %v", i, len(ruins), err)
		}
		if _, err := engine.Open("a/backup.unfinished", campaignOptions(ruin)); !errors.Is(err, leat.ErrNotFound) {
			t.Fatalf("open what is unfinished, after power cut %d of %d: got %v, want ErrNotFound", i, len(ruins), err)
		}
		err := audit(t.Context(), ruin, "a/backup", g)
		switch {
		case err == nil:
			copies++
			continue
		case !errors.Is(err, leat.ErrNotFound) || i >= made-1:
			t.Fatalf("the copy, after power cut %d of %d: %v", i, len(ruins), err)
		}
		log, err := engine.Open("log", campaignOptions(ruin))
		if err != nil {
			t.Fatal(err)
		}
		if err := log.Backup(t.Context(), "a/backup"); err != nil {
			t.Fatalf("make the copy again, after power cut %d of %d: %v", i, len(ruins), err)
		}
		closeLog(t, log)
		if err := audit(t.Context(), ruin, "a/backup", g); err != nil {
			t.Fatalf("the copy made again, after power cut %d of %d: %v", i, len(ruins), err)
		}
	}
	t.Logf("%d power cuts, %d while Backup was at work; %d left a copy", len(ruins), made, copies)
}

// audit opens a log or a copy of it, and holds it to a ledger and to its epoch.
func audit(ctx context.Context, fsys vfs.FS, dir string, g *ledger) error {
	log, err := engine.Open(dir, campaignOptions(fsys))
	if err != nil {
		return err
	}
	defer log.Close()
	info, err := log.Info(ctx)
	if err != nil {
		return err
	}
	want := uint64(1)
	if strings.HasSuffix(dir, "backup") {
		want = 2
	}
	if info.Epoch != want || len(info.Ended) != int(want-1) {
		return fmt.Errorf("the epoch is %d and %d have ended, want epoch %d", info.Epoch, len(info.Ended), want)
	}
	if err := g.audit(ctx, log); err != nil {
		return err
	}
	return log.Close()
}

// TestFailingBackup lets each call on the copy's files fail: there is no copy,
// the log goes on, and the next Backup succeeds.
func TestFailingBackup(t *testing.T) {
	for _, cause := range []error{errBroken, syscall.ENOSPC} {
		tried := 0
		for n := 1; ; n++ {
			disk := newDisk()
			log := create(t, disk, engine.Options{GenerationEvents: 32, ReserveBytes: -1})
			appendBlocks(t, log, 20)
			var calls atomic.Int64
			disk.watch(func(op errorfs.Op) error {
				ours := strings.HasPrefix(op.Path, "b") || op.Kind == errorfs.OpLink
				if ours && op.Kind != errorfs.OpRemoveAll && calls.Add(1) == int64(n) {
					return cause
				}
				return nil
			})
			err := log.Backup(t.Context(), "b/backup")
			disk.leave()
			if calls.Load() < int64(n) {
				if err != nil {
					t.Fatalf("with no call failing: %v", err)
				}
				break
			}
			tried++
			if err != nil && !errors.Is(err, cause) {
				t.Fatalf("call %d failed, and Backup returned another error: %v", n, err)
			}
			if err != nil && errors.Is(cause, syscall.ENOSPC) && !errors.Is(err, leat.ErrFull) {
				t.Fatalf("call %d found the disk full: got %v, want ErrFull", n, err)
			}
			if stopped := log.Stats().Stopped; stopped != nil {
				t.Fatalf("call %d failed, and the log stopped: %v", n, stopped)
			}
			mustAppend(t, log, event("after"))
			if err != nil {
				if err := log.Backup(t.Context(), "b/backup"); err != nil {
					t.Fatalf("back up again after call %d failed: %v", n, err)
				}
			}
			mustCheck(t, disk, "b/backup")
			closeLog(t, log)
		}
		t.Logf("%d calls failed: %v", tried, cause)
	}
}

// TestBackupEndsEarly has a Backup end with its context, or with the log, in the
// middle.
func TestBackupEndsEarly(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(log *engine.Log, cancel func(), closing *sync.WaitGroup) error
		want error
	}{
		"with its context": {func(_ *engine.Log, cancel func(), _ *sync.WaitGroup) error {
			cancel()
			return context.Canceled
		}, context.Canceled},
		"with the log": {func(log *engine.Log, _ func(), closing *sync.WaitGroup) (err error) {
			closing.Go(func() { _ = log.Close() })
			for err = leat.ErrNotFound; errors.Is(err, leat.ErrNotFound); { // until it has begun
				_, err = log.Split(context.Background(), "none", leat.HashKey{})
			}
			return err
		}, leat.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			disk := newDisk()
			log := create(t, disk, engine.Options{})
			appendBlocks(t, log, 20)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var closing sync.WaitGroup
			var calls atomic.Int64
			disk.watch(func(op errorfs.Op) error {
				if strings.HasPrefix(op.Path, "backup.unfinished/log/OPTIONS") && op.Kind == errorfs.OpFileWrite && calls.Add(1) == 1 {
					if err := c.end(log, cancel, &closing); !errors.Is(err, c.want) {
						t.Errorf("end it: got %v, want %v", err, c.want)
					}
				}
				return nil
			})
			if err := log.Backup(ctx, "backup"); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			closing.Wait()
			disk.leave()
			for _, dir := range []string{"backup", "backup.unfinished"} {
				if _, err := disk.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s: got %v, want that it does not exist", dir, err)
				}
			}
		})
	}
}

// TestBackupWhileTrimmed trims what is indexed while Pebble copies: the copy has
// the IDs of what is gone from it.
func TestBackupWhileTrimmed(t *testing.T) {
	disk := newDisk()
	o := engine.Options{FS: disk, GenerationEvents: 64}
	log := create(t, disk, o)
	first := event("first")
	mustAppend(t, log, first)
	var calls atomic.Int64
	disk.watch(func(op errorfs.Op) error {
		if strings.HasPrefix(op.Path, "backup.unfinished/log/OPTIONS") && op.Kind == errorfs.OpFileWrite && calls.Add(1) == 1 {
			for n := 0; log.Stats().Generations == 0; n++ {
				mustAppend(t, log, event(fmt.Sprint(n)))
			}
			if _, err := log.Trim(t.Context(), leat.ShardNumber(0), log.Stats().Recorded+1); err != nil {
				t.Errorf("trim: %v", err)
			}
			mustAppend(t, log, event("last"))
		}
		return nil
	})
	if err := log.Backup(t.Context(), "backup"); err != nil {
		t.Fatal(err)
	}
	disk.leave()
	if calls.Load() == 0 {
		t.Fatal("nothing was trimmed")
	}
	mustCheck(t, disk, "backup")
	backup, err := engine.Open("backup", o)
	if err != nil {
		t.Fatal(err)
	}
	defer closeLog(t, backup)
	if r := mustAppend(t, backup, first); !r.Duplicate {
		t.Errorf("the copy does not know the first event any more: got %+v", r)
	}
}

// A backup does not take the space that a log keeps free.
func TestBackupKeepsReserve(t *testing.T) {
	mem := vfs.NewMem()
	log := create(t, mem, engine.Options{ReserveBytes: 1 << 30})
	mustAppend(t, log, event("a"))
	mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1<<30 - 1, TotalBytes: 100 << 30})
	if err := log.Backup(t.Context(), "backup"); !errors.Is(err, leat.ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	if _, err := mem.Stat("backup"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a copy: %v", err)
	}
	mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1 << 30, TotalBytes: 100 << 30})
	if err := log.Backup(t.Context(), "backup"); err != nil {
		t.Error(err)
	}
	mustCheck(t, mem, "backup")
}

func TestBackupRefused(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	log, err := engine.Create(at("log"), leat.Config{}, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { closeLog(t, log) }()
	mustAppend(t, log, event("a"))
	for _, err := range []error{
		os.MkdirAll(at("used/by"), 0o700), os.Mkdir(at("empty"), 0o700), os.WriteFile(at("file"), nil, 0o600), os.Symlink(at("log"), at("link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		dir  string
		want error
	}{
		"a directory in use":          {t.Context(), "used", fs.ErrExist},
		"a file":                      {t.Context(), "file", fs.ErrExist},
		"the log's directory":         {t.Context(), "log", leat.ErrInvalid},
		"within the log's":            {t.Context(), "log/a/b", leat.ErrInvalid},
		"within the log's, by a link": {t.Context(), "link/a", leat.ErrInvalid},
		"a context that has ended":    {ended, "new", context.Canceled},
		"an empty directory":          {t.Context(), "empty", nil},
		"beside the log's":            {t.Context(), "log-2", nil},
	} {
		err := log.Backup(c.ctx, at(c.dir))
		if !errors.Is(err, c.want) || c.want != nil && !strings.Contains(err.Error(), at(c.dir)) {
			t.Errorf("%s: got %v, want %v with the directory's name", name, err, c.want)
		}
	}
	want := []string{"empty", "file", "link", "log", "log-2", "used"}
	if names := list(t, dir); !reflect.DeepEqual(names, want) {
		t.Errorf("afterwards there are %q, want %q", names, want)
	}
	closeLog(t, log)
	if err := log.Backup(t.Context(), at("new")); !errors.Is(err, leat.ErrClosed) {
		t.Errorf("a closed log: got %v, want ErrClosed", err)
	}
}

package engine_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
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

// newRand returns a source of randomness and prints its seed; LEAT_SEED repeats
// a run.
func newRand(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	if s := os.Getenv("LEAT_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &seed); err != nil {
			t.Fatalf("LEAT_SEED=%q is not a number", s)
		}
	}
	t.Logf("LEAT_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// reached closes a channel when an FS or log got somewhere.
type reached struct {
	left atomic.Int64
	ch   chan struct{}
}

func after(n int) *reached {
	r := &reached{ch: make(chan struct{})}
	r.left.Store(int64(n))
	return r
}

func (r *reached) step() {
	if r.left.Add(-1) == 0 {
		close(r.ch)
	}
}

// stepLog tells of each Append that returns.
type stepLog struct {
	*engine.Log
	appended *reached
}

func (l stepLog) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	defer l.appended.step()
	return l.Log.Append(ctx, events, conds...)
}

// work runs producers and a consumer on a log until the log has answered n
// Appends, calls cut, and then ends them.
func (g *ledger) work(t *testing.T, log *engine.Log, rng *rand.Rand, round, n int, cut func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	appended := after(n)
	var wg sync.WaitGroup
	for p := range 6 {
		seed := rng.Uint64()
		wg.Go(func() {
			err := g.produce(ctx, stepLog{log, appended}, fmt.Sprintf("%d.%d", round, p), rand.New(rand.NewPCG(seed, 2)))
			if !ended(err) {
				t.Errorf("append: %v", err)
			}
		})
	}
	wg.Go(func() {
		if err := g.consume(ctx, log); !ended(err) {
			t.Errorf("follow: %v", err)
		}
	})
	if round%3 == 1 {
		splitSome(t, log)
	}
	<-appended.ch
	cut()
	cancel()
	wg.Wait()
}

func splitSome(t *testing.T, log *engine.Log) {
	t.Helper()
	shards, err := log.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := shards[len(shards)-1]
	if _, err := log.Split(t.Context(), s.ID, s.Middle()); err != nil {
		t.Errorf("split %s: %v", s.ID, err)
	}
}

// TestPowerCuts cuts the power under appends and reads: what was acknowledged
// or shown is there afterwards, and nothing is there in part.
func TestPowerCuts(t *testing.T) {
	rng := newRand(t)
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	fs := vfs.NewCrashableMem()
	log, err := engine.Create("log", leat.Config{}, engine.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	g := newLedger()
	for round := range rounds {
		var disk *vfs.MemFS
		var promised *ledger
		var given map[string][]leat.Event
		g.work(t, log, rng, round, 1+rng.IntN(400), func() {
			promised = g.promised()
			disk = fs.CrashClone(vfs.CrashCloneCfg{
				UnsyncedDataPercent: []int{0, 50, 100}[rng.IntN(3)], RNG: rng,
			})
			given = g.givenCopy()
		})
		closeLog(t, log)

		fs, g = disk, promised
		mustCheck(t, fs, "log")
		if log, err = engine.Open("log", engine.Options{FS: fs}); err != nil {
			t.Fatalf("round %d: open after the power cut: %v", round, err)
		}
		g.given = given
		g.audit(t, log, given)
		if round%4 == 3 {
			g.settle(t, log, given)
		}
		if t.Failed() {
			break
		}
	}
	closeLog(t, log)
}

// mustCheck fails the test if Check finds a problem.
func mustCheck(t *testing.T, fs vfs.FS, dir string) engine.Report {
	t.Helper()
	report, err := engine.Check(t.Context(), dir, engine.Options{FS: fs}, nil)
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	for _, p := range report.Problems {
		t.Errorf("check found a problem: %s", p)
	}
	return report
}

// TestFailingDisk lets every write or sync fail from some moment on: nothing is
// acknowledged after it, the log says that it has stopped, readers go on, and
// what was promised is there when the log is opened again.
func TestFailingDisk(t *testing.T) {
	rng := newRand(t)
	kinds := map[string]func(op errorfs.Op) bool{
		"sync of the write-ahead log": func(op errorfs.Op) bool {
			return strings.HasSuffix(op.Path, ".log") && (op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSync)
		},
		"write to the write-ahead log": func(op errorfs.Op) bool {
			return strings.HasSuffix(op.Path, ".log") && op.Kind == errorfs.OpFileWrite
		},
	}
	for name, hits := range kinds {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewCrashableMem()
			var failing atomic.Bool
			broken := errors.New("the disk is broken")
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if failing.Load() && hits(op) {
					return broken
				}
				return nil
			}))
			log, err := engine.Create("log", leat.Config{}, engine.Options{FS: fs})
			if err != nil {
				t.Fatal(err)
			}
			g := newLedger()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			appended := after(50 + rng.IntN(300))
			var producers, consumers sync.WaitGroup
			for p := range 6 {
				seed := rng.Uint64()
				producers.Go(func() {
					err := g.produce(ctx, stepLog{log, appended}, fmt.Sprint(p), rand.New(rand.NewPCG(seed, 2)))
					if !errors.Is(err, engine.ErrStopped) {
						t.Errorf("append to a broken disk: got %v, want ErrStopped", err)
					}
				})
			}
			consumers.Go(func() {
				if err := g.consume(ctx, log); !ended(err) {
					t.Errorf("follow: %v", err)
				}
			})
			<-appended.ch
			failing.Store(true)
			producers.Wait()

			// Whether a late write would succeed does not matter: the log has stopped.
			failing.Store(false)
			_, err = log.Append(ctx, []leat.Event{{Stream: "late", Type: "Late", Source: "test"}})
			if !errors.Is(err, engine.ErrStopped) || !errors.Is(err, broken) || errors.Is(err, leat.ErrUncertain) {
				t.Errorf("append after the failure: got %v, want ErrStopped with its cause and a certain outcome", err)
			}
			before := readAll(t, log)
			cancel()
			consumers.Wait()
			if err := log.Close(); !errors.Is(err, engine.ErrStopped) {
				t.Errorf("close: got %v, want ErrStopped", err)
			}

			disk := mem.CrashClone(vfs.CrashCloneCfg{})
			mustCheck(t, disk, "log")
			log, err = engine.Open("log", engine.Options{FS: disk})
			if err != nil {
				t.Fatalf("open after the failure: %v", err)
			}
			defer closeLog(t, log)
			for shard, events := range before {
				g.see(leat.Batch{Shard: shard, Events: events})
			}
			g.audit(t, log, g.given)
			g.settle(t, log, g.given)
		})
	}
}

// childDir names, for a test binary run as a child, the directory of the log it
// appends to until it is killed.
const childDir = "LEAT_ENGINE_CHILD_DIR"

// child appends from several goroutines and prints a line for each Append that
// is given and for each that is acknowledged.
func child(dir string) error {
	log, err := engine.Open(dir, engine.Options{})
	if errors.Is(err, leat.ErrNotFound) {
		log, err = engine.Create(dir, leat.Config{}, engine.Options{})
	}
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	for p := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				events := childEvents(fmt.Sprintf("%d-%d-%d", os.Getpid(), p, n))
				r, err := log.Append(context.Background(), events)
				if err != nil {
					fmt.Println("error", err)
					return
				}
				fmt.Println("acked", events[0].Type, r.First, r.Last)
			}
		})
	}
	wg.Wait()
	return nil
}

func childEvents(name string) []leat.Event {
	events := make([]leat.Event, 1+len(name)%3)
	for i := range events {
		events[i] = leat.Event{
			ID: fmt.Sprintf("%s-%d", name, i), Stream: "killed-" + name[len(name)-1:], Type: name, Source: "child", Data: []byte(name),
		}
	}
	return events
}

// TestKill kills a process that appends, again and again: what it had told as
// acknowledged is there. While it lives, nobody else can open the log, and the
// error names it.
func TestKill(t *testing.T) {
	rng := newRand(t)
	dir := filepath.Join(t.TempDir(), "log")
	acked := make(map[string][2]uint64)
	for range 4 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := 1 + rng.IntN(1500)
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			var name string
			var first, last uint64
			if _, err := fmt.Sscanf(lines.Text(), "acked %s %d %d", &name, &first, &last); err != nil {
				t.Errorf("the child says %q", lines.Text())
				break
			}
			acked[name] = [2]uint64{first, last}
			if n == 0 {
				_, err := engine.Open(dir, engine.Options{})
				if pid := fmt.Sprintf("PID %d", cmd.Process.Pid); err == nil || !strings.Contains(err.Error(), pid) {
					t.Errorf("open a log that is in use: got %v, want an error with %q", err, pid)
				}
			}
			if n == kill {
				if err := cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
			}
		}
		_ = cmd.Wait() // it was killed
		auditKilled(t, dir, acked)
	}
}

func auditKilled(t *testing.T, dir string, acked map[string][2]uint64) {
	t.Helper()
	mustCheck(t, vfs.Default, dir)
	log, err := engine.Open(dir, engine.Options{})
	if err != nil {
		t.Fatalf("open after a kill: %v", err)
	}
	defer closeLog(t, log)
	byName := make(map[string][]leat.Recorded)
	for _, events := range readAll(t, log) {
		for _, e := range events {
			byName[e.Type] = append(byName[e.Type], e)
		}
	}
	for name, recorded := range byName {
		if err := isWhole(recorded, childEvents(name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, at := range acked {
		if r := byName[name]; len(r) == 0 || r[0].Seq != at[0] || r[len(r)-1].Seq != at[1] {
			t.Errorf("%s was acknowledged at %v, there is %+v", name, at, r)
		}
	}
	t.Logf("%d appends were acknowledged, %d are there", len(acked), len(byName))
}

// TestFailingBackground lets the store's own work fail, where Pebble would end
// the process or try again for ever: the log stops, and all that was
// acknowledged is there when it is opened again.
func TestFailingBackground(t *testing.T) {
	for name, hits := range map[string]func(op errorfs.Op) bool{
		"data files":          func(op errorfs.Op) bool { return isDataFile(op.Path) && op.Kind == errorfs.OpFileWrite },
		"creating data files": func(op errorfs.Op) bool { return isDataFile(op.Path) && op.Kind == errorfs.OpCreate },
		"sync of the manifest": func(op errorfs.Op) bool {
			return strings.Contains(op.Path, "MANIFEST") && op.Kind == errorfs.OpFileSync
		},
		"write to the manifest": func(op errorfs.Op) bool {
			return strings.Contains(op.Path, "MANIFEST") && op.Kind == errorfs.OpFileWrite
		},
	} {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewCrashableMem()
			var failing atomic.Bool
			broken := errors.New("the disk is broken")
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if failing.Load() && hits(op) {
					return broken
				}
				return nil
			}))
			log, err := engine.Create("log", leat.Config{}, engine.Options{FS: fs})
			if err != nil {
				t.Fatal(err)
			}
			failing.Store(true)
			g := newLedger()
			for n := 0; err == nil; n++ { // a few memtables, until the log stops
				name := fmt.Sprint("Append-", n)
				events := []leat.Event{{ID: name, Stream: "s", Type: name, Source: "test", Data: make([]byte, 1<<20)}}
				g.give(name, events)
				var r leat.Receipt
				if r, err = log.Append(t.Context(), events); err == nil {
					g.ack(name, r)
				}
			}
			if !errors.Is(err, engine.ErrStopped) || !strings.Contains(err.Error(), broken.Error()) {
				t.Fatalf("append: got %v, want ErrStopped with its cause", err)
			}
			failing.Store(false)
			before := readAll(t, log)
			disk := mem.CrashClone(vfs.CrashCloneCfg{})
			if err := log.Close(); !errors.Is(err, engine.ErrStopped) {
				t.Errorf("close: got %v, want ErrStopped", err)
			}
			t.Logf("%d appends were acknowledged", len(g.acked))

			mustCheck(t, disk, "log")
			if log, err = engine.Open("log", engine.Options{FS: disk}); err != nil {
				t.Fatalf("open after the failure: %v", err)
			}
			defer closeLog(t, log)
			for shard, events := range before {
				g.see(leat.Batch{Shard: shard, Events: events})
			}
			g.audit(t, log, g.given)
			g.settle(t, log, g.given)
		})
	}
}

func isDataFile(path string) bool {
	return strings.HasSuffix(path, ".sst") || strings.HasSuffix(path, ".blob")
}

// TestNoSpaceUnderneath lets the disk be full where the engine did not see it
// coming: nothing breaks, readers go on, and so do appends when space returns.
func TestNoSpaceUnderneath(t *testing.T) {
	var full atomic.Bool
	hit := after(3)
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && isDataFile(op.Path) && (op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpCreate) {
			hit.step()
			return syscall.ENOSPC
		}
		return nil
	}))
	log, err := engine.Create("log", leat.Config{}, engine.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer closeLog(t, log)
	full.Store(true)
	const n = 300 // more than memory takes
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			events := []leat.Event{{Stream: fmt.Sprint("s-", i), Type: "T", Source: "test", Data: make([]byte, 1<<20)}}
			if _, err := log.Append(t.Context(), events); err != nil {
				t.Errorf("append: %v", err)
				return
			}
		}
	})
	<-hit.ch
	if len(readAll(t, log)) == 0 {
		t.Error("nothing can be read while the disk is full")
	}
	full.Store(false)
	wg.Wait()
	if got := len(readAll(t, log)[leat.ShardNumber(0)]); got != n {
		t.Errorf("there are %d events, want %d", got, n)
	}
}

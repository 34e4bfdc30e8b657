package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
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

// errBroken is the error of a call that a test lets fail.
var errBroken = errors.New("the disk is broken")

// callKinds are the calls of a file system, by what they do.
var callKinds = map[string]func(op errorfs.Op) bool{
	"write": func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpFileWriteAt },
	"sync":  isSync,
	"create": func(op errorfs.Op) bool {
		return op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpReuseForWrite || op.Kind == errorfs.OpMkdirAll
	},
	"rename": func(op errorfs.Op) bool {
		return op.Kind == errorfs.OpRename || op.Kind == errorfs.OpLink || op.Kind == errorfs.OpRemove
	},
	"open": func(op errorfs.Op) bool { return op.Kind == errorfs.OpOpen || op.Kind == errorfs.OpOpenDir },
	"read": func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileRead || op.Kind == errorfs.OpFileReadAt },
	"look": func(op errorfs.Op) bool {
		return op.Kind == errorfs.OpStat || op.Kind == errorfs.OpList || op.Kind == errorfs.OpFileStat
	},
}

// TestIOErrors leads logs through the same life again and again and lets, each
// time, another call fail: once, from then on, or for want of space. What the
// log promised before and after holds; it never takes a failure for an answer.
func TestIOErrors(t *testing.T) {
	seed := firstSeed(t)
	for kind, hits := range callKinds {
		for _, mode := range []failureMode{once, always, full} {
			if mode == full && kind != "write" && kind != "create" {
				continue
			}
			t.Run(kind+", "+string(mode), func(t *testing.T) {
				t.Parallel()
				p := patient{ctx: t.Context(), rng: seeded(seed), mode: once, hits: hits}
				if err := p.live(); err != nil {
					t.Fatalf("with no call failing: %v", err)
				}
				total := int(p.calls.Load())
				tried, step := 0, max(1, total / *faults)
				for n := 1 + int(seed%uint64(step)); n <= total; n += step {
					p := patient{ctx: t.Context(), rng: seeded(seed), mode: mode, hits: hits, fails: int64(n)}
					if err := p.live(); err != nil {
						t.Fatalf("-seed %d, call %d of %d: %v", seed, n, total, err)
					}
					tried++
				}
				t.Logf("%d of %d calls failed, one in each life", tried, total)
			})
		}
	}
}

// A failureMode says how often a call fails.
type failureMode string

const (
	once   failureMode = "once"
	always failureMode = "from then on"
	full   failureMode = "for want of space" // for three calls
)

// A patient is a log on a disk of which some calls fail.
type patient struct {
	ctx   context.Context
	rng   *rand.Rand
	mode  failureMode
	hits  func(errorfs.Op) bool
	fails int64 // the number of the call that fails, 0 for none

	calls  atomic.Int64 // that hits hits
	failed atomic.Int64

	// opening is set while a log is opened, when nothing fails: Pebble 2.1.7
	// ends the process when it fails to open a store in which it has begun to
	// work, and waits for ever for a flush that cannot be done.
	opening atomic.Bool

	disk     *disk
	log      *engine.Log
	book     ledger
	versions map[string]uint64 // known of streams
	n        int               // appends
	stopped  bool              // the log said so, and was not opened again

	mu     sync.Mutex
	atSync *ruin // as the power cut at the first failing sync of blocks would leave it
}

// call lets the call fail whose turn it is.
func (p *patient) call(op errorfs.Op) error {
	if !p.hits(op) || p.opening.Load() {
		return nil
	}
	n := p.calls.Add(1)
	if p.fails == 0 || n < p.fails || p.mode == once && n > p.fails || p.mode == full && n > p.fails+2 {
		return nil
	}
	if p.failed.Add(1) == 1 && isSync(op) && isBlocks(op.Path) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.atSync = &ruin{disk: p.disk.cut(0, nil)}
	}
	if p.mode == full {
		return syscall.ENOSPC
	}
	return fmt.Errorf("%s: %w", op.Path, errBroken)
}

// tolerates returns nil when an error is one that a broken disk explains.
func (p *patient) tolerates(doing string, err error) error {
	if err == nil || p.failed.Load() > 0 && (p.mode == full || strings.Contains(err.Error(), errBroken.Error())) {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// live leads a log through a life, heals its disk, and sees what is left of it.
func (p *patient) live() error {
	p.disk, p.versions = newDisk(), make(map[string]uint64)
	p.disk.watch(p.call)
	err := p.suffer()
	p.disk.leave()
	if p.log != nil {
		p.log, err = nil, errors.Join(err, p.tolerates("close", p.log.Close()))
	}
	if err != nil {
		return err
	}
	if p.atSync != nil && p.atSync.ledger != nil {
		if err := p.recover(p.atSync.disk, p.atSync.ledger, false); err != nil {
			return fmt.Errorf("as it was at the sync that failed: %w", err)
		}
	}
	notes := p.book.mark()
	if err := p.recover(p.disk.cut(0, nil), p.book.cut(notes, notes), true); err != nil {
		return fmt.Errorf("after a power cut: %w", err)
	}
	return p.recover(p.disk.mem, &p.book, true)
}

// recover sees that a log on a disk in order holds what was promised.
func (p *patient) recover(fs vfs.FS, g *ledger, settle bool) error {
	o := campaignOptions(fs)
	err := check(p.ctx, fs, "log")
	if errors.Is(err, leat.ErrNotFound) && len(g.tally().acked) == 0 {
		return nil // Create was interrupted
	}
	if err != nil {
		return err
	}
	log, err := engine.Open("log", o)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if err = g.audit(p.ctx, log); err == nil && settle {
		err = g.settle(p.ctx, log)
	}
	return errors.Join(err, log.Close())
}

func (p *patient) suffer() error {
	for round := range 4 {
		if err := p.reopen(); err != nil || p.log == nil {
			return err
		}
		if err := p.readBack(); err != nil {
			return err
		}
		for range 8 {
			if err := p.appendOne(); err != nil {
				return err
			}
		}
		if err := p.administer(round); err != nil {
			return err
		}
		if err := p.appendAgain(); err != nil {
			return err
		}
		if err := p.readBack(); err != nil {
			return err
		}
	}
	return nil
}

// reopen closes the log and opens it again, or creates it. There is none after
// it when the disk does not let it.
func (p *patient) reopen() error {
	if p.log != nil {
		err := p.log.Close()
		p.log = nil
		if err := p.tolerates("close", err); err != nil {
			return err
		}
	}
	p.opening.Store(true)
	defer p.opening.Store(false)
	o := campaignOptions(p.disk)
	for range 3 {
		log, err := engine.Open("log", o)
		if errors.Is(err, leat.ErrNotFound) {
			if len(p.book.tally().acked) > 0 {
				return fmt.Errorf("open: %w", err)
			}
			log, err = engine.Create("log", leat.Config{Shards: leat.EvenShards(2)}, o)
		}
		if err := p.tolerates("open", err); err != nil {
			return err
		}
		if err != nil {
			continue
		}
		p.log, p.stopped = log, false
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.atSync != nil && p.atSync.ledger == nil {
			notes := p.book.mark()
			p.atSync.ledger = p.book.cut(notes, notes)
		}
		return nil
	}
	return nil
}

// maxData makes a patient's appends fill files of blocks.
const maxData = 60 << 10

// appendOne appends new events, on the condition of the version that their
// stream must have.
func (p *patient) appendOne() error {
	p.n++
	name := fmt.Sprint("Append-", p.n)
	stream := fmt.Sprint("order-", p.rng.IntN(5))
	events := make([]leat.Event, 1+p.rng.IntN(3))
	for i := range events {
		events[i] = leat.Event{
			ID: drawID(p.rng, fmt.Sprint(name, i)), Stream: stream, Type: name, Source: "test", Data: make([]byte, p.rng.IntN(maxData)),
		}
	}
	var conds []leat.Condition
	version, known := p.versions[stream]
	if known {
		conds = append(conds, leat.ExpectVersion(stream, version))
	}
	r, err := p.book.append(p.ctx, p.log, name, events, conds...)
	if err != nil {
		if errors.Is(err, leat.ErrUncertain) {
			delete(p.versions, stream)
		} else {
			p.book.note(refused{name, err.Error()})
		}
		p.stopped = p.stopped || errors.Is(err, engine.ErrStopped)
		return p.tolerates("append "+name, err)
	}
	if p.stopped {
		return fmt.Errorf("%s is acknowledged, and the log had said that it stopped", name)
	}
	if known && r.Versions[0] != version+1 {
		return fmt.Errorf("append %s at version %d of its stream: got %+v", name, version, r)
	}
	p.versions[stream] = r.Versions[len(events)-1]
	return nil
}

// appendAgain appends some of what was given before: it is never taken for new
// when it was acknowledged.
func (p *patient) appendAgain() error {
	y := p.book.tally()
	for range 6 {
		name := y.names[p.rng.IntN(len(y.names))]
		if y.refused[name] != "" {
			continue
		}
		r, err := p.log.Append(p.ctx, slices.Clone(y.given[name]))
		if err != nil {
			if err := p.tolerates("append "+name+" again", err); err != nil {
				return err
			}
			continue
		}
		if want, acked := y.acked[name]; acked {
			if want.Duplicate = true; !reflect.DeepEqual(r, want) {
				return fmt.Errorf("appended again, %s gets\n%+v, want\n%+v", name, r, want)
			}
			continue
		}
		p.book.note(acked{name, r})
		y.acked[name] = r
		delete(p.versions, y.given[name][0].Stream)
	}
	return nil
}

// readBack reads everything: it is all there, unless there is an error.
func (p *patient) readBack() error {
	return p.tolerates("read", p.book.audit(p.ctx, p.log))
}

func (p *patient) administer(round int) error {
	shards, err := p.log.Shards(p.ctx)
	if err != nil {
		return err
	}
	s := shards[round%len(shards)]
	switch round {
	case 1:
		err = p.book.split(p.ctx, p.log, s, len(shards))
	case 2:
		err = p.book.trim(p.ctx, p.log, shards[0], p.rng)
	}
	p.stopped = p.stopped || errors.Is(err, engine.ErrStopped)
	return p.tolerates("administer", err)
}

// TestFailingUnderLoad lets every write or sync of blocks fail from
// some moment on, under producers and readers: nothing is acknowledged after it,
// the log says that it has stopped, readers go on, and what was promised is
// there when the log is opened again.
func TestFailingUnderLoad(t *testing.T) {
	rng := newRand(t)
	for name, hits := range map[string]func(op errorfs.Op) bool{
		"sync of the blocks":  func(op errorfs.Op) bool { return isBlocks(op.Path) && isSync(op) },
		"write of the blocks": func(op errorfs.Op) bool { return isBlocks(op.Path) && op.Kind == errorfs.OpFileWriteAt },
	} {
		t.Run(name, func(t *testing.T) {
			fs, g := newDisk(), &ledger{}
			log := createOn(t, fs)
			left := after(100 + rng.IntN(300))
			fs.watch(func(op errorfs.Op) error {
				if hits(op) && left.step() {
					return errBroken
				}
				return nil
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := g.work(ctx, log, "0", rng, func(err error) bool {
				if errors.Is(err, engine.ErrStopped) {
					cancel() // the readers, which would go on
				}
				return ended(err) || errors.Is(err, engine.ErrStopped)
			})
			if err != nil {
				t.Fatal(err)
			}

			// Whether a late write would succeed does not matter: the log has stopped.
			fs.leave()
			_, err = log.Append(t.Context(), []leat.Event{{Stream: "late", Type: "Late", Source: "test"}})
			if !errors.Is(err, engine.ErrStopped) || !errors.Is(err, errBroken) || errors.Is(err, leat.ErrUncertain) {
				t.Errorf("append after the failure: got %v, want ErrStopped with its cause and a certain outcome", err)
			}
			reopenStopped(t, fs, log, g)
		})
	}
}

// createOn creates a log for a test that ends it.
func createOn(t *testing.T, fs vfs.FS) *engine.Log {
	t.Helper()
	log, err := engine.Create("log", leat.Config{}, campaignOptions(fs))
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// reopenStopped closes a log that has stopped, cuts the power, opens it again,
// and sees that it is as it was shown to be.
func reopenStopped(t *testing.T, fs *disk, log *engine.Log, g *ledger) {
	t.Helper()
	before, err := readContents(t.Context(), log)
	if err != nil {
		t.Errorf("read a log that has stopped: %v", err)
	} else {
		for _, events := range before.events {
			g.note(seen(events))
		}
	}
	if err := log.Close(); !errors.Is(err, engine.ErrStopped) {
		t.Errorf("close: got %v, want ErrStopped", err)
	}
	disk := fs.cut(0, nil)
	mustCheck(t, disk, "log")
	log, err = engine.Open("log", campaignOptions(disk))
	if err != nil {
		t.Fatalf("open after the failure: %v", err)
	}
	defer closeLog(t, log)
	if err := g.audit(t.Context(), log); err != nil {
		t.Error(err)
	}
	if err := g.settle(t.Context(), log); err != nil {
		t.Error(err)
	}
}

// after returns a countdown whose step reports true from the n-th call on.
func after(n int) *countdown {
	c := &countdown{reached: make(chan struct{})}
	c.left.Store(int64(n))
	return c
}

type countdown struct {
	left    atomic.Int64
	reached chan struct{} // closed at the n-th call
}

func (c *countdown) step() bool {
	left := c.left.Add(-1)
	if left == 0 {
		close(c.reached)
	}
	return left <= 0
}

// TestFailingBackground lets the store's own work fail, where Pebble would end
// the process or try again for ever: the log stops, and all that was
// acknowledged is there when it is opened again.
func TestFailingBackground(t *testing.T) {
	for name, hits := range map[string]func(op errorfs.Op) bool{
		"data files":            func(op errorfs.Op) bool { return isDataFile(op.Path) && op.Kind == errorfs.OpFileWrite },
		"creating data files":   func(op errorfs.Op) bool { return isDataFile(op.Path) && op.Kind == errorfs.OpCreate },
		"sync of the manifest":  func(op errorfs.Op) bool { return isManifest(op.Path) && op.Kind == errorfs.OpFileSync },
		"write to the manifest": func(op errorfs.Op) bool { return isManifest(op.Path) && op.Kind == errorfs.OpFileWrite },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fs, g := newDisk(), &ledger{}
			log := createOn(t, fs)
			fs.watch(func(op errorfs.Op) error {
				if hits(op) {
					return errBroken
				}
				return nil
			})
			var err error
			for n := 0; err == nil; n++ { // a few memtables, until the log stops
				name := fmt.Sprint("Append-", n)
				_, err = g.append(t.Context(), log, name, []leat.Event{{
					ID: name, Stream: "s", Type: name, Source: "test", Data: make([]byte, 1<<20),
				}})
			}
			if !errors.Is(err, engine.ErrStopped) || !strings.Contains(err.Error(), errBroken.Error()) {
				t.Fatalf("append: got %v, want ErrStopped with its cause", err)
			}
			fs.leave()
			t.Logf("%d appends were acknowledged", len(g.tally().acked))
			reopenStopped(t, fs, log, g)
		})
	}
}

func isManifest(path string) bool { return strings.Contains(path, "MANIFEST") }

// TestNoSpaceUnderneath lets the disk be full where the engine did not see it
// coming: nothing breaks, readers go on, and so do appends when space returns.
func TestNoSpaceUnderneath(t *testing.T) {
	for name, hits := range map[string]func(op errorfs.Op) bool{
		"data files": func(op errorfs.Op) bool {
			return isDataFile(op.Path) && (op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpCreate)
		},
		"blocks": func(op errorfs.Op) bool { return isBlocks(op.Path) && op.Kind == errorfs.OpFileWriteAt },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fs := diskOn(vfs.NewMem())
			log := createOn(t, fs)
			defer closeLog(t, log)
			mustAppend(t, log, event("before"))
			refusedSome := after(3)
			fs.watch(func(op errorfs.Op) error {
				if hits(op) {
					refusedSome.step()
					return syscall.ENOSPC
				}
				return nil
			})
			const n = 300 // more MiB than memory takes
			done := make(chan struct{})
			go func() {
				defer close(done)
				for i := range n {
					events := []leat.Event{{Stream: fmt.Sprint("s-", i), Type: "T", Source: "test", Data: make([]byte, 1<<20)}}
					if _, err := log.Append(t.Context(), events); err != nil {
						t.Errorf("append: %v", err)
						return
					}
				}
			}()
			<-refusedSome.reached
			if len(readAll(t, log)) == 0 {
				t.Error("nothing can be read while the disk is full")
			}
			fs.leave()
			<-done
			if got := len(readAll(t, log)[leat.ShardNumber(0)]); got != n+1 {
				t.Errorf("there are %d events, want %d", got, n+1)
			}
		})
	}
}

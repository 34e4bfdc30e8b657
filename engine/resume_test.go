package engine_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
)

// A machine runs a log until its power is cut. Processes on it come and go.
type machine struct {
	t    *testing.T
	disk *disk
	o    engine.Options
	log  *engine.Log // nil while no process has it open
	book ledger
	n    int
}

func newMachine(t *testing.T, fileBytes int64) *machine {
	m := &machine{t: t, disk: newDisk()}
	m.o = manyFiles(m.disk, fileBytes, 8)
	var err error
	if m.log, err = engine.Create("log", leat.Config{}, m.o); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *machine) append() {
	m.n++
	name := fmt.Sprint("Append-", m.n)
	e := event(name)
	e.Type, e.Data = name, make([]byte, 300)
	if _, err := m.book.append(m.t.Context(), m.log, name, []leat.Event{e, again(e, name+"-2")}); err != nil {
		m.t.Fatalf("append: %v", err)
	}
}

// again returns e with another ID.
func again(e leat.Event, id string) leat.Event {
	e.ID = id
	return e
}

func (m *machine) open() { m.log = mustOpen(m.t, m.o) }

func (m *machine) close() {
	closeLog(m.t, m.log)
	m.log = nil
}

// kill ends the process. What it wrote stays in the memory of the machine.
func (m *machine) kill() {
	m.disk.watch(func(op errorfs.Op) error {
		if changes(op) {
			return errBroken
		}
		return nil
	})
	_ = m.log.Close() // changes nothing
	m.log = nil
	m.disk.leave()
}

func (m *machine) repair() {
	if report, err := engine.Repair(m.t.Context(), "log", m.o, nil); err != nil || report.Found > 0 {
		m.t.Fatalf("repair: got %+v, %v", report, err)
	}
}

// tear writes a piece of a group behind the last one.
func (m *machine) tear() {
	names := mustList(m.t, m.disk.mem, "log/blocks", "log/blocks/")
	name := names[len(names)-1]
	info, err := m.disk.mem.Stat(name)
	if err != nil {
		m.t.Fatal(err)
	}
	f, err := m.disk.mem.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		m.t.Fatal(err)
	}
	_, err = f.WriteAt([]byte("only the beginning of a group that was never whole"), info.Size())
	if err = errors.Join(err, f.Close()); err != nil {
		m.t.Fatal(err)
	}
}

// cut sees that nothing that was acknowledged is lost when the power is cut now.
func (m *machine) cut(percent int, rng *rand.Rand) {
	m.t.Helper()
	o := m.o
	o.FS = m.disk.cut(percent, rng)
	if err := check(m.t.Context(), o.FS, "log"); err != nil {
		m.t.Fatalf("after a power cut that %d%% survived: %v", percent, err)
	}
	log := mustOpen(m.t, o)
	if err := m.book.settle(m.t.Context(), log); err != nil {
		m.t.Errorf("after a power cut that %d%% survived: %v", percent, err)
	}
	closeLog(m.t, log)
	mustCheck(m.t, o.FS, "log")
}

// TestPowerCutLater cuts the power some steps after the last acknowledged
// Append, when what says that its group is durable need not be durable itself.
func TestPowerCutLater(t *testing.T) {
	const small, large = 500, 1 << 20
	for _, c := range []struct {
		name      string
		fileBytes int64
		steps     string
	}{
		{"killed, opened, closed", large, "append kill open close"},
		{"killed, opened, closed, with full files", small, "append kill open close"},
		{"closed, repaired", large, "append close repair"},
		{"killed, repaired, opened", small, "append kill repair open"},
		{"closed with the last file full, appended to", small, "append close open append"},
		{"closed, torn, appended to", large, "append close tear open append"},
		{"closed, torn, killed, appended to", large, "append close tear open kill open append"},
		{"torn, killed, torn, closed", large, "append kill tear open kill tear open close"},
		{"torn with full files", small, "append append kill tear open append close tear open kill open append"},
		{"again and again", large, "append close open close open kill open append close repair open close"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			live(t, newMachine(t, c.fileBytes), newRand(t), strings.Fields(c.steps))
		})
	}
	t.Run("any steps", func(t *testing.T) {
		t.Parallel()
		rng := newRand(t)
		for range 12 {
			m := newMachine(t, []int64{small, large}[rng.IntN(2)])
			steps := []string{"append"}
			for open := true; len(steps) < 7; {
				next := []string{"open", "repair", "tear"}
				if open {
					next = []string{"append", "kill", "close"}
				}
				step := next[rng.IntN(len(next))]
				open = step == "open" || step == "append"
				steps = append(steps, step)
			}
			t.Log(steps)
			live(t, m, rng, steps)
		}
	})
}

// live takes steps on a machine, and then cuts its power.
func live(t *testing.T, m *machine, rng *rand.Rand, steps []string) {
	t.Helper()
	does := map[string]func(){
		"append": m.append, "open": m.open, "close": m.close, "kill": m.kill, "repair": m.repair, "tear": m.tear,
	}
	for _, step := range steps {
		does[step]()
	}
	m.cut(0, nil)
	m.cut(50, rng)
	if m.log != nil {
		m.close()
	}
}

// A forgetful file system is one of which, once it is armed, the syncs of block
// files fail as they do on Linux: the first who asks is told, the others are
// not, and what was to be synced stays in memory only.
type forgetful struct {
	vfs.FS
	armed atomic.Bool
	asked atomic.Int32
	gate  chan struct{} // holds the syncs up until it is closed
}

func (f *forgetful) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.OpenReadWrite(name, c, opts...)
	if err == nil && isBlocks(name) {
		file = forgetfulFile{file, f}
	}
	return file, err
}

type forgetfulFile struct {
	vfs.File
	fs *forgetful
}

func (f forgetfulFile) SyncData() error {
	if !f.fs.armed.Load() {
		return f.File.SyncData()
	}
	first := f.fs.asked.Add(1) == 1
	<-f.fs.gate
	if first {
		return errBroken
	}
	return nil
}

// TestSyncFailsBeforeNewFile lets the sync fail of a group after which a new
// file is due, while the group that begins that file is given: neither is
// acknowledged, the log stops, and what the next process shows of them it does
// not lose.
func TestSyncFailsBeforeNewFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk()
		fs := &forgetful{FS: disk, gate: make(chan struct{})}
		log, err := engine.Create("log", leat.Config{}, manyFiles(fs, 1500, 8))
		if err != nil {
			t.Fatal(err)
		}
		var book ledger
		give := func(name string) error {
			e := event(name)
			e.Type, e.Data = name, make([]byte, 1000)
			_, err := book.append(t.Context(), log, name, []leat.Event{e})
			return err
		}
		if err := give("durable"); err != nil {
			t.Fatal(err)
		}
		fs.armed.Store(true)
		var wg sync.WaitGroup
		var errs [2]error
		for i := range errs {
			wg.Go(func() { errs[i] = give(fmt.Sprint("lost-", i)) })
			synctest.Wait() // its sync is held up, or it waits for that
		}
		close(fs.gate)
		wg.Wait()
		if !errors.Is(errs[0], leat.ErrUncertain) || !errors.Is(errs[0], engine.ErrStopped) {
			t.Errorf("the append of which the sync fails: got %v, want ErrUncertain and ErrStopped", errs[0])
		}
		if !errors.Is(errs[1], engine.ErrStopped) {
			t.Errorf("the append behind it: got %v, want ErrStopped", errs[1])
		}
		if err := give("late"); !errors.Is(err, engine.ErrStopped) || errors.Is(err, leat.ErrUncertain) {
			t.Errorf("a later append: got %v, want ErrStopped with a certain outcome", err)
		}
		if err := log.Close(); !errors.Is(err, engine.ErrStopped) {
			t.Errorf("close: got %v, want ErrStopped", err)
		}
		fs.armed.Store(false)

		log = mustOpen(t, manyFiles(disk, 1500, 8)) // what is in memory only looks as if it were written
		for _, events := range readAll(t, log) {
			book.note(seen(events))
		}
		after := disk.cut(0, nil)
		closeLog(t, log)
		mustCheck(t, after, "log")
		log = mustOpen(t, manyFiles(after, 1500, 8))
		defer closeLog(t, log)
		if err := book.settle(t.Context(), log); err != nil {
			t.Error(err)
		}
	})
}

// noNewFile lets the disk be full when a new file of blocks is due.
func noNewFile(op errorfs.Op) error {
	if strings.HasSuffix(op.Path, "blocks/new") && changes(op) {
		return syscall.ENOSPC
	}
	return nil
}

// TestNoSpaceForNewFile lets the disk be full when a new file is due: Append
// says so, with a certain outcome, readers go on, and so do appends when space
// returns.
func TestNoSpaceForNewFile(t *testing.T) {
	for name, before := range map[string]int{"the first file": 0, "another file": 3} {
		t.Run(name, func(t *testing.T) {
			fs := newDisk()
			o := manyFiles(fs, 1, 8)
			log, err := engine.Create("log", leat.Config{}, o)
			if err != nil {
				t.Fatal(err)
			}
			fill(t, log, "before", before)
			fs.watch(noNewFile)
			for i := range 3 {
				_, err := log.Append(t.Context(), []leat.Event{event("refused")})
				if !errors.Is(err, leat.ErrFull) || errors.Is(err, leat.ErrUncertain) || errors.Is(err, engine.ErrStopped) {
					t.Errorf("append %d: got %v, want ErrFull and nothing else", i, err)
				}
			}
			if before > 0 {
				r, err := log.Append(t.Context(), []leat.Event{event("before-0;")})
				if !errors.Is(err, leat.ErrFull) && (err != nil || !r.Duplicate) {
					t.Errorf("append a known event: got %+v, %v, want a duplicate or ErrFull", r, err)
				}
			}
			if got := len(readAll(t, log)[leat.ShardNumber(0)]); got != before {
				t.Errorf("%d events can be read while the disk is full, want %d", got, before)
			}
			fs.leave()
			if r := mustAppend(t, log, event("refused")); r.Duplicate || r.First != uint64(before+1) {
				t.Errorf("append when there is space again: got %+v, want it recorded as sequence %d", r, before+1)
			}
			closeLog(t, log)
			after := fs.cut(0, nil)
			mustCheck(t, after, "log")
			log = mustOpen(t, manyFiles(after, 1, 8))
			defer closeLog(t, log)
			if got := len(readAll(t, log)[leat.ShardNumber(0)]); got != before+1 {
				t.Errorf("%d events are there after a power cut, want %d", got, before+1)
			}
		})
	}
}

// TestNoSpaceToOpen opens a log whose last groups have to be written again,
// while the disk is full: that is an error, and nothing is lost by it.
func TestNoSpaceToOpen(t *testing.T) {
	m := newMachine(t, 1<<20)
	m.append()
	m.kill()
	m.tear()
	m.disk.watch(noNewFile)
	if log, err := engine.Open("log", m.o); !vfs.IsNoSpaceError(err) {
		t.Fatalf("open with no space: got %v, %v, want ENOSPC", log, err)
	}
	m.disk.leave()
	m.cut(0, nil)
	m.open()
	m.append()
	m.cut(0, nil)
	m.close()
}

// TestDamageAfterKill damages a log of which a process was killed, anywhere: Open
// says so, or who reads what the index covers, or what is lost is the last Append,
// which looks like one that the kill interrupted.
func TestDamageAfterKill(t *testing.T) {
	m := newMachine(t, 1<<20)
	const n = 8
	for range n {
		m.append()
	}
	m.kill()
	info, err := m.disk.mem.Stat(blockFile(1))
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for at := newRand(t).Int64N(60); at < info.Size(); at += 60 {
		fs := vfs.NewMem()
		copyLog(t, m.disk.mem, "log", fs)
		f, err := fs.OpenReadWrite(blockFile(1), vfs.WriteCategoryUnspecified)
		if err == nil {
			_, err = f.WriteAt([]byte{0xee}, at)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		o := m.o
		o.FS = fs
		log, err := engine.Open("log", o)
		if errors.Is(err, leat.ErrCorrupt) {
			refused++
			continue
		}
		if err != nil {
			t.Fatalf("damaged at %d: %v", at, err)
		}
		switch c, err := readContents(t.Context(), log); {
		case err != nil && !errors.Is(err, leat.ErrCorrupt):
			t.Errorf("damaged at %d of %d: read: got %v, want an error that is leat.ErrCorrupt", at, info.Size(), err)
		case err == nil && len(c.events[leat.ShardNumber(0)]) < 2*(n-1):
			t.Errorf("damaged at %d of %d: %d events are there and nothing said so, want %d or an error",
				at, info.Size(), len(c.events[leat.ShardNumber(0)]), 2*(n-1))
		}
		closeLog(t, log)
	}
	if refused == 0 {
		t.Error("Open never found the damage")
	}
}

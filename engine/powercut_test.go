package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
)

// powerCutsThatFailed are seeds of TestPowerCuts that once found a mistake.
var powerCutsThatFailed = []uint64{}

// TestPowerCuts cuts the power under appends, retries, conditions, readers,
// splits and trims, several times in the life of a log: what was acknowledged or
// shown is there afterwards, nothing is there in part, and what is appended
// again is answered as promised.
func TestPowerCuts(t *testing.T) {
	var total, settled atomic.Int64
	campaign(t, powerCutsThatFailed, func(seed uint64) (bool, error) {
		l := life{rng: seeded(seed), ctx: t.Context(), settled: &settled}
		err := l.run()
		return total.Add(int64(l.cuts)) >= int64(*cuts), err
	})
	t.Logf("cut the power %d times, settled %d times after it", total.Load(), settled.Load())
}

// A life is that of one log, through several power cuts.
type life struct {
	ctx     context.Context
	rng     *rand.Rand
	cuts    int
	settled *atomic.Int64
}

// A ruin is what a power cut left.
type ruin struct {
	disk   *vfs.MemFS
	ledger *ledger
}

func (l *life) run() error {
	fs, g := newDisk(), &ledger{}
	config := leat.Config{Single: l.rng.IntN(6) == 0}
	if !config.Single {
		config.Shards = leat.EvenShards(1 + l.rng.IntN(3))
	}
	o := campaignOptions(fs)
	o.Clock = jumpingClock(l.rng)
	log, err := engine.Create("log", config, o)
	if err != nil {
		return err
	}
	for round := range 2 + l.rng.IntN(4) {
		ruins, err := l.workAndCut(log, fs, g, fmt.Sprint(round))
		if err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		for i, r := range ruins {
			l.cuts++
			if err := l.inspect(r, i == len(ruins)-1); err != nil {
				return fmt.Errorf("round %d, power cut %d: %w", round, i, err)
			}
		}
		last := ruins[len(ruins)-1]
		fs, g = diskOn(last.disk), last.ledger
		o.FS, o.Clock = fs, jumpingClock(l.rng)
		if log, err = engine.Open("log", o); err != nil {
			return fmt.Errorf("open after round %d: %w", round, err)
		}
	}
	return log.Close()
}

// workAndCut works on a log until its power was cut a few times, each time into
// a copy of its disk, and closes it. A cut comes before a write, a sync or
// another change, whichever is next by chance.
func (l *life) workAndCut(log *engine.Log, fs *disk, g *ledger, name string) ([]ruin, error) {
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	var mu sync.Mutex
	var ruins []ruin
	left, cuts := 1+l.rng.IntN(60), 1+l.rng.IntN(5)
	seed := l.rng.Uint64()
	rng := seeded(seed + 1)
	fs.watch(func(op errorfs.Op) error {
		if !changes(op) {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if left--; left > 0 || len(ruins) == cuts {
			return nil
		}
		left = 1 + rng.IntN(25)
		before := g.mark()
		copied := fs.cut([]int{0, 0, 30, 70, 100}[rng.IntN(5)], rng)
		ruins = append(ruins, ruin{copied, g.cut(before, g.mark())})
		if len(ruins) == cuts {
			cancel()
		}
		return nil
	})
	err := g.work(ctx, log, name, seeded(seed), ended)
	fs.leave()
	return ruins, errors.Join(err, log.Close())
}

// inspect checks what a power cut left. It writes to it only when that is to be
// thrown away.
func (l *life) inspect(r ruin, last bool) error {
	if err := check(l.ctx, r.disk, "log"); err != nil {
		return err
	}
	o := campaignOptions(r.disk)
	o.Clock = jumpingClock(l.rng)
	log, err := engine.Open("log", o)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	err = r.ledger.audit(l.ctx, log)
	if settle := l.rng.IntN(3) == 0; err == nil && settle && !last {
		l.settled.Add(1)
		err = r.ledger.settle(l.ctx, log)
	}
	if err = errors.Join(err, log.Close()); err != nil || last {
		return err
	}
	return check(l.ctx, r.disk, "log")
}

// check returns what Check finds wrong with a log.
func check(ctx context.Context, fs vfs.FS, dir string) error {
	report, err := engine.Check(ctx, dir, engine.Options{FS: fs}, nil)
	if err != nil {
		return err
	}
	if report.Found > 0 {
		return fmt.Errorf("check found %d problems, the first is %s", report.Found, report.Problems[0])
	}
	return nil
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

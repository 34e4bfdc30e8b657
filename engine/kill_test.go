package engine_test

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
)

// killsThatFailed are seeds of TestKill that once found a mistake.
var killsThatFailed = []uint64{}

// childTask tells a test binary that it is a child: a name, a seed, and the
// directory of the log that it works on until it is killed.
const childTask = "LEAT_ENGINE_CHILD"

// opening is the first note of a child.
type opening struct{}

func init() {
	for _, note := range []any{given{}, acked{}, refused{}, seen{}, told{}, trimming{}, trimmed{}, split(""), opening{}} {
		gob.Register(note)
	}
}

// child works on a log as those of TestPowerCuts do. Its notes go to standard
// output before, or after, what they tell of.
func child(task string) error {
	var name, dir string
	var seed uint64
	if _, err := fmt.Sscan(task, &name, &seed, &dir); err != nil {
		return err
	}
	g := &ledger{out: gob.NewEncoder(os.Stdout)}
	g.note(opening{})
	o := campaignOptions(vfs.Default)
	log, err := engine.Open(dir, o)
	if errors.Is(err, leat.ErrNotFound) {
		log, err = engine.Create(dir, leat.Config{Shards: leat.EvenShards(2)}, o)
	}
	if err != nil {
		return err
	}
	return g.work(context.Background(), log, name, seeded(seed), func(error) bool { return false })
}

// TestKill kills processes that append, read, split and trim, several times on
// one log: what they had said is so, and nothing is there in part. While one
// lives, nobody else can open the log, and the error names it.
func TestKill(t *testing.T) {
	t.Parallel()
	var total, appends atomic.Int64
	campaign(t, killsThatFailed, func(seed uint64) (bool, error) {
		dir, err := os.MkdirTemp("", "leat-kill-")
		if err != nil {
			return false, err
		}
		k := &killed{ctx: t.Context(), rng: seeded(seed), dir: filepath.Join(dir, "log")}
		rounds := 1 + k.rng.IntN(6)
		for round := 0; err == nil && round < rounds && total.Load() < int64(*kills); round++ {
			if err = k.kill(round); err == nil {
				err = k.inspect()
			}
			total.Add(1)
		}
		if err != nil {
			return false, fmt.Errorf("%w; what is left is in %s", err, dir)
		}
		appends.Add(int64(len(k.book.tally().acked)))
		return total.Load() >= int64(*kills), os.RemoveAll(dir)
	})
	t.Logf("killed %d processes, which had %d appends acknowledged", total.Load(), appends.Load())
}

// killed is a log whose processes are killed.
type killed struct {
	ctx  context.Context
	rng  *rand.Rand
	dir  string
	book ledger
}

// kill starts a process and kills it once it has noted so much, or while it
// opens the log.
func (k *killed) kill(round int) error {
	cmd := exec.CommandContext(k.ctx, os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d %s", childTask, round, k.rng.Uint64(), k.dir))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	left := []int{1, 2 + k.rng.IntN(30), 2 + k.rng.IntN(3000)}[min(2, k.rng.IntN(6))]
	notes := gob.NewDecoder(out)
	var broken error
	for {
		var n any
		if err := notes.Decode(&n); err != nil {
			if left > 0 || !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				broken = errors.Join(broken, fmt.Errorf("a child ended by itself: %w", err))
			}
			break
		}
		if _, ok := n.(opening); !ok {
			k.book.note(n)
		}
		if left--; left == 0 {
			if _, ok := n.(opening); !ok {
				broken = k.isInUse(cmd.Process.Pid)
			}
			broken = errors.Join(broken, cmd.Process.Kill())
		}
	}
	_ = cmd.Wait() // it was killed
	if broken != nil {
		return fmt.Errorf("%w\n%s", broken, stderr.String())
	}
	return nil
}

// isInUse returns an error unless opening the log gives one that names its
// process.
func (k *killed) isInUse(pid int) error {
	_, err := engine.Open(k.dir, campaignOptions(vfs.Default))
	if want := fmt.Sprintf("PID %d", pid); err == nil || !strings.Contains(err.Error(), want) {
		return fmt.Errorf("open a log that is in use: got %w, want an error with %q", err, want)
	}
	return nil
}

// inspect checks what a killed process left.
func (k *killed) inspect() error {
	err := check(k.ctx, vfs.Default, k.dir)
	if errors.Is(err, leat.ErrNotFound) && len(k.book.notes) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	log, err := engine.Open(k.dir, campaignOptions(vfs.Default))
	if err != nil {
		return fmt.Errorf("open after a kill: %w", err)
	}
	err = k.book.audit(k.ctx, log)
	if err == nil && k.rng.IntN(3) == 0 {
		err = k.book.settle(k.ctx, log)
	}
	return errors.Join(err, log.Close())
}

//go:build unix

package killtest

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/proxy"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/server/lease"
	"github.com/leathq/leat/server/rpc"
)

var (
	rounds = flag.Int("rounds", 6, "how many rounds workers are killed")
	seed   = flag.Uint64("seed", 0, "of what happens to the workers; another each time when 0")
)

const (
	workers   = 3
	streams   = 40
	patience  = 2 * time.Minute // for what has to happen sooner or later
	lookEvery = 5 * time.Millisecond
)

// A Trouble is something that happens while the workers work.
type Trouble struct {
	Name string
	Do   func()
}

// A crew are processes that work on one log, which this process serves.
type crew struct {
	t     *testing.T
	rnd   *rand.Rand
	env   []string      // of the workers
	state func() string // how far they are, for messages

	log    *leattest.Log
	leases *lease.Keeper
	proxy  *proxy.Proxy

	slots   []*worker // nil for one that is gone
	started int
	stopped *worker // by stop
}

func newCrew(t *testing.T, task string, env []string) *crew {
	t.Helper()
	c := &crew{t: t, env: append(env, envTask+"="+task), slots: make([]*worker, workers), state: func() string { return "" }}
	n := *seed
	if n == 0 {
		n = rand.Uint64()
	}
	t.Logf("seed %d", n)
	c.rnd = rand.New(rand.NewPCG(n, 0)) //nolint:gosec // to be repeated, not to be secret
	c.serve()
	return c
}

// troubles returns those of a crew, and more.
func (c *crew) troubles(lost func(w *worker) bool, more []Trouble) []Trouble {
	return append([]Trouble{
		{"a worker is killed", func() { c.kill(c.rnd.IntN(workers)) }},
		{"a worker is stopped until others have taken over", func() { c.stop(syscall.SIGSTOP, lost) }},
		{"all workers are killed", c.killAll},
		{"connections to the log are cut", c.proxy.Cut},
	}, more...)
}

// suffer lets one trouble happen, anywhere in the work, and notes it.
func (c *crew) suffer(troubles []Trouble, happened map[string]int) {
	time.Sleep(time.Duration(c.rnd.IntN(60)) * time.Millisecond)
	trouble := troubles[c.rnd.IntN(len(troubles))]
	happened[trouble.Name]++
	trouble.Do()
}

// serve serves the log until the test ends.
func (c *crew) serve() {
	t := c.t
	log, err := leattest.New(leat.Config{Shards: leat.EvenShards(4)}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	c.log, c.leases = log, lease.New(time.Now)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := rpc.New(rpc.One("log", log, c.leases), rpc.Options{})
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("shut down: %v", err)
		}
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
		if err := log.Close(); err != nil {
			t.Errorf("close the log: %v", err)
		}
	})
	c.proxy = proxy.New(t, "tcp", listener.Addr().String())
}

// until waits until a condition holds.
func (c *crew) until(what string, holds func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			c.t.Fatalf("after %v it does not hold that %s; %s", patience, what, c.state())
		}
		c.workersLive()
		time.Sleep(lookEvery)
	}
}

// A worker is a process.
type worker struct {
	name      string
	cmd       *exec.Cmd
	stderr    bytes.Buffer
	ended     chan struct{} // closed when it has
	dismissed bool          // is to end
}

// staff starts workers in place of those that are gone.
func (c *crew) staff() {
	c.t.Helper()
	for i, w := range c.slots {
		if w == nil {
			c.slots[i] = c.hire()
		}
	}
}

func (c *crew) hire() *worker {
	c.t.Helper()
	c.started++
	w := &worker{name: fmt.Sprintf("w%d", c.started), ended: make(chan struct{})}
	self, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	w.cmd = exec.Command(self) //nolint:gosec,noctx // this test; it is killed by hand
	w.cmd.Env = slices.Concat(os.Environ(), c.env, []string{envLog + "=leat://" + c.proxy.Address + "/log", envWorker + "=" + w.name})
	w.cmd.Stderr = &w.stderr
	if err := w.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() {
		defer close(w.ended)
		_ = w.cmd.Wait() // what went wrong is in its output
	}()
	return w
}

// workersLive fails the test when a worker ended that was to go on, and lets those
// go on that stopped when nobody waited for that any more.
func (c *crew) workersLive() {
	c.t.Helper()
	for i, w := range c.slots {
		if w == nil {
			continue
		}
		select {
		case <-w.ended:
			c.slots[i] = nil
			if w.dismissed && w.cmd.ProcessState.ExitCode() <= 0 { // below if it had not begun
				continue
			}
			c.t.Fatalf("worker %s ended: %v\n%s", w.name, w.cmd.ProcessState, w.stderr.String())
		default:
			if w != c.stopped {
				_ = w.cmd.Process.Signal(syscall.SIGCONT)
			}
		}
	}
}

func (c *crew) kill(i int) {
	w := c.slots[i]
	if w == nil {
		return
	}
	_ = w.cmd.Process.Kill()
	<-w.ended
	c.slots[i] = nil
}

// dismiss has all workers end in order: what they have begun is done when it
// returns, or never will be.
func (c *crew) dismiss() {
	c.t.Helper()
	for _, w := range c.slots {
		if w != nil {
			w.dismissed = true
			_ = w.cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	c.until("all workers have ended", func() bool {
		return !slices.ContainsFunc(c.slots, func(w *worker) bool { return w != nil })
	})
}

func (c *crew) killAll() {
	for i := range c.slots {
		c.kill(i)
	}
}

// stop stops a worker until it has lost what it held, with a signal.
func (c *crew) stop(with os.Signal, lost func(w *worker) bool) {
	c.t.Helper()
	w := c.slots[c.rnd.IntN(workers)]
	if w == nil {
		return
	}
	c.stopped = w
	_ = w.cmd.Process.Signal(with)
	defer func() {
		c.stopped = nil
		_ = w.cmd.Process.Signal(syscall.SIGCONT)
	}()
	c.until(w.name+" has lost what it held", func() bool { return lost(w) })
	time.Sleep(time.Duration(c.rnd.Int64N(int64(2 * leaseTTL)))) // others may have begun, or not
}

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
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/server/lease"
	"github.com/leathq/leat/server/rpc"
)

var (
	rounds = flag.Int("rounds", 8, "how many rounds workers are killed")
	seed   = flag.Uint64("seed", 0, "of what happens to the workers; another each time when 0")
)

const (
	workers   = 3
	streams   = 40
	patience  = 2 * time.Minute // for what has to happen sooner or later
	lookEvery = 5 * time.Millisecond
)

// A Database is where the workers count.
type Database struct {
	// Env is what workers have in their environment to find it.
	Env []string

	// Counts returns how many events are counted for each stream. It may fail
	// while the database is away.
	Counts func(ctx context.Context) (map[string]uint64, error)

	// Troubles are what happens to it.
	Troubles []Trouble
}

// A Trouble is something that happens while the workers work.
type Trouble struct {
	Name string
	Do   func()
}

// Run puts workers to the test, for as many rounds as the flag -rounds says.
func Run(t *testing.T, db Database) {
	c := &campaign{t: t, db: db, appended: make(map[string]uint64), slots: make([]*worker, workers)}
	n := *seed
	if n == 0 {
		n = rand.Uint64()
	}
	t.Logf("seed %d", n)
	c.rnd = rand.New(rand.NewPCG(n, 0)) //nolint:gosec // to be repeated, not to be secret
	c.serve()
	defer c.killAll()
	troubles := append([]Trouble{
		{"a worker is killed", func() { c.kill(c.rnd.IntN(workers)) }},
		{"a worker is stopped beyond its lease", c.stop},
		{"all workers are killed", c.killAll},
		{"connections to the log are cut", c.proxy.Cut},
	}, db.Troubles...)
	happened := make(map[string]int)
	for round := range *rounds {
		c.staff()
		before := c.total()
		c.append(50 + c.rnd.IntN(400))
		// Each round sees some work done, and some that is not.
		c.until("something is counted", func() bool { n := c.total(); return n > before || n == c.sum() })
		time.Sleep(time.Duration(c.rnd.IntN(60)) * time.Millisecond) // anywhere in the work
		trouble := troubles[c.rnd.IntN(len(troubles))]
		happened[trouble.Name]++
		trouble.Do()
		if round%20 == 19 {
			c.audit()
		}
	}
	c.audit()
	for name, n := range happened {
		t.Logf("%3d × %s", n, name)
	}
	t.Logf("%d events are counted once", c.sum())
}

type campaign struct {
	t   *testing.T
	db  Database
	rnd *rand.Rand

	log    *leattest.Log
	leases *lease.Keeper
	proxy  *Proxy

	appended map[string]uint64 // events of each stream
	slots    []*worker         // nil for one that is gone
	started  int
}

// serve serves the log until the test ends.
func (c *campaign) serve() {
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
	c.proxy = NewProxy(t, "tcp", listener.Addr().String())
}

// append appends events to random streams.
func (c *campaign) append(n int) {
	c.t.Helper()
	for range n {
		stream := fmt.Sprintf("stock-%d", c.rnd.IntN(streams))
		e := leat.Event{Stream: stream, Type: "Received", Source: "test", Data: []byte("1")}
		if _, err := c.log.Append(c.t.Context(), []leat.Event{e}); err != nil {
			c.t.Fatal(err)
		}
		c.appended[stream]++
	}
}

func sum(counts map[string]uint64) (n uint64) {
	for _, count := range counts {
		n += count
	}
	return n
}

func (c *campaign) sum() uint64 { return sum(c.appended) }

// counts returns what is counted, as soon as the database tells.
func (c *campaign) counts() (counts map[string]uint64) {
	c.t.Helper()
	c.until("the database answers", func() bool {
		var err error
		counts, err = c.db.Counts(c.t.Context())
		return err == nil
	})
	return counts
}

func (c *campaign) total() uint64 { return sum(c.counts()) }

// until waits until a condition holds.
func (c *campaign) until(what string, holds func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			counts, err := c.db.Counts(c.t.Context())
			c.t.Fatalf("after %v it does not hold that %s; %d of %d events are counted, %v", patience, what, sum(counts), c.sum(), err)
		}
		c.workersLive()
		time.Sleep(lookEvery)
	}
}

// audit waits until everything is counted, and compares.
func (c *campaign) audit() {
	c.t.Helper()
	c.staff()
	c.until("all events are counted", func() bool { return c.total() >= c.sum() })
	counts := c.counts()
	for stream, want := range c.appended {
		if counts[stream] != want {
			c.t.Errorf("%s is counted %d times and has %d events", stream, counts[stream], want)
		}
	}
	if len(counts) != len(c.appended) {
		c.t.Errorf("%d streams are counted, the log has %d", len(counts), len(c.appended))
	}
}

// A worker is a process.
type worker struct {
	name   string
	cmd    *exec.Cmd
	stderr bytes.Buffer
	ended  chan struct{} // closed when it has
}

// staff starts workers in place of those that are gone.
func (c *campaign) staff() {
	c.t.Helper()
	for i, w := range c.slots {
		if w == nil {
			c.slots[i] = c.hire()
		}
	}
}

func (c *campaign) hire() *worker {
	c.t.Helper()
	c.started++
	w := &worker{name: fmt.Sprintf("w%d", c.started), ended: make(chan struct{})}
	self, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	w.cmd = exec.Command(self) //nolint:gosec,noctx // this test; it is killed by hand
	w.cmd.Env = slices.Concat(os.Environ(), c.db.Env, []string{envLog + "=leat://" + c.proxy.Address + "/log", envWorker + "=" + w.name})
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

// workersLive fails the test when a worker ended that nobody killed.
func (c *campaign) workersLive() {
	c.t.Helper()
	for i, w := range c.slots {
		if w == nil {
			continue
		}
		select {
		case <-w.ended:
			c.slots[i] = nil
			c.t.Fatalf("worker %s ended: %v\n%s", w.name, w.cmd.ProcessState, w.stderr.String())
		default:
		}
	}
}

func (c *campaign) kill(i int) {
	w := c.slots[i]
	if w == nil {
		return
	}
	_ = w.cmd.Process.Kill()
	<-w.ended
	c.slots[i] = nil
}

func (c *campaign) killAll() {
	for i := range c.slots {
		c.kill(i)
	}
}

// stop stops a worker until its leases and its membership have expired.
func (c *campaign) stop() {
	c.t.Helper()
	w := c.slots[c.rnd.IntN(workers)]
	if w == nil {
		return
	}
	_ = w.cmd.Process.Signal(syscall.SIGSTOP)
	defer func() { _ = w.cmd.Process.Signal(syscall.SIGCONT) }()
	c.until(w.name+" has lost its leases", func() bool {
		fleet, err := c.leases.Fleet(c.t.Context(), application)
		return err == nil && !slices.ContainsFunc(fleet.Members, func(m leat.Member) bool { return strings.HasPrefix(m.Owner, w.name+"/") }) &&
			!slices.ContainsFunc(fleet.Leases, func(l leat.Lease) bool { return strings.HasPrefix(l.Owner, w.name+"/") })
	})
}

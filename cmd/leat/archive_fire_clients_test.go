package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/leathq/leat"
)

// An archiver is a leat archive run.
type archiver struct {
	*child
	args []string
}

func (a *archiver) start() error {
	path, err := binary()
	if err != nil {
		return err
	}
	a.child, err = startChild(exec.Command(path, a.args...))
	return err
}

// archives reports whether the process runs and says that it archives.
func (a *archiver) archives() bool {
	return !a.hasEnded() && strings.Contains(a.said.String(), "archiving ")
}

// clients append events, only as many as they are allowed to, and keep what was
// acknowledged. What was not is sent again until it is.
type clients struct {
	t       *testing.T
	writers sync.WaitGroup
	cancel  context.CancelFunc

	mu      sync.Mutex
	changed *sync.Cond
	allowed int // appends
	done    []acknowledged
	failed  bool
	ended   bool
}

type acknowledged struct {
	events  []leat.Event
	receipt leat.Receipt
}

func (f *fire) startClients() *clients {
	c := &clients{t: f.T}
	c.changed = sync.NewCond(&c.mu)
	ctx, cancel := context.WithCancel(f.Context())
	c.cancel = cancel
	f.Cleanup(c.end)
	for i := range 4 {
		log, rng := f.dial(), rand.New(rand.NewPCG(f.rng.Uint64(), 0))
		c.writers.Go(func() {
			for n := 0; c.next(); n++ {
				stream := fmt.Sprintf("order-{c%d}-%d", rng.IntN(20), i)
				events := make([]leat.Event, 1+rng.IntN(3))
				for j := range events {
					id := fmt.Sprintf("client-%d-%d-%d", i, n, j)
					events[j] = leat.Event{ID: id, Stream: stream, Type: "OrderPlaced", Source: "orders", Data: fmt.Appendf(nil, `{"id":%q,"pad":"%*d"}`, id, rng.IntN(300), j)}
				}
				r, err := log.Append(ctx, events)
				c.acknowledge(events, r, err)
			}
		})
	}
	return c
}

// next waits until another append is allowed, and reports whether one is.
func (c *clients) next() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.allowed == 0 && !c.ended && !c.failed {
		c.changed.Wait()
	}
	if c.allowed == 0 || c.failed {
		return false
	}
	c.allowed--
	return true
}

func (c *clients) acknowledge(events []leat.Event, r leat.Receipt, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.changed.Broadcast()
	if err != nil {
		c.failed = true
		c.t.Errorf("append of %s: %v", events[0].ID, err)
		return
	}
	c.done = append(c.done, acknowledged{events, r})
}

// allow lets n more appends be made.
func (c *clients) allow(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.allowed += n
	c.changed.Broadcast()
}

// wait returns once n more appends are acknowledged, or all that are allowed.
func (c *clients) wait(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n += len(c.done); len(c.done) < n && c.allowed > 0 && !c.failed; {
		c.changed.Wait()
	}
}

// end lets the clients finish what is allowed.
func (c *clients) end() {
	c.mu.Lock()
	c.ended = true
	c.changed.Broadcast()
	c.mu.Unlock()
	c.writers.Wait()
	c.cancel()
}

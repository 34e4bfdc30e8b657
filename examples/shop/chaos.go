package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// How chaos strikes: about once a second; one in five processes is not killed
// but paused, for longer than a lease lives. It ends after a hundred strikes,
// because a worker that was started again has to read its articles' histories
// before it is up to speed: of the real file's, more than can be read between
// two strikes.
const (
	mostStrikes = 100
	strikeLeast = 500 * time.Millisecond
	strikeMost  = 1500 * time.Millisecond
	pausedOne   = 5
	pauseLeast  = leaseTTL + 500*time.Millisecond
	pauseMost   = leaseTTL + 2500*time.Millisecond
)

// A chaos kills and pauses processes of the shop.
type chaos struct {
	shop *shop
	seed uint64

	mu            sync.Mutex
	kills, pauses map[string]int // by the name of the process
}

func newChaos(s *shop, seed uint64) *chaos {
	return &chaos{shop: s, seed: seed, kills: make(map[string]int), pauses: make(map[string]int)}
}

// during strikes while work works. When work is done, all processes go on.
func (c *chaos) during(ctx context.Context, work func() error) error {
	striking, stop := context.WithCancel(ctx)
	var paused sync.WaitGroup
	paused.Go(func() { c.strike(striking, &paused) })
	err := work()
	stop()
	paused.Wait()
	return err
}

// strike hits a process every now and then until ctx ends.
func (c *chaos) strike(ctx context.Context, paused *sync.WaitGroup) {
	rng := rand.New(rand.NewPCG(c.seed, 0))
	names := c.shop.processes.Names()
	for strikes := 0; strikes < mostStrikes && wait(ctx, between(rng, strikeLeast, strikeMost)) == nil; {
		name, pause, long := names[rng.IntN(len(names))], rng.IntN(pausedOne) == 0, between(rng, pauseLeast, pauseMost)
		strikes++
		switch {
		case pause && c.shop.processes.Pause(name):
			c.count(c.pauses, name)
			paused.Go(func() {
				_ = wait(ctx, long)
				c.shop.processes.Resume(name)
			})
		case !pause && c.shop.processes.Kill(name):
			c.count(c.kills, name)
		}
	}
}

func between(rng *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(rng.Int64N(int64(most-least)))
}

func (c *chaos) count(what map[string]int, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	what[name]++
}

// total returns how often it struck.
func (c *chaos) total() (kills, pauses int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.kills {
		kills += n
	}
	for _, n := range c.pauses {
		pauses += n
	}
	return kills, pauses
}

func (c *chaos) note() string {
	kills, pauses := c.total()
	return fmt.Sprintf("; %d killed, %d paused", kills, pauses)
}

package service_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/server/lease"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

// A longer campaign, or one again:
//
//	go test ./service -run TestFleetCampaign -timeout 0 -args -rounds 200
//	go test ./service -run TestFleetCampaign/3_workers -args -seed 4711 -rounds 1
var (
	campaignRounds = flag.Int("rounds", 3, "rounds of each fleet in TestFleetCampaign")
	campaignSeed   = flag.Uint64("seed", 0, "seed of the first round of TestFleetCampaign; by chance when 0")
)

// Fleets of several sizes share 16 shards. Their workers join, are stopped, killed,
// and paused beyond their leases, while shards are split and events arrive. No
// event is missed or handled out of order, and who took a shard over is not
// followed by who had it before.
func TestFleetCampaign(t *testing.T) {
	for _, workers := range []int{1, 3, 8} {
		t.Run(fmt.Sprintf("%d workers", workers), func(t *testing.T) {
			seed := *campaignSeed
			if seed == 0 {
				seed = rand.Uint64()
			}
			for round := range uint64(*campaignRounds) { //nolint:gosec // not negative
				synctest.Test(t, func(t *testing.T) {
					defer func() {
						if t.Failed() {
							t.Logf("-seed %d -rounds 1", seed+round)
						}
					}()
					newFleetCampaign(t, seed+round, workers).run()
				})
				if t.Failed() {
					return
				}
			}
		})
	}
}

const (
	campaignTTL     = 3 * time.Second
	campaignStreams = 48
	campaignSteps   = 30
)

// A fleetCampaign is a log, a database and a keeper, which outlive everybody, and
// the workers that are there.
type fleetCampaign struct {
	t       *testing.T
	rnd     *rand.Rand // for the goroutine of run
	size    int        // of the fleet
	log     *leattest.Log
	keeper  *lease.Keeper
	model   *servicetest.Memory
	streams []string
	each    int // events in each stream
	names   int
	workers []*worker

	mu      sync.Mutex
	reacted map[string]uint64 // by stream: the highest version that the reactor is done with
	poison  map[string]bool   // events that cannot be handled, for a while
	last    map[string]step   // by application and shard: what was committed last
	taken   map[string]taking // by application and shard: who acquired the lease last
}

// A step was committed under a lease.
type step struct {
	worker string
	token  uint64
	seq    uint64
}

type taking struct {
	owner string
	at    time.Time
}

func newFleetCampaign(t *testing.T, seed uint64, size int) *fleetCampaign {
	return &fleetCampaign{
		t: t, rnd: rand.New(rand.NewPCG(seed, uint64(size))), size: size, //nolint:gosec // not negative
		log: newLog(t, leat.Config{Shards: leat.EvenShards(16)}), keeper: lease.New(nil), model: servicetest.NewMemory(),
		streams: streamsNamed(campaignStreams),
		reacted: make(map[string]uint64), poison: make(map[string]bool), last: make(map[string]step), taken: make(map[string]taking),
	}
}

func (c *fleetCampaign) run() {
	for range c.size {
		c.join()
	}
	for range campaignSteps {
		c.append()
		c.happen()
		time.Sleep(time.Duration(c.rnd.IntN(4000)) * time.Millisecond)
		for _, w := range c.workers {
			w.checkRuns()
		}
	}
	c.settle()
	for _, w := range c.workers {
		w.leave()
	}
	c.check()
}

func (c *fleetCampaign) append() {
	n := 1 + c.rnd.IntN(4)
	fill(c.t, c.log, repeated(n, c.streams...)...)
	c.each += n
}

// happen does something to the fleet, the log or an event.
func (c *fleetCampaign) happen() {
	stream := c.streams[c.rnd.IntN(len(c.streams))]
	switch n := c.rnd.IntN(15); {
	case n == 12:
		c.mu.Lock()
		c.poison[fmt.Sprint(stream, "@", c.each)] = true
		c.mu.Unlock()
	case n == 13:
		c.retry(stream)
	case n == 14:
		c.heal()
	case len(c.workers) == 0, n < 4 && len(c.workers) < c.size+2:
		c.join()
	case n < 6:
		c.take().leave()
	case n < 8:
		c.kill(c.take())
	case n < 10:
		w := c.workers[c.rnd.IntN(len(c.workers))]
		w.pause()
		pause := time.Duration(c.rnd.Int64N(int64(4 * campaignTTL)))
		time.AfterFunc(pause, w.resume)
	default:
		c.split()
	}
}

// split splits a shard, and now and then what has just come of it: while there is
// something to do in it, and in front of something to do.
func (c *fleetCampaign) split() {
	stream := c.streams[c.rnd.IntN(len(c.streams))]
	for range 1 + c.rnd.IntN(3) {
		for _, s := range openShards(c.t, c.log) {
			if s.Owns(leat.RouteHash(stream)) {
				_, err := c.log.Split(c.t.Context(), s.ID, s.Middle())
				ok(c.t, err)
			}
		}
	}
	c.append()
}

// heal lets every event be handled, and what is parked be tried again.
func (c *fleetCampaign) heal() {
	c.mu.Lock()
	clear(c.poison)
	c.mu.Unlock()
	for _, s := range c.streams {
		c.retry(s)
	}
}

func (c *fleetCampaign) retry(stream string) {
	for _, app := range campaignApps {
		if err := c.model.Retry(c.t.Context(), app, stream); !errors.Is(err, service.ErrNotParked) {
			ok(c.t, err)
		}
	}
}

// fate returns the error of an event that cannot be handled.
func (c *fleetCampaign) fate(r leat.Recorded) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.poison[fmt.Sprint(r.Stream, "@", r.Version)] {
		return service.Permanent(errBroken)
	}
	return nil
}

// take takes a worker off the list.
func (c *fleetCampaign) take() *worker {
	i := c.rnd.IntN(len(c.workers))
	w := c.workers[i]
	c.workers = append(c.workers[:i:i], c.workers[i+1:]...)
	return w
}

// kill kills a worker. If there are others to take its shards over, it waits for
// twice the time of a lease and looks whether they have.
func (c *fleetCampaign) kill(w *worker) {
	held := make(map[string][]leat.ShardID)
	for _, app := range campaignApps {
		f, err := c.keeper.Fleet(c.t.Context(), app)
		ok(c.t, err)
		for _, l := range f.Leases {
			if w.is(l.Owner) {
				held[app] = append(held[app], l.Shard)
			}
		}
	}
	w.kill()
	dead := time.Now()
	awake := false
	for _, other := range c.workers {
		awake = awake || !other.isPaused()
	}
	if !awake || c.rnd.IntN(2) == 0 {
		return
	}
	c.append()
	time.Sleep(2 * campaignTTL)
	for app, shards := range held {
		at, err := c.model.Checkpoint(c.t.Context(), app)
		ok(c.t, err)
		for _, s := range allShards(c.t, c.log) {
			for _, shard := range shards {
				finished := s.Closed && at.Seqs[s.ID] == s.Head
				if s.ID == shard && !finished && !c.takenSince(app, shard, dead) {
					c.t.Errorf("%s of %q was not taken over within %s of the end of %s", shard, app, 2*campaignTTL, w.name)
				}
			}
		}
	}
}

func (c *fleetCampaign) takenSince(app string, shard leat.ShardID, t time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.taken[app+string(shard)].at.After(t)
}

// settle lets the fleet come to rest and checks that it shares evenly.
func (c *fleetCampaign) settle() {
	time.Sleep(4 * campaignTTL) // everybody is awake again
	for len(c.workers) < c.size {
		c.join()
	}
	to, err := leat.Start(c.t.Context(), c.log, leat.Now)
	ok(c.t, err)
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Minute)
	defer cancel()
	for _, w := range c.workers {
		ok(c.t, w.app.WaitCaughtUp(ctx, to))
	}
	c.heal()
	time.Sleep(4 * campaignTTL)
	for _, app := range campaignApps {
		wantBalance(c.t, c.keeper, app, len(c.workers), len(openShards(c.t, c.log)))
	}
}

// check looks at what has become of the events.
func (c *fleetCampaign) check() {
	data := c.model.Data()
	for _, s := range c.streams {
		want(c.t, s+" as applied", data[s], versions(c.each))
		want(c.t, s+" handled by the reactor up to", c.reacted[s], uint64(c.each)) //nolint:gosec // not negative
	}
	for _, app := range campaignApps {
		want(c.t, "parked by "+app, parkedList(c.t, c.model, app), "")
		if held := holdings(c.t, c.keeper, app); len(held) != 0 {
			c.t.Errorf("everybody has left %q, the keeper still has %v", app, held)
		}
	}
}

var campaignApps = []string{"history", "reactor"}

package service_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
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

// A worker is a process of the fleet. All it does to others passes through it, so
// that it can be paused and killed.
type worker struct {
	*fleetCampaign
	name   string
	app    *service.App
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // of Run, once ended is closed

	mu     sync.Mutex
	dead   bool
	paused chan struct{}     // closed when it goes on; nil when it is not paused
	tokens map[string]uint64 // by application and shard: of the lease it was given last
}

func (c *fleetCampaign) join() {
	c.names++
	w := &worker{fleetCampaign: c, name: fmt.Sprintf("worker%d", c.names), ended: make(chan struct{}), tokens: make(map[string]uint64)}
	p := history("history", workerModel{c.model, w})
	apply := p.Apply
	p.Apply = func(ctx context.Context, tx *tx, r leat.Recorded) error {
		time.Sleep(3 * time.Millisecond) // so that it lags when something happens
		if err := c.fate(r); err != nil {
			return err
		}
		return apply(ctx, tx, r)
	}
	var err error
	w.app, err = service.NewApp(service.Config{
		Log: workerLog{c.log, w}, Leases: workerKeeper{c.keeper, w}, LeaseTTL: campaignTTL, Instance: w.name, Drain: time.Second,
		Logger: slog.New(slog.DiscardHandler),
	}, p, service.Reactor{Name: "reactor", Checkpoints: workerModel{c.model, w}, React: w.react})
	ok(c.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	go func() {
		defer close(w.ended)
		w.err = w.app.Run(ctx)
	}()
	c.workers = append(c.workers, w)
}

// react handles an event for the reactor, slowly.
func (w *worker) react(_ context.Context, r leat.Recorded) error {
	if err := w.pass(); err != nil {
		return err
	}
	c := w.fleetCampaign
	if err := c.fate(r); err != nil {
		return err
	}
	c.mu.Lock()
	if r.Version > c.reacted[r.Stream]+1 {
		c.t.Errorf("%s handles version %d of %s when %d was the last", w.name, r.Version, r.Stream, c.reacted[r.Stream])
	}
	c.mu.Unlock()
	time.Sleep(50 * time.Millisecond)
	if err := w.pass(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reacted[r.Stream] = max(c.reacted[r.Stream], r.Version)
	return nil
}

// is reports whether the worker is the owner of a lease.
func (w *worker) is(owner string) bool { return strings.HasPrefix(owner, w.name+"/") }

// pass waits while the worker is paused. It fails when the worker is dead.
func (w *worker) pass() error {
	for {
		w.mu.Lock()
		dead, paused := w.dead, w.paused
		w.mu.Unlock()
		switch {
		case dead:
			return errCutOff
		case paused == nil:
			return nil
		}
		<-paused
	}
}

func (w *worker) pause() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.paused == nil {
		w.paused = make(chan struct{})
	}
}

func (w *worker) resume() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.paused != nil {
		close(w.paused)
		w.paused = nil
	}
}

func (w *worker) isPaused() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.paused != nil
}

// kill ends the worker where it stands: from now on it changes nothing.
func (w *worker) kill() {
	w.mu.Lock()
	w.dead = true
	w.mu.Unlock()
	w.resume()
	w.cancel()
	<-w.ended
}

// leave ends the worker in good order.
func (w *worker) leave() {
	w.resume()
	w.cancel()
	<-w.ended
	if w.err != nil {
		w.t.Errorf("%s was asked to end, and said %v", w.name, w.err)
	}
}

// checkRuns checks that the worker did not end by itself.
func (w *worker) checkRuns() {
	select {
	case <-w.ended:
		w.t.Fatalf("%s ended: %v", w.name, w.err)
	default:
	}
}

// workerLog, workerKeeper and workerModel are the log, the keeper and the database
// as a worker reaches them. It can be paused before a request is sent, and before
// it gets the answer.
type workerLog struct {
	*leattest.Log
	w *worker
}

func (l workerLog) ReadShard(ctx context.Context, s leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	if err := l.w.pass(); err != nil {
		return leat.Batch{}, err
	}
	b, err := l.Log.ReadShard(ctx, s, after, o)
	return b, errors.Join(err, l.w.pass())
}

func (l workerLog) Shards(ctx context.Context) ([]leat.Shard, error) {
	if err := l.w.pass(); err != nil {
		return nil, err
	}
	shards, err := l.Log.Shards(ctx)
	return shards, errors.Join(err, l.w.pass())
}

type workerKeeper struct {
	*lease.Keeper
	w *worker
}

func (k workerKeeper) Acquire(ctx context.Context, app string, s leat.ShardID, owner string, ttl time.Duration) (leat.Lease, error) {
	if err := k.w.pass(); err != nil {
		return leat.Lease{}, err
	}
	l, err := k.Keeper.Acquire(ctx, app, s, owner, ttl)
	if err == nil {
		k.w.note(l)
		c := k.w.fleetCampaign
		c.mu.Lock()
		c.taken[app+string(s)] = taking{owner, time.Now()}
		c.mu.Unlock()
	}
	return l, errors.Join(err, k.w.pass())
}

func (k workerKeeper) Renew(ctx context.Context, l leat.Lease, ttl time.Duration) (leat.Lease, error) {
	if err := k.w.pass(); err != nil {
		return leat.Lease{}, err
	}
	l, err := k.Keeper.Renew(ctx, l, ttl)
	if err == nil {
		k.w.note(l)
	}
	return l, errors.Join(err, k.w.pass())
}

func (k workerKeeper) Release(ctx context.Context, l leat.Lease) error {
	if err := k.w.pass(); err != nil {
		return err
	}
	return errors.Join(k.Keeper.Release(ctx, l), k.w.pass())
}

func (k workerKeeper) Join(ctx context.Context, app, owner string, ttl time.Duration) (leat.Fleet, error) {
	if err := k.w.pass(); err != nil {
		return leat.Fleet{}, err
	}
	f, err := k.Keeper.Join(ctx, app, owner, ttl)
	return f, errors.Join(err, k.w.pass())
}

func (k workerKeeper) Leave(ctx context.Context, app, owner string) error {
	if err := k.w.pass(); err != nil {
		return err
	}
	return errors.Join(k.Keeper.Leave(ctx, app, owner), k.w.pass())
}

// note remembers the token of a lease that the worker was given.
func (w *worker) note(l leat.Lease) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tokens[l.App+string(l.Shard)] = l.Token
}

type workerModel struct {
	*servicetest.Memory
	w *worker
}

func (m workerModel) Checkpoint(ctx context.Context, name string) (leat.Checkpoint, error) {
	if err := m.w.pass(); err != nil {
		return leat.Checkpoint{}, err
	}
	at, err := m.Memory.Checkpoint(ctx, name)
	return at, errors.Join(err, m.w.pass())
}

func (m workerModel) Save(ctx context.Context, s service.Step) error {
	return m.Commit(ctx, s, func(context.Context, *tx) error { return nil })
}

// Commit may be carried out after the context has ended, as that of a request
// that was on its way when the worker was paused.
func (m workerModel) Commit(ctx context.Context, s service.Step, f func(context.Context, *tx) error) error {
	if err := m.w.pass(); err != nil {
		return err
	}
	err := m.Memory.Commit(context.WithoutCancel(ctx), s, func(ctx context.Context, tx *tx) error {
		if err := f(ctx, tx); err != nil {
			return err
		}
		m.w.committed(s)
		return nil
	})
	return errors.Join(err, m.w.pass())
}

// committed checks a step as it is committed: it goes on where the last one
// ended, and under no earlier lease than a step before it that moved. (One that
// only parks events fences nobody: each worker that stands there may go on, since
// it passes what it has handled or parked itself.)
func (w *worker) committed(s service.Step) {
	c := w.fleetCampaign
	c.mu.Lock()
	defer c.mu.Unlock()
	for shard, seq := range s.To.Seqs {
		key := s.Name + string(shard)
		w.mu.Lock()
		now := step{w.name, w.tokens[key], seq}
		w.mu.Unlock()
		before := c.last[key]
		if from := s.From.Seqs[shard]; from != before.seq || seq < from {
			c.t.Errorf("%s of %q: %s went from %d to %d when %s was at %d", shard, s.Name, w.name, from, seq, before.worker, before.seq)
		}
		if now.token < before.token {
			c.t.Errorf("%s of %q: %s went on to %d under token %d after %s had under token %d", shard, s.Name, w.name, seq, now.token, before.worker, before.token)
		}
		if seq > before.seq {
			c.last[key] = now
		}
	}
}

package service_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/server/lease"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

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
		if len(s.To.Seqs) > 1 && s.From.Seqs[shard] > 0 {
			continue // the first step in a shard that was split from this one, which others held
		}
		if now.token < before.token {
			c.t.Errorf("%s of %q: %s went on to %d under token %d after %s had under token %d", shard, s.Name, w.name, seq, now.token, before.worker, before.token)
		}
		if seq > before.seq {
			c.last[key] = now
		}
	}
}

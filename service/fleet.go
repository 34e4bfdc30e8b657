package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/leathq/leat"
)

// A fleet works on the shards of the log that are this process's part of an
// application: all of them, or with a keeper of leases those it holds the lease
// of. It starts a run for each, a child's when its parents' are finished, and
// ends those of the leases it has lost or gives away.
//
// Leases only keep two processes from doing the same work. What keeps them from
// doing harm is the step of a checkpoint from where it stands (Step.Check).
//
// Its fields belong to the goroutine of run.
type fleet struct {
	worker
	store  CheckpointStore
	newRun func(leat.Shard) run
	brake  *brake

	rebuild    bool        // when it begins
	startsOver bool        // from the beginning when the log was restored
	over       atomic.Bool // run has returned

	epoch      uint64 // of the log, as the store has it
	held       map[leat.ShardID]*holding
	ended      chan ending
	rebuilding bool      // was, when it looked last
	joined     bool      // it may be a member, as far as the keeper knows
	counted    time.Time // when the parked events were
}

// A run works on one shard of an application. run is called once and returns
// when stop has ended and its handlers have returned, when the shard is
// finished, or with an error.
type run interface {
	run(stop context.Context, at leat.Checkpoint) error
}

// A holding is a shard that the process works on.
type holding struct {
	lease leat.Lease // zero without a keeper
	until time.Time  // by when the lease has expired if it is not renewed
	stop  context.CancelFunc
}

// An ending is what became of a run.
type ending struct {
	shard leat.ShardID
	err   error
}

// errRestored ends a run when the log was restored beneath it.
var errRestored = errors.New("the log was restored")

func newFleet(env env, name string, store CheckpointStore, newRun func(worker, leat.Shard) run) *fleet {
	l := newLedger(name, env.owner)
	w := worker{env, l, l.tally("")}
	return &fleet{
		worker: w, store: store, newRun: func(s leat.Shard) run { return newRun(worker{env, l, l.tally(s.ID)}, s) },
		brake: newBrake(), held: make(map[leat.ShardID]*holding), ended: make(chan ending),
	}
}

// run works until stop ends, which is no error, or the application fails for
// good.
func (f *fleet) run(stop context.Context) (err error) {
	defer func() { err = errors.Join(err, f.dissolve(stop)); f.over.Store(true) }()
	select {
	case <-f.ready:
	case <-stop.Done():
		return nil
	}
	look := time.NewTimer(0)
	defer look.Stop()
	for failures := 0; ; {
		wait, err := f.every(), f.look(stop)
		switch {
		case stop.Err() != nil:
			return unlessStopped(stop, err)
		case err == nil:
			failures = 0
		case !passing(err):
			return err
		default: // leases are renewed as often as ever meanwhile, and the brake looked at
			failures++
			f.tell(stop, "share the shards", failures, err)
			wait = min(wait, f.retry.pause(failures))
		}
		look.Reset(wait)
		select {
		case <-stop.Done():
			return nil
		case e := <-f.ended:
			if err := f.took(e); err != nil {
				return err
			}
		case <-f.brake.look:
		case <-look.C:
		}
	}
}

// every is how often the fleet looks after its leases and for shards.
func (f *fleet) every() time.Duration {
	if f.leases == nil {
		return tick
	}
	return f.ttl / 3
}

// look renews the leases, and ends and starts runs so that the process works on
// its share. It looks at the brake first: a pause has to hold whatever else fails.
func (f *fleet) look(stop context.Context) error {
	f.setPaused(!f.brake.released())
	var resting error
	if f.isPaused() {
		resting = f.rest(stop)
	}
	if err := errors.Join(resting, f.renew(stop)); err != nil {
		return err
	}
	at, shards, err := f.adopt(stop)
	if err != nil || f.epoch != at.Epoch {
		return err
	}
	f.countWaiting(stop)
	f.tellRebuilt()
	open := f.runnable(shards, at)
	if f.endAhead(open) {
		return nil // look again when they have ended
	}
	if f.isPaused() {
		return nil
	}
	if f.leases == nil {
		for _, s := range open {
			f.begin(stop, s, at, &holding{})
		}
		return nil
	}
	return f.share(stop, open)
}

// renew renews the leases, and ends the runs of those that are lost.
func (f *fleet) renew(stop context.Context) error {
	if f.leases == nil {
		return nil
	}
	var failed error
	for shard, h := range f.held {
		asked := time.Now()
		ctx, cancel := context.WithTimeout(stop, f.every())
		l, err := f.leases.Renew(ctx, h.lease, f.ttl)
		cancel()
		switch {
		case err == nil:
			h.lease, h.until = l, asked.Add(f.ttl)
		case errors.Is(err, leat.ErrFenced), time.Now().After(h.until):
			f.logger.Warn("lease is lost", "application", f.name, "shard", shard, "error", err)
			h.stop()
		default:
			failed = fmt.Errorf("renew the lease of %s: %w", shard, err)
		}
	}
	return failed
}

// adopt returns where the application stands, in the epoch of the log, and the
// shards of the log. When the log was restored it ends all runs first; f.epoch
// differs until they have.
//
// The checkpoint is read before the heads that it must not be beyond, since it
// moves meanwhile.
func (f *fleet) adopt(stop context.Context) (leat.Checkpoint, []leat.Shard, error) {
	stored := f.savedOf()
	at, err := f.store.Checkpoint(stop, f.name)
	if err != nil {
		return leat.Checkpoint{}, nil, err
	}
	if err := f.checkReset(stored, at); err != nil {
		return leat.Checkpoint{}, nil, err
	}
	info, err := f.log.Info(stop)
	if err != nil {
		return leat.Checkpoint{}, nil, err
	}
	shards, err := f.log.Shards(stop)
	if err != nil {
		return leat.Checkpoint{}, nil, err
	}
	if err := at.Verify(info, shards); err != nil {
		return leat.Checkpoint{}, nil, err
	}
	if at.Log == "" || at.Epoch != info.Epoch {
		if len(f.held) > 0 {
			for _, h := range f.held {
				h.stop()
			}
			f.epoch = 0
			return at, shards, nil
		}
		if at.Log == "" && f.rebuild {
			if err := f.beginReplay(stop, info, shards); err != nil {
				return leat.Checkpoint{}, nil, err
			}
		}
		to := at.Clone()
		to.Log, to.Epoch = info.ID, info.Epoch
		if f.startsOver {
			for shard := range to.Seqs {
				to.Set(shard, 0)
			}
		}
		err := f.store.Save(stop, Step{Name: f.name, From: at, To: to})
		if errors.Is(err, leat.ErrFenced) { // another process was faster
			f.epoch = 0
			return at, shards, nil
		}
		if err != nil {
			return leat.Checkpoint{}, nil, err
		}
		at = to
	}
	if f.epoch != at.Epoch {
		if _, err := f.loadReplay(stop, f.store, at); err != nil {
			return leat.Checkpoint{}, nil, err
		}
	}
	f.epoch = at.Epoch
	f.stands(at, func(s leat.ShardID) bool { return f.leases != nil && f.held[s] == nil })
	return at, shards, nil
}

// checkReset ends the runs on shards that somebody has put back, given what they
// had stored before the store was asked: they begin anew from there. Without a
// keeper of leases it is an error, as this process has to be the only one.
func (f *fleet) checkReset(stored map[leat.ShardID]uint64, at leat.Checkpoint) error {
	for shard, seq := range stored {
		if at.Seqs[shard] >= seq {
			continue
		}
		if f.leases == nil {
			return fmt.Errorf("%q was put back to %s=%d from %d while it runs: %w", f.name, shard, at.Seqs[shard], seq, leat.ErrFenced)
		}
		f.logger.Warn("the application was put back while it runs", "application", f.name, "shard", shard, "from", seq, "to", at.Seqs[shard])
		if h := f.held[shard]; h != nil {
			h.stop()
		}
	}
	return nil
}

// endAhead ends the runs on shards whose parents are not finished any more, and
// reports whether there are any. They have to end before the parents are begun
// anew: finished soon, those would let a step of them pass.
func (f *fleet) endAhead(open []leat.Shard) (ending bool) {
	for shard, h := range f.held {
		if !slices.ContainsFunc(open, func(s leat.Shard) bool { return s.ID == shard }) {
			h.stop()
			ending = true
		}
	}
	return ending
}

// tellRebuilt tells when a rebuild has caught up.
func (f *fleet) tellRebuilt() {
	was := f.rebuilding
	if f.rebuilding = f.rebuilds("", 0); was && !f.rebuilding {
		f.logger.Info("the rebuild has caught up with what there was when it began", "application", f.name)
	}
}

// runnable returns the shards on which there is, or will be, something to do:
// those that are not finished and whose parents are. A shard that was split
// before it had any event is finished when its parents are, not sooner.
func (f *fleet) runnable(shards []leat.Shard, at leat.Checkpoint) []leat.Shard {
	finished := make(map[leat.ShardID]bool)
	var open []leat.Shard
	for _, s := range shards {
		_, running := f.held[s.ID]
		switch {
		case slices.ContainsFunc(s.Parents, func(p leat.ShardID) bool { return !finished[p] }):
		case s.Closed && at.Seqs[s.ID] == s.Head && !running:
			finished[s.ID] = true
			f.moved(s.ID, s.Head, true)
		default:
			open = append(open, s)
		}
	}
	return open
}

// share brings what the process holds to its share of the open shards.
func (f *fleet) share(stop context.Context, open []leat.Shard) error {
	ctx, cancel := context.WithTimeout(stop, f.every())
	defer cancel()
	f.joined = true
	members, err := f.leases.Join(ctx, f.name, f.owner, f.ttl)
	if err != nil {
		return fmt.Errorf("join the fleet: %w", err)
	}
	share := members.Share(f.owner, len(open))
	for shard, h := range f.held {
		if len(f.held) <= share {
			break
		}
		h.stop() // one at a time: the next when this one has ended
		f.logger.Info("giving a shard away", "application", f.name, "shard", shard)
		return nil
	}
	taken := make(map[leat.ShardID]bool)
	for _, l := range members.Leases {
		taken[l.Shard] = true
	}
	for _, s := range open {
		if len(f.held) >= share {
			break
		}
		if f.held[s.ID] != nil || taken[s.ID] {
			continue
		}
		asked := time.Now()
		lease, err := f.leases.Acquire(ctx, f.name, s.ID, f.owner, f.ttl)
		if errors.Is(err, leat.ErrHeld) {
			continue
		}
		if err != nil {
			return fmt.Errorf("acquire %s: %w", s.ID, err)
		}
		if err := f.takeOver(ctx, stop, s, &holding{lease: lease, until: asked.Add(f.ttl)}); err != nil {
			return err
		}
	}
	return nil
}

// takeOver begins a run on a shard whose lease was just acquired. Who had it
// before may have gone on until then, so it asks again where the shard stands.
func (f *fleet) takeOver(ctx, stop context.Context, s leat.Shard, h *holding) error {
	at, err := f.store.Checkpoint(ctx, f.name)
	if err == nil && at.Epoch == f.epoch {
		f.begin(stop, s, at, h)
		return nil
	}
	return errors.Join(err, f.leases.Release(ctx, h.lease)) // in another epoch there is another look
}

// rest brings the application to stand still in this process: runs end, and
// then it leaves the fleet.
func (f *fleet) rest(stop context.Context) error {
	for _, h := range f.held {
		h.stop()
	}
	if len(f.held) > 0 {
		return nil // again when they have ended
	}
	f.brake.stands()
	if f.joined {
		ctx, cancel := context.WithTimeout(stop, f.every())
		defer cancel()
		if err := f.leases.Leave(ctx, f.name, f.owner); err != nil {
			return fmt.Errorf("leave the fleet: %w", err)
		}
		f.joined = false
	}
	return nil
}

// countEvery is how often parked events are counted.
const countEvery = 5 * time.Second

// countWaiting counts the parked events that wait, now and then, for the ledger.
func (f *fleet) countWaiting(stop context.Context) {
	if !f.counted.IsZero() && time.Since(f.counted) < countEvery {
		return
	}
	waiting, err := f.store.Waiting(stop, f.name)
	if err != nil {
		return // whoever has to read them will tell
	}
	f.counted = time.Now()
	var total uint64
	for _, n := range waiting {
		total += n
	}
	f.countedWaiting(total)
}

// begin starts a run on a shard unless there is one.
func (f *fleet) begin(stop context.Context, s leat.Shard, at leat.Checkpoint, h *holding) {
	if f.held[s.ID] != nil {
		return
	}
	stop, h.stop = context.WithCancel(stop)
	f.held[s.ID] = h
	f.savedAt(s.ID, at.Seqs[s.ID])
	f.holds(s.ID, true)
	r := f.newRun(s)
	from := leat.Checkpoint{Log: at.Log, Epoch: at.Epoch}
	from.Set(s.ID, at.Seqs[s.ID])
	go func() { f.ended <- ending{s.ID, r.run(stop, from)} }()
}

// took takes in the end of a run. It returns the error that ends the App.
func (f *fleet) took(e ending) error {
	h := f.held[e.shard]
	h.stop()
	delete(f.held, e.shard)
	f.holds(e.shard, false)
	if f.leases != nil {
		ctx, cancel := context.WithTimeout(context.Background(), f.every())
		defer cancel()
		if err := f.leases.Release(ctx, h.lease); err != nil {
			f.logger.Warn("lease was not released and has to expire", "application", f.name, "shard", e.shard, "error", err)
		}
	}
	switch {
	case e.err == nil, errors.Is(e.err, errRestored):
		return nil
	case errors.Is(e.err, leat.ErrFenced) && f.leases != nil:
		f.failed(e.err)
		f.logger.Warn("another process works on the shard", "application", f.name, "shard", e.shard, "error", e.err)
		return nil
	}
	return e.err
}

// dissolve ends all runs and leaves the fleet.
func (f *fleet) dissolve(stop context.Context) (failed error) {
	for _, h := range f.held {
		h.stop()
	}
	for len(f.held) > 0 {
		failed = errors.Join(failed, f.took(<-f.ended))
	}
	if f.leases != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(stop), f.every())
		defer cancel()
		if err := f.leases.Leave(ctx, f.name, f.owner); err != nil {
			f.logger.Warn("the fleet was not left; membership has to expire", "application", f.name, "error", err)
		}
	}
	return failed
}

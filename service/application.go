package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/leathq/leat"
)

// env is what an App gives to its runs.
type env struct {
	log    leat.Log
	logger *slog.Logger
	retry  Retry
	drain  time.Duration

	leases leat.Leases // nil: the process works on all shards
	owner  string      // the process, as the keeper of leases knows it
	ttl    time.Duration

	ready <-chan struct{} // closed when it is known which applications are paused
}

// A worker is what the parts of an application share in a process.
type worker struct {
	env
	*ledger
	*tally // of the shard; of none for what concerns all
}

// outlive returns the context that handlers get: it ends some time after stop,
// or when end is called.
func (e env) outlive(stop context.Context) (work context.Context, end func()) {
	work, cancel := context.WithCancel(context.WithoutCancel(stop))
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-stop.Done():
			_ = pause(work, e.drain) // or until end is called
			cancel()
		case <-work.Done():
		}
	})
	return work, func() {
		cancel()
		wg.Wait()
	}
}

// tick is how often a run saves how far it got without an event to handle, and
// looks for parked events that are due.
const tick = time.Second

// An application is one at work on a shard: what projections and reactors have
// in common. Its fields belong to the goroutine of run, but for those that are
// safe for all. Its checkpoints have an entry for the shard alone.
type application struct {
	worker
	store  CheckpointStore
	filter leat.Filter
	shard  leat.Shard

	replay  leat.Checkpoint // it goes quietly through everything up to here, in every shard
	at      leat.Checkpoint // it is done with everything up to here
	saved   leat.Checkpoint // what the store holds
	unsure  leat.Checkpoint // what it holds instead, if a step that failed was taken nevertheless
	behind  []leat.Shard    // those that the shard was split from, if nothing of it is stored
	blocked map[string]bool // streams with parked events that wait

	resting resting // streams whose parked events failed; belongs to who calls retryDue
}

// load begins where the store stands.
func (a *application) load(stop, work context.Context, at leat.Checkpoint) error {
	a.saved, a.at, a.resting = at, at.Clone(), make(resting)
	return a.insist(stop, "load parked events", func() error {
		to, err := a.loadReplay(work, a.store, at)
		if err != nil {
			return err
		}
		a.replay = to
		if a.behind, err = a.ancestors(work); err != nil {
			return err
		}
		a.blocked = make(map[string]bool)
		return a.block(work)
	})
}

// stored returns where the store stands in the shard.
func (a *application) stored(ctx context.Context) (leat.Checkpoint, error) {
	all, err := a.store.Checkpoint(ctx, a.name)
	at := leat.Checkpoint{Log: all.Log, Epoch: all.Epoch}
	at.Set(a.shard.ID, all.Seqs[a.shard.ID])
	return at, err
}

// ancestors returns the shards that the shard was split from, unless it was begun
// with: it has a checkpoint of its own then.
func (a *application) ancestors(ctx context.Context) (behind []leat.Shard, err error) {
	if len(a.shard.Parents) == 0 || a.saved.Seqs[a.shard.ID] > 0 {
		return nil, nil
	}
	shards, err := a.log.Shards(ctx)
	wanted := a.shard.Parents
	for _, s := range slices.Backward(shards) { // parents come before their children
		if slices.Contains(wanted, s.ID) {
			behind, wanted = append(behind, s), append(slices.Clip(wanted), s.Parents...)
		}
	}
	return behind, err
}

// block blocks the streams of which the store holds parked events.
func (a *application) block(ctx context.Context) error {
	waiting, err := a.store.Waiting(ctx, a.name)
	for stream := range waiting {
		a.blocked[stream] = true
	}
	return err
}

// batches returns the batches after a.at, until stop ends, the shard is finished
// or the log fails for good. wait returns that error, once the channel is
// closed.
func (a *application) batches(stop context.Context) (out <-chan leat.Batch, wait func() error) {
	ctx, cancel := context.WithCancel(stop)
	batches := make(chan leat.Batch)
	var failed error
	from := a.at.Clone()
	go func() {
		defer close(batches)
		failed = a.follow(ctx, from, batches)
	}()
	return batches, func() error {
		cancel()
		for range batches { // until it is closed
		}
		return failed
	}
}

// readWait is how long one read of the log waits for events.
const readWait = 20 * time.Second

// follow sends the batches of the shard after a checkpoint until stop ends or
// the shard is finished, which are no errors, or the log fails for good.
func (a *application) follow(stop context.Context, from leat.Checkpoint, out chan<- leat.Batch) error {
	after, failures := from.Seqs[a.shard.ID], 0
	for {
		b, err := a.log.ReadShard(stop, a.shard.ID, after, leat.ReadOptions{Filter: a.filter, Wait: readWait})
		switch {
		case stop.Err() != nil:
			return nil //nolint:nilerr // to be stopped is no error
		case err == nil && b.Epoch != from.Epoch:
			return errRestored
		case err == nil:
			failures = 0
		case !passing(err):
			return err
		default:
			failures++
			if a.again(stop, "follow the log", failures, err) != nil {
				return nil //nolint:nilerr // as above
			}
			continue
		}
		if b.Next > after || b.Closed {
			select {
			case out <- b:
			case <-stop.Done():
				return nil
			}
		}
		if b.Closed {
			return nil
		}
		after = b.Next
	}
}

// insist calls f until it succeeds, fails for good, or stop ends.
func (w worker) insist(stop context.Context, doing string, f func() error) error {
	for failures := 1; ; failures++ {
		err := f()
		if err == nil {
			return nil
		}
		if fatal(err) || isPermanent(err) && !isTransient(err) {
			return fmt.Errorf("%s: %w", doing, err)
		}
		if stopped := w.again(stop, doing, failures, err); stopped != nil {
			return stopped
		}
	}
}

// again tells of a failure and waits before the next attempt. It returns the
// error of stop when that has ended.
func (w worker) again(stop context.Context, doing string, failures int, err error) error {
	if stop.Err() != nil {
		return stop.Err()
	}
	w.tell(stop, doing, failures, err)
	return pause(stop, max(w.retry.pause(failures), retryAfter(err)))
}

// tell tells of a failure after which there is to be another attempt.
func (w worker) tell(stop context.Context, doing string, failures int, err error) {
	w.failed(err)
	level := slog.LevelWarn
	if failures >= w.retry.Attempts {
		level = slog.LevelError // somebody has to look after it
	}
	w.logger.Log(stop, level, "trying again", "application", w.name, "doing", doing, "failures", failures, "error", err)
}

// save moves the stored checkpoint to a.at and parks events.
func (a *application) save(ctx context.Context, park []Parked) error {
	if len(park) == 0 && (a.at.Equal(a.saved) || len(a.at.Seqs) == 0) {
		return nil
	}
	return a.step(ctx, a.at, park, a.store.Save)
}

// finish saves how far the application got when it ends. Handlers that were cut
// off are no error: what is not saved comes again.
func (a *application) finish(work context.Context, park []Parked) error {
	if err := a.save(work, park); err != nil && work.Err() == nil {
		return err
	}
	return nil
}

// step moves the stored checkpoint through do. When do fails, the step may have
// been taken nevertheless, as when the connection is lost during a commit; the
// next step finds out.
func (a *application) step(ctx context.Context, to leat.Checkpoint, park []Parked, do func(context.Context, Step) error) error {
	if !a.unsure.IsZero() {
		if err := a.settle(ctx); err != nil {
			return err
		}
		if a.saved.Equal(to) {
			// If another process took the step, what it passed is handled or parked,
			// but of what is parked ahead of it that process knows nothing.
			if park = a.ahead(park, to); len(park) == 0 {
				return nil
			}
			do = a.store.Save
		}
	}
	err := do(ctx, a.stepTo(to, park))
	switch {
	case err == nil:
		a.saved = to.Clone()
		a.savedAt(a.shard.ID, to.Seqs[a.shard.ID])
	case !errors.Is(err, leat.ErrFenced) && !to.Equal(a.saved):
		a.unsure = to.Clone()
	}
	return err
}

// stepTo returns the step to a checkpoint. The first in a shard has no sequence by
// which it could be fenced. So it is fenced by those of the shards it follows:
// should they be handled anew, it has to wait for that.
func (a *application) stepTo(to leat.Checkpoint, park []Parked) Step {
	s := Step{Name: a.name, From: a.saved, To: to, Park: park}
	if len(a.behind) == 0 || a.saved.Seqs[a.shard.ID] > 0 {
		return s
	}
	s.From, s.To = s.From.Clone(), s.To.Clone()
	for _, p := range a.behind {
		if p.Head > 0 {
			s.From.Set(p.ID, p.Head)
			s.To.Set(p.ID, p.Head)
		}
	}
	return s
}

// ahead returns the events that lie beyond a checkpoint.
func (a *application) ahead(events []Parked, at leat.Checkpoint) (ahead []Parked) {
	for _, p := range events {
		if p.Seq > at.Seqs[a.shard.ID] {
			ahead = append(ahead, p)
		}
	}
	return ahead
}

// settle finds out whether the step to a.unsure was taken. It may have been
// another process that did, and parked other events than this one would have,
// so it learns which streams are blocked.
func (a *application) settle(ctx context.Context) error {
	stored, err := a.stored(ctx)
	if err != nil {
		return err
	}
	if stored.Equal(a.unsure) {
		if err := a.block(ctx); err != nil {
			return err
		}
		a.saved = stored
		shard := a.shard.ID
		a.at.Set(shard, max(stored.Seqs[shard], a.at.Seqs[shard]))
	}
	a.unsure = leat.Checkpoint{}
	return nil
}

// guarded calls a handler and turns a panic into an error.
func guarded(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = Permanent(fmt.Errorf("panic: %v\n%s", v, debug.Stack()))
		}
	}()
	return f()
}

// unlessStopped returns err unless stop has ended and so caused it.
func unlessStopped(stop context.Context, err error) error {
	if stop.Err() != nil && !fatal(err) {
		return nil
	}
	return err
}

// fatal reports whether an error ends the App, whoever met it.
func fatal(err error) bool {
	return errors.Is(err, leat.ErrClosed) || errors.Is(err, leat.ErrDiverged) || errors.Is(err, leat.ErrFenced)
}

// passing reports whether following the log may succeed when tried again.
func passing(err error) bool {
	for _, lasting := range []error{leat.ErrTrimmed, leat.ErrUnsupported, leat.ErrNotFound, leat.ErrInvalid, leat.ErrDenied, leat.ErrCorrupt} {
		if errors.Is(err, lasting) {
			return false
		}
	}
	return !fatal(err)
}

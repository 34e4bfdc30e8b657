package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/leathq/leat"
)

// A run is an application at work. run is called once and returns when stop has
// ended and its handlers have returned, or with the error that ends the App.
type run interface {
	run(stop context.Context) error
	book() *ledger
}

// env is what an App gives to its runs.
type env struct {
	log    leat.Log
	logger *slog.Logger
	retry  Retry
	drain  time.Duration
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

// An application is what projections and reactors have in common. Its fields
// belong to the goroutine of run, but for those that are safe for all.
type application struct {
	env
	*ledger
	store  CheckpointStore
	filter leat.Filter

	at      leat.Checkpoint // it is done with everything up to here
	saved   leat.Checkpoint // what the store holds
	unsure  leat.Checkpoint // what it holds instead, if a step that failed was taken nevertheless
	blocked map[string]bool // streams with parked events that wait
}

// load reads what the store holds.
func (a *application) load(stop, work context.Context) error {
	return a.insist(stop, "load checkpoint", func() error {
		info, err := a.log.Info(work)
		if err != nil {
			return err
		}
		if a.saved, err = a.store.Checkpoint(work, a.name); err != nil {
			return err
		}
		a.blocked = make(map[string]bool)
		if err := a.block(work); err != nil {
			return err
		}
		a.at = a.saved.Clone()
		if a.at.Log == "" {
			a.at.Log = info.ID
		}
		return nil
	})
}

// block blocks the streams of which the store holds parked events.
func (a *application) block(ctx context.Context) error {
	parked, err := a.store.Parked(ctx, a.name, "")
	for _, p := range parked {
		if p.Waits() {
			a.blocked[p.Stream] = true
		}
	}
	return err
}

// batches returns the batches after a.at, until stop ends or the log fails for
// good. wait returns that error, once the channel is closed.
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

// follow sends the batches after a checkpoint until stop ends, which is no
// error, or the log fails for good.
func (a *application) follow(stop context.Context, from leat.Checkpoint, out chan<- leat.Batch) error {
	for failures := 0; ; {
		var failed error
		for b, err := range leat.Follow(stop, a.log, a.filter, from) {
			if failed = err; err != nil {
				break
			}
			failures = 0
			select {
			case out <- b:
			case <-stop.Done():
				return nil
			}
			from.Epoch = b.Epoch
			from.Set(b.Shard, b.Next)
		}
		if stop.Err() != nil {
			return nil
		}
		if !passing(failed) {
			return failed
		}
		failures++
		if err := a.again(stop, "follow the log", failures, failed); err != nil {
			return nil
		}
	}
}

// insist calls f until it succeeds, fails for good, or stop ends.
func (a *application) insist(stop context.Context, doing string, f func() error) error {
	for failures := 1; ; failures++ {
		err := f()
		if err == nil {
			return nil
		}
		if fatal(err) || isPermanent(err) {
			return fmt.Errorf("%s: %w", doing, err)
		}
		if stopped := a.again(stop, doing, failures, err); stopped != nil {
			return stopped
		}
	}
}

// again tells of a failure and waits before the next attempt. It returns the
// error of stop when that has ended.
func (a *application) again(stop context.Context, doing string, failures int, err error) error {
	if stop.Err() != nil {
		return stop.Err()
	}
	a.failed(err)
	wait := a.retry.pause(failures)
	level := slog.LevelWarn
	if failures >= a.retry.Attempts {
		level = slog.LevelError // somebody has to look after it
	}
	a.logger.Log(stop, level, "trying again", "application", a.name, "doing", doing, "failures", failures, "wait", wait, "error", err)
	return pause(stop, wait)
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
	err := a.save(work, park)
	if work.Err() != nil {
		return nil
	}
	return err
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
			return nil
		}
	}
	err := do(ctx, Step{Name: a.name, From: a.saved, To: to, Park: park})
	switch {
	case err == nil:
		a.saved = to.Clone()
	case !errors.Is(err, leat.ErrFenced) && !to.Equal(a.saved):
		a.unsure = to.Clone()
	}
	return err
}

// settle finds out whether the step to a.unsure was taken. It may have been
// another process that did, and parked other events than this one would have,
// so it learns which streams are blocked.
func (a *application) settle(ctx context.Context) error {
	stored, err := a.store.Checkpoint(ctx, a.name)
	if err != nil {
		return err
	}
	if stored.Equal(a.unsure) {
		if err := a.block(ctx); err != nil {
			return err
		}
		a.saved = stored
		for shard, seq := range stored.Seqs {
			a.at.Set(shard, max(seq, a.at.Seqs[shard]))
		}
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

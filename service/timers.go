package service

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leathq/leat"
)

// A ProcessStore is a CheckpointStore that also keeps when the timers of
// processes are due. The truth about a timer is in the stream of its process;
// what is kept here says only when to look.
type ProcessStore interface {
	CheckpointStore

	// SetTimer keeps a timer of an application in place of an older one of the
	// same stream and name: one of a lower Epoch, or of the same and a lower
	// Version. If what is kept is newer it changes nothing.
	SetTimer(ctx context.Context, app string, t Timer) error

	// DropTimer removes the timer of t's stream and name unless it is newer than
	// t. One that is not kept is no error.
	DropTimer(ctx context.Context, app string, t Timer) error

	// DueTimers returns the timers of an application that are due by a moment, of
	// the streams whose hash keys (leat.RouteHash) lie between two, both
	// included: those due first, and at most so many.
	DueTimers(ctx context.Context, app string, from, to leat.HashKey, by time.Time, most int) ([]Timer, error)
}

// A Timer is one that a Process has set.
type Timer struct {
	Stream  string // of the process
	Name    string
	Epoch   uint64 // of the log when the event that set it was read
	Version uint64 // of that event
	Due     time.Time
}

// After reports whether t takes the place of an older timer of the same stream
// and name.
func (t Timer) After(older Timer) bool {
	return t.Epoch > older.Epoch || t.Epoch == older.Epoch && t.Version > older.Version
}

const (
	firedAtOnce  = 16   // timers of a shard
	timersAtOnce = 1000 // read from the store
)

// startTimers returns the application that keeps and fires the timers of a
// process.
func startTimers(env env, process, category string, store ProcessStore, fire func(ctx context.Context, log leat.Log, id string, t Timer) (Timer, error)) *fleet {
	name := process + "/timers"
	epoch := new(atomic.Uint64)
	newRun := Reactor{
		Name: name, Checkpoints: store,
		Filter: leat.Filter{Categories: []string{category}, Types: []string{typeTimerSet, typeTimerCancelled}},
		React:  keepTimers(store, name, epoch),
	}.runs()
	f := newFleet(env, name, store, func(w worker, s leat.Shard) run {
		return &timerRun{
			laneRun: newRun(w, s), process: process, timers: store, epoch: epoch, failures: make(map[Timer]timerFailure),
			fire: func(ctx context.Context, t Timer) (Timer, error) {
				return fire(ctx, env.log, strings.TrimPrefix(t.Stream, category+"-"), t)
			},
		}
	})
	// What a restore has lost may have taken the place of timers that are still
	// set, or removed them.
	f.startsOver = true
	return f
}

var timerTypes = NewTypes[any](TypeOf[timerSet](typeTimerSet), TypeOf[timerCancelled](typeTimerCancelled))

// keepTimers brings what is kept in line with the streams. Events that come
// again set timers again that have fired long since: to fire one that is not set
// does nothing. epoch is that of the log.
func keepTimers(store ProcessStore, app string, epoch *atomic.Uint64) func(context.Context, leat.Recorded) error {
	return React(timerTypes, func(ctx context.Context, e any, r leat.Recorded) error {
		t := Timer{Stream: r.Stream, Epoch: epoch.Load(), Version: r.Version}
		if e, set := e.(timerSet); set {
			t.Name, t.Due = e.Timer, e.Due
			return Transient(store.SetTimer(ctx, app, t))
		}
		t.Name = e.(timerCancelled).Timer
		return Transient(store.DropTimer(ctx, app, t))
	})
}

// A timerRun keeps the timers of a shard's streams and fires those that are due.
type timerRun struct {
	*laneRun
	process string // the application that feeds the process
	timers  ProcessStore
	epoch   *atomic.Uint64 // of the log; all runs have the same, as they end before it changes
	fire    func(context.Context, Timer) (is Timer, err error)

	// What follows belongs to the goroutine that fires.

	handled time.Time // the process has handled what was recorded by then
	asked   time.Time // when heads was read; zero when it is not waited for
	heads   []leat.Shard

	failures map[Timer]timerFailure // timers whose decision failed
}

// A timerFailure is when to try again a timer whose decision failed.
type timerFailure struct {
	n    int
	next time.Time
}

func (t *timerRun) run(stop context.Context, at leat.Checkpoint) error {
	t.epoch.Store(at.Epoch)
	stop, cancel := context.WithCancel(stop)
	defer cancel()
	work, end := t.outlive(stop)
	defer end()
	var firing sync.WaitGroup
	var failed error
	firing.Go(func() {
		defer cancel()
		failed = t.fireAll(stop, work)
	})
	err := t.laneRun.run(stop, at)
	cancel()
	firing.Wait()
	return errors.Join(err, failed)
}

// fireAll fires timers until stop ends, which is no error, or the log or the
// store fails for good.
func (t *timerRun) fireAll(stop, work context.Context) error {
	for pause(stop, tick) == nil {
		err := t.fireDue(stop, work)
		switch {
		case err == nil, stop.Err() != nil:
		case fatal(err):
			return err
		default:
			t.failed(err)
			t.logger.Warn("timers were not looked for", "application", t.name, "error", err)
		}
	}
	return nil
}

// fireDue fires the timers that are due now.
func (t *timerRun) fireDue(stop, work context.Context) error {
	now := time.Now()
	due, err := t.timers.DueTimers(work, t.name, t.shard.From, t.shard.To, now, timersAtOnce+len(t.failures))
	if err != nil || len(due) == 0 {
		return err
	}
	if err := t.wait(work, now); err != nil {
		return err
	}
	var calls sync.WaitGroup
	results := make([]error, len(due))
	slots := make(chan struct{}, firedAtOnce)
	for i, timer := range due {
		if stop.Err() != nil || timer.Due.After(t.handled) || now.Before(t.failures[timer].next) {
			continue
		}
		slots <- struct{}{}
		calls.Go(func() {
			defer func() { <-slots }()
			results[i] = guarded(func() error { return t.fireOne(work, timer) })
		})
	}
	calls.Wait()
	failures := make(map[Timer]timerFailure)
	for i, timer := range due {
		before, failed := t.failures[timer]
		switch {
		case results[i] != nil && fatal(results[i]):
			return results[i]
		case results[i] != nil:
			failures[timer] = t.tell(timer, results[i], before.n+1, now)
		case failed && now.Before(before.next):
			failures[timer] = before
		}
	}
	t.failures = failures
	return nil
}

// fireOne fires a timer and takes it out of the store. The store may hold one that
// was lost when the log was restored: the one that is set takes its place.
func (t *timerRun) fireOne(work context.Context, timer Timer) error {
	is, err := t.fire(work, timer)
	if err != nil {
		return err
	}
	is.Epoch = t.epoch.Load()
	if err := t.timers.DropTimer(work, t.name, timer); err != nil || is.Version == 0 || is.After(timer) {
		return err // one that is newer is kept already, or will be
	}
	return t.timers.SetTimer(work, t.name, is)
}

// tell tells of a timer whose decision failed. It is tried again until it
// succeeds, and nothing else waits for it.
func (t *timerRun) tell(timer Timer, err error, failures int, now time.Time) timerFailure {
	t.failed(err)
	level := slog.LevelWarn
	if failures >= t.retry.Attempts || isPermanent(err) {
		level = slog.LevelError // somebody has to look after it
	}
	t.logger.Log(context.Background(), level, "timer failed and is tried again", "application", t.name,
		"stream", timer.Stream, "timer", timer.Name, "due", timer.Due, "failures", failures, "error", err)
	return timerFailure{failures, now.Add(t.retry.pause(failures))}
}

// wait moves t.handled to a moment by which the process has handled what was
// recorded before. It looks at the heads of the log, and later at whether the
// stored checkpoint has passed them: the log may well go on meanwhile.
func (t *timerRun) wait(work context.Context, now time.Time) error {
	if t.asked.IsZero() {
		heads, err := t.log.Shards(work)
		if err != nil {
			return err
		}
		t.asked, t.heads = now, heads
	}
	at, err := t.timers.Checkpoint(work, t.process)
	if err != nil {
		return err
	}
	for _, s := range t.heads {
		if at.Seqs[s.ID] < s.Head {
			return nil
		}
	}
	t.handled, t.asked = t.asked, time.Time{}
	return nil
}

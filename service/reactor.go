package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/leathq/leat"
)

// DefaultParallel is how many events a Reactor handles at a time when
// Reactor.Parallel is 0.
const DefaultParallel = 16

const (
	reactorWindow  = 1000 // events a reactor has read and not passed, before it reads on
	reactorUnsaved = 1000 // events done before it saves its checkpoint
)

// A Reactor answers events, best with commands under [CausedBy]. It handles
// each event at least once, the events of one stream in order and one at a time,
// and those of different streams in parallel.
//
// Its checkpoint moves past events when they and all before them in their shard
// are done. It is saved after 1,000 events, each second, and when the App
// drains. After a crash the events done since then come again: about 3,000 of a
// shard at most. An event that is slow, or pauses before another attempt, holds
// its shard up once 1,000 or more are read behind it.
type Reactor struct {
	// Name is the application's, under which its checkpoint is kept.
	Name string

	// Filter selects the events.
	Filter leat.Filter

	// React answers an event. It is called concurrently.
	React func(ctx context.Context, r leat.Recorded) error

	// Checkpoints keeps the checkpoint and what is parked.
	Checkpoints CheckpointStore

	// Parallel is how many events are handled at a time; DefaultParallel when 0.
	Parallel int
}

func (r Reactor) appName() string { return r.Name }

func (r Reactor) validate() error {
	switch {
	case r.Checkpoints == nil:
		return unset("Reactor", r.Name, "Checkpoints")
	case r.React == nil:
		return unset("Reactor", r.Name, "React")
	case r.Parallel < 0:
		return &leat.InvalidError{Field: fmt.Sprintf("Reactor %q: Parallel", r.Name), Limit: "not negative", Got: fmt.Sprint(r.Parallel)}
	}
	return validate("Reactor", r.Name, r.Filter)
}

func (r Reactor) start(env env) *fleet {
	slots := make(chan struct{}, cmp.Or(r.Parallel, DefaultParallel))
	return newFleet(env, r.Name, r.Checkpoints, func(w worker, s leat.Shard) run {
		return &reactorRun{
			Reactor:     r,
			application: application{worker: w, store: r.Checkpoints, filter: r.Filter, shard: s},
			slots:       slots,
			lanes:       make(map[string]*lane),
			results:     make(chan result, cap(slots)),
			cleared:     make(chan string),
		}
	})
}

// A reactorRun is a reactor at work on a shard. It is an actor: its fields belong
// to the goroutine of run, which starts a goroutine for each call of React and
// gets back a result.
type reactorRun struct {
	Reactor
	application
	slots chan struct{} // one is taken for each call of React, by all shards together

	window  window
	lanes   map[string]*lane
	ready   []*lane // those whose first task can be started
	active  int     // calls of React
	waiting int     // lanes that pause before another attempt
	park    []Parked
	unsaved int // tasks done since the last save

	results chan result
	cleared chan string // streams without parked events that were due
}

// A task is an event to handle.
type task struct {
	leat.Recorded
	attempts int
	done     bool
}

// A lane holds the tasks of one stream in order, as long as there are any.
type lane struct {
	tasks []*task
}

// A window holds what was read of the shard from the first task that is not done.
type window struct {
	tasks  []*task
	next   uint64 // last sequence read
	closed bool   // next is the end of a closed shard
}

// A result is what became of a lane's first task, or of its pause.
type result struct {
	lane   *lane
	paused bool
	err    error
}

func (r *reactorRun) run(stop context.Context, at leat.Checkpoint) error {
	stop, cancel := context.WithCancel(stop) // also ends when the loop or the retrier fails
	defer cancel()
	work, end := r.outlive(stop)
	defer end()
	if err := r.load(stop, work, at); err != nil {
		return unlessStopped(stop, err)
	}
	r.moved(r.shard.ID, r.at.Seqs[r.shard.ID], false)
	batches, wait := r.batches(stop)
	var retrier sync.WaitGroup
	var failed error
	retrier.Go(func() {
		defer cancel()
		failed = r.retryParked(stop, work)
	})
	err := r.loop(stop, work, batches)
	cancel()
	retrier.Wait()
	if err = errors.Join(err, failed, wait(), r.drain(work)); err != nil {
		return err // what is not saved comes again
	}
	return r.finish(work, r.park)
}

func (r *reactorRun) loop(stop, work context.Context, batches <-chan leat.Batch) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		r.startReady(work)
		more := batches
		switch {
		case r.window.closed && len(r.window.tasks) == 0:
			return nil
		case r.window.closed || len(r.window.tasks) >= reactorWindow:
			more = nil
		}
		var err error
		select {
		case b, open := <-more:
			if !open {
				return nil
			}
			r.read(b)
		case res := <-r.results:
			err = r.took(stop, work, res)
		case stream := <-r.cleared:
			err = r.unblock(stop, work, stream)
		case <-ticker.C:
			err = r.persist(stop, work)
		case <-stop.Done():
			return nil
		}
		if err == nil && (r.unsaved >= reactorUnsaved || len(r.park) > 0) {
			err = r.persist(stop, work)
		}
		if err != nil {
			return unlessStopped(stop, err)
		}
	}
}

// read takes in a batch.
func (r *reactorRun) read(b leat.Batch) {
	w := &r.window
	w.next, w.closed = b.Next, b.Closed
	for _, e := range b.Events {
		if r.blocked[e.Stream] {
			r.park = append(r.park, parked(e, nil, 0))
			r.count(0, 0, 0, 1)
			continue
		}
		t := &task{Recorded: e}
		w.tasks = append(w.tasks, t)
		l := r.lanes[e.Stream]
		if l == nil {
			l = &lane{}
			r.lanes[e.Stream] = l
			r.ready = append(r.ready, l)
		}
		l.tasks = append(l.tasks, t)
	}
	r.count(len(b.Events), 0, 0, 0)
	r.advance()
}

func (r *reactorRun) startReady(work context.Context) {
	for r.active < cap(r.slots) && len(r.ready) > 0 {
		l := r.ready[0]
		r.ready = r.ready[1:]
		r.active++
		t := l.tasks[0]
		t.attempts++
		go func() {
			r.slots <- struct{}{}
			err := guarded(func() error { return r.React(work, t.Recorded) })
			<-r.slots
			r.results <- result{lane: l, err: err}
		}()
	}
}

// took takes in what became of a lane's first task.
func (r *reactorRun) took(stop, work context.Context, res result) error {
	l := res.lane
	if res.paused {
		r.waiting--
		r.ready = append(r.ready, l)
		return nil
	}
	r.active--
	t := l.tasks[0]
	switch err := res.err; {
	case err == nil:
		r.count(0, 1, 0, 0)
	case errors.Is(err, ErrSkipped):
		r.count(0, 0, 1, 0)
	case fatal(err), work.Err() != nil:
		return fmt.Errorf("%s: %w", describe(t.Recorded), err)
	case !isPermanent(err) && t.attempts < r.retry.Attempts:
		r.waiting++
		go func() {
			_ = r.again(stop, describe(t.Recorded), t.attempts, err)
			r.results <- result{lane: l, paused: true}
		}()
		return nil
	default:
		r.parkLane(l, err)
		return nil
	}
	l.tasks = l.tasks[1:]
	if len(l.tasks) == 0 {
		delete(r.lanes, t.Stream)
	} else {
		r.ready = append(r.ready, l)
	}
	t.done = true
	r.advance()
	return nil
}

// parkLane parks the first task of a lane with its error and the others behind
// it.
func (r *reactorRun) parkLane(l *lane, err error) {
	first := l.tasks[0]
	r.failed(err)
	r.tellParked(first.Recorded, err, first.attempts)
	r.blocked[first.Stream] = true
	delete(r.lanes, first.Stream)
	for _, t := range l.tasks {
		r.park = append(r.park, parked(t.Recorded, err, t.attempts))
		err = nil
		t.done = true
		r.advance()
	}
	r.count(0, 0, 0, len(l.tasks))
}

// advance moves the checkpoint past what is done.
func (r *reactorRun) advance() {
	w := &r.window
	for len(w.tasks) > 0 && w.tasks[0].done {
		w.tasks[0] = nil
		w.tasks = w.tasks[1:]
		r.unsaved++
	}
	seq := w.next
	if len(w.tasks) > 0 {
		seq = w.tasks[0].Seq - 1
	}
	r.at.Set(r.shard.ID, seq)
	r.moved(r.shard.ID, seq, w.closed && len(w.tasks) == 0)
}

func (r *reactorRun) persist(stop, work context.Context) error {
	if err := r.insist(stop, "save checkpoint", func() error { return r.save(work, r.park) }); err != nil {
		return err
	}
	r.park, r.unsaved = nil, 0
	return nil
}

// drain waits for the handlers that are at work.
func (r *reactorRun) drain(work context.Context) error {
	var failed error
	stopped, cancel := context.WithCancel(work)
	cancel()
	r.ready = nil
	for r.active > 0 || r.waiting > 0 {
		if err := r.took(stopped, work, <-r.results); err != nil && work.Err() == nil {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// retryParked handles parked events that are due, beside the loop, until stop
// ends.
func (r *reactorRun) retryParked(stop, work context.Context) error {
	handle := func(ctx context.Context, e leat.Recorded, p Parked) error {
		err := guarded(func() error { return r.React(ctx, e) })
		if err != nil && !errors.Is(err, ErrSkipped) {
			return err
		}
		return r.store.Save(ctx, Step{Name: r.name, Done: []Parked{p}})
	}
	clear := func(stream string) error {
		select {
		case r.cleared <- stream:
		case <-stop.Done():
		}
		return nil
	}
	for pause(stop, tick) == nil {
		err := r.retryDue(stop, work, handle, clear)
		if err != nil && fatal(err) {
			return err
		}
		if err != nil && stop.Err() == nil {
			r.failed(err)
			r.logger.Warn("parked events were not looked for", "application", r.name, "error", err)
		}
	}
	return nil
}

// unblock lets the events of a stream through again when none of it waits. The
// list is complete: what was parked is saved in the same turn of the loop.
func (r *reactorRun) unblock(stop, work context.Context, stream string) error {
	return r.insist(stop, "unblock "+stream, func() error {
		events, err := r.store.Parked(work, r.name, stream)
		if err == nil && !slices.ContainsFunc(events, Parked.Waits) {
			delete(r.blocked, stream)
		}
		return err
	})
}

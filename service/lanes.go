package service

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leathq/leat"
)

const (
	laneWindow  = 1000     // events that are read and not passed, before more is read
	laneBytes   = 32 << 20 // of events that are read and not done, before more is read
	laneUnsaved = 1000     // events done before the checkpoint is saved
)

// A handling says how a laneRun handles events. All shards of an application
// share one.
type handling struct {
	// handle handles events, those of each stream in order. Its error is about
	// all of them, unless it is a SendErrors. It is called concurrently, but never
	// with two events of a stream at the same time.
	handle func(ctx context.Context, events []leat.Recorded) error

	// prepare, when set, returns what handle gets for an event. It is called once
	// for each time that the event is read.
	prepare func(leat.Recorded) (leat.Recorded, error)

	bounds Bounds        // of one call of handle
	slots  chan struct{} // one is taken for each call of handle

	// taken, when set, counts the events that were handled. A failure is then put
	// down to an event only if others were handled since it failed last;
	// otherwise what handles them may be away.
	taken *atomic.Uint64

	handled func(*tally, int) // when set: counts events that were handled
}

// A laneRun is an application at work on a shard that handles the events of one
// stream in order, and those of different streams side by side. It is an actor:
// its fields belong to the goroutine of run, which starts a goroutine for each
// call of handle and gets back a result.
type laneRun struct {
	application
	handling

	window  window
	lanes   map[string]*lane
	ready   []*lane // those whose first task can be started
	active  int     // calls of handle
	waiting int     // pauses before another attempt
	park    []Parked
	unsaved int // tasks done since the last save
	probing probing

	results chan result
	cleared chan string // streams without parked events that were due
}

// A lane holds the tasks of one stream in order, as long as there are any.
type lane struct {
	stream string
	tasks  []*task
}

// A window holds what was read of the shard from the first task that is not done.
type window struct {
	tasks  []*task
	bytes  int    // of those that are not done
	next   uint64 // last sequence read
	closed bool   // next is the end of a closed shard
}

// full reports whether no more is to be read for now.
func (w *window) full() bool { return len(w.tasks) >= laneWindow || w.bytes >= laneBytes }

func (w *window) add(t *task) {
	w.tasks = append(w.tasks, t)
	w.bytes += t.bytes
}

// done marks a task as done, and lets go of what it takes to handle it.
func (w *window) done(t *task) {
	w.bytes -= t.bytes
	t.done, t.event = true, leat.Recorded{}
	t.Meta = nil
}

func newLaneRun(h handling, a application) *laneRun {
	return &laneRun{
		application: a, handling: h,
		lanes:   make(map[string]*lane),
		results: make(chan result, cap(h.slots)),
		cleared: make(chan string),
	}
}

func (r *laneRun) run(stop context.Context, at leat.Checkpoint) error {
	stop, cancel := context.WithCancel(stop) // also ends when the loop or the retrier fails
	defer cancel()
	work, end := r.outlive(stop)
	defer end()
	if err := r.load(stop, work, at); err != nil {
		return unlessStopped(stop, err)
	}
	r.window.next = r.at.Seqs[r.shard.ID]
	r.moved(r.shard.ID, r.window.next, false)
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

func (r *laneRun) loop(stop, work context.Context, batches <-chan leat.Batch) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		more, slot := batches, r.slots
		switch {
		case r.window.closed && len(r.window.tasks) == 0:
			return nil
		case r.window.closed || r.window.full():
			more = nil
		}
		if len(r.ready) == 0 || r.probing.waits(r.active) {
			slot = nil
		}
		var err error
		select {
		case slot <- struct{}{}:
			r.begin(work)
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
		if err == nil && (r.unsaved >= laneUnsaved || len(r.park) > 0) {
			err = r.persist(stop, work)
		}
		if err != nil {
			return unlessStopped(stop, err)
		}
	}
}

// read takes in a batch of the log.
func (r *laneRun) read(b leat.Batch) {
	w := &r.window
	r.passed(w.next, b.Next, len(b.Events))
	w.next, w.closed = b.Next, b.Closed
	skipped, blocked := 0, 0
	for _, e := range b.Events {
		if r.replays(&e) {
			skipped++
			continue
		}
		if r.blocked[e.Stream] {
			r.park = append(r.park, parked(e, nil, 0))
			blocked++
			continue
		}
		t := r.newTask(e)
		if errors.Is(t.unfit, ErrSkipped) {
			skipped++
			continue
		}
		w.add(t)
		l := r.lanes[e.Stream]
		if l == nil {
			l = &lane{stream: e.Stream}
			r.lanes[e.Stream] = l
			r.ready = append(r.ready, l)
		}
		l.tasks = append(l.tasks, t)
	}
	r.count(len(b.Events), 0, skipped, blocked)
	r.advance()
}

// advance moves the checkpoint past what is done.
func (r *laneRun) advance() {
	w := &r.window
	for len(w.tasks) > 0 && w.tasks[0].done {
		w.tasks[0] = nil
		w.tasks = w.tasks[1:]
		r.unsaved++
	}
	seq, oldest := w.next, time.Time{}
	if len(w.tasks) > 0 {
		seq, oldest = w.tasks[0].Seq-1, w.tasks[0].At
	}
	r.holdsOldest(oldest)
	r.at.Set(r.shard.ID, seq)
	r.moved(r.shard.ID, seq, w.closed && len(w.tasks) == 0)
}

func (r *laneRun) persist(stop, work context.Context) error {
	if err := r.insist(stop, "save checkpoint", func() error { return r.save(work, r.park) }); err != nil {
		return err
	}
	r.park, r.unsaved = nil, 0
	return nil
}

// drain waits for the handlers that are at work.
func (r *laneRun) drain(work context.Context) error {
	var failed error
	stopped, cancel := context.WithCancel(work)
	cancel()
	for r.active > 0 || r.waiting > 0 {
		if err := r.took(stopped, work, <-r.results); err != nil && work.Err() == nil {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// parkLane parks the first task of a lane with its error and the others behind
// it.
func (r *laneRun) parkLane(l *lane, err error) {
	first := l.tasks[0]
	r.failed(err)
	r.tellParked(first.Recorded, err, first.attempts)
	r.blocked[first.Stream] = true
	delete(r.lanes, first.Stream)
	for _, t := range l.tasks {
		r.park = append(r.park, parked(t.Recorded, err, t.attempts))
		err = nil
		r.window.done(t)
	}
	r.count(0, 0, 0, len(l.tasks))
}

// retryParked handles parked events that are due, beside the loop, until stop
// ends.
func (r *laneRun) retryParked(stop, work context.Context) error {
	away := make(map[string]uint64) // streams for whose failure nobody is to blame yet, with r.taken then
	handle := func(ctx context.Context, e leat.Recorded, p Parked) error {
		err := r.single(ctx, e)
		if err != nil && !errors.Is(err, ErrSkipped) {
			if r.taken == nil || isPermanent(err) {
				return err
			}
			before, again := away[p.Stream]
			away[p.Stream] = r.taken.Load()
			if !again || away[p.Stream] == before {
				return Transient(err) // who takes the events may be away
			}
			delete(away, p.Stream)
			return err
		}
		delete(away, p.Stream)
		return Transient(r.store.Save(ctx, Step{Name: r.name, Done: []Parked{p}}))
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
func (r *laneRun) unblock(stop, work context.Context, stream string) error {
	return r.insist(stop, "unblock "+stream, func() error {
		events, err := r.store.Parked(work, r.name, stream)
		if err == nil && !slices.ContainsFunc(events, Parked.Waits) {
			delete(r.blocked, stream)
		}
		return err
	})
}

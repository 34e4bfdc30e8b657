package service

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leathq/leat"
)

// A Relay brings the events of an [Outbox] into the log: in the order of each
// stream, each exactly once, whatever is killed. Several processes may relay one
// outbox; one of them works at a time. An [App] runs it, beside applications
// or alone. It has no Status, and nobody waits for it to catch up. When a process
// is gone another takes its place after Config.LeaseTTL.
//
// An event that the log refuses for good, since it is too large or its ID stands
// for another, is parked with the reason, and with it what follows in its
// stream; other streams go on. See [Outbox] for what to do with it.
//
// Events that were put together may be recorded one after the other.
type Relay struct {
	// Name is the relay's, under which it parks events. Keep it: what is parked
	// under another name does not hold up its stream.
	Name string

	// Outbox is where the events come from.
	Outbox Outbox
}

const (
	relayLimit   = 1000            // events that are taken at a time
	relayRelease = 5 * time.Second // for giving the outbox back at the end
)

func (r Relay) validate() error {
	if r.Outbox == nil {
		return unset("Relay", r.Name, "Outbox")
	}
	return validate("Relay", r.Name, leat.Filter{})
}

// start returns no application: a relay reads no log.
func (r Relay) start(env env) ([]*fleet, []*relayRun) {
	return nil, []*relayRun{{Relay: r, env: env, wake: make(chan struct{}, 1), resting: make(resting)}}
}

// A relayRun is a relay at work. Its fields belong to the goroutine of run, but
// for wake.
type relayRun struct {
	Relay
	env
	wake    chan struct{} // has one element when there may be something to do
	resting resting       // streams that the log does not take
}

func (r *relayRun) run(ctx context.Context) error {
	listening, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { r.listen(listening) })
	defer wg.Wait()
	defer cancel()
	defer r.release(ctx)
	work, end := r.outlive(ctx)
	defer end()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for failures := 0; ; {
		more, err := r.pass(ctx, work)
		switch {
		case ctx.Err() != nil:
			return nil // to be stopped is no error
		case errors.Is(err, leat.ErrClosed):
			return err
		case err != nil:
			failures++
			r.tell(ctx, "relay events", max(failures, r.resting.worst()), err)
			_ = pause(ctx, r.retry.pause(failures)) // pass will see that ctx has ended
			continue
		}
		failures = 0
		if more {
			continue
		}
		select {
		case <-r.wake:
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// tell tells of a failure after which there is to be another attempt.
func (r *relayRun) tell(ctx context.Context, doing string, failures int, err error) {
	level := slog.LevelWarn
	if failures >= r.retry.Attempts {
		level = slog.LevelError // somebody has to look after it
	}
	r.logger.Log(ctx, level, "trying again", "relay", r.Name, "doing", doing, "failures", failures, "error", err)
}

// listen wakes the relay when events are put.
func (r *relayRun) listen(ctx context.Context) {
	for failures := 1; ; failures++ {
		var woken atomic.Bool
		err := r.Outbox.Listen(ctx, func() {
			woken.Store(true)
			select {
			case r.wake <- struct{}{}:
			default: // it is awake
			}
		})
		if ctx.Err() != nil {
			return
		}
		if woken.Load() {
			failures = 1 // it had begun
		}
		r.tell(ctx, "listen for events; they are looked for each second meanwhile", failures, err)
		_ = pause(ctx, r.retry.pause(failures)) // Listen will see that ctx has ended
	}
}

func (r *relayRun) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), relayRelease)
	defer cancel()
	if err := r.Outbox.Release(ctx, r.owner); err != nil {
		r.logger.Warn("the outbox was not released; the hold of this process has to expire", "relay", r.Name, "error", err)
	}
}

// pass tries what is due and relays what waits. more says that there may be
// more to do at once. The outbox is settled with work, which ends later than ctx.
//
// A stream that the log does not take rests, and others go on. When of all that
// was taken nothing could be sent, that is an error.
func (r *relayRun) pass(ctx, work context.Context) (more bool, err error) {
	if err := r.retryDue(ctx, work); err != nil {
		return false, err
	}
	events, err := r.Outbox.Take(ctx, r.Name, r.owner, r.ttl, relayLimit, r.resting.now())
	if errors.Is(err, leat.ErrHeld) {
		return false, nil
	}
	if err != nil || len(events) == 0 {
		return false, err
	}
	s := &sending{relayRun: r, until: time.Now().Add(r.ttl), settle: Settlement{Name: r.Name}}
	s.send(ctx, events)
	if err := r.Outbox.Settle(work, s.settle); err != nil {
		return false, err
	}
	for _, p := range s.settle.Park {
		if p.Error != "" {
			r.logger.Error("event of the outbox is parked, and what follows in its stream", "relay", r.Name,
				"stream", p.Stream, "number", p.Version, "type", p.Type, "error", p.Error)
		}
	}
	if s.failed == nil {
		return true, nil
	}
	if errors.Is(s.failed, leat.ErrClosed) || len(s.settle.Sent)+len(s.settle.Park) == 0 {
		return false, s.failed
	}
	r.tell(ctx, "relay events of some streams", r.resting.worst(), s.failed)
	return true, nil
}

// retryDue tries the parked events of streams that are due, in order.
func (r *relayRun) retryDue(ctx, work context.Context) error {
	streams, err := r.Outbox.Due(ctx, r.Name)
	if err != nil {
		return err
	}
	for _, stream := range r.resting.turns(streams) {
		events, err := r.Outbox.Parked(ctx, r.Name, stream)
		if err != nil {
			return err
		}
		for _, p := range events {
			if !p.Waits() {
				continue
			}
			stays, resting, err := r.retryEvent(ctx, work, p)
			if err != nil {
				return err
			}
			if resting != nil {
				r.tell(ctx, "relay parked events of "+stream, r.resting.failed(stream, r.retry, resting), resting)
			}
			if blameless(resting) {
				return nil // the log is away: do not wait for it once for each
			}
			if stays {
				break // the others stay behind it
			}
		}
	}
	return nil
}

// retryEvent appends a parked event. It reports whether it stays parked, or
// somebody else is at work on it, and why the log does not take it for now.
func (r *relayRun) retryEvent(ctx, work context.Context, p Parked) (stays bool, resting, err error) {
	e, found, err := r.Outbox.Find(ctx, p.Version)
	if err != nil {
		return true, nil, err
	}
	s := Settlement{Name: r.Name, Done: []Parked{p}}
	if found {
		_, err := r.log.Append(ctx, []leat.Event{e.Event})
		switch {
		case err == nil:
			s.Sent = []uint64{e.Number}
			r.resting.succeeded(p.Stream)
		case Refused(err):
			again := p
			again.Error, again.Attempts, again.At = reason(err), p.Attempts+1, time.Now().UTC()
			s.Park = []Parked{again}
			r.logger.Error("parked event of the outbox is refused again", "relay", r.Name, "stream", p.Stream, "number", p.Version, "error", err)
		case errors.Is(err, leat.ErrClosed), ctx.Err() != nil:
			return true, nil, err
		default:
			return true, err, nil
		}
	}
	err = r.Outbox.Settle(work, s)
	if errors.Is(err, ErrNotParked) {
		return true, nil, nil // handled or discarded meanwhile, and what is left will be due
	}
	return len(s.Park) > 0, nil, err
}

// A sending brings taken events into the log.
type sending struct {
	*relayRun
	until  time.Time // by when others may have taken the events
	settle Settlement
	failed error // the first that the events are not to blame for
}

// A queue holds the events of one stream that are to be sent, in order.
type queue struct {
	events  []leat.Event
	numbers []uint64 // of events in the outbox
	single  bool     // one at a time, to find the one that is refused
	chunk   int      // of them are under way
	under   leat.Pending
}

// send appends the events of each stream in order, and those of different
// streams side by side.
func (s *sending) send(ctx context.Context, events []Outgoing) {
	queues := make(map[string]*queue)
	var active []*queue
	for _, e := range events {
		if e.Behind {
			s.park(e.Event, e.Number, nil)
			continue
		}
		q := queues[e.Stream]
		if q == nil {
			q = &queue{}
			queues[e.Stream] = q
			active = append(active, q)
		}
		q.events, q.numbers = append(q.events, e.Event), append(q.numbers, e.Number)
	}
	limits := leat.LimitsOf(s.log)
	for len(active) > 0 {
		if time.Now().After(s.until) {
			return // it hung, and others have taken the events since
		}
		for _, q := range active {
			if q.chunk = 1; !q.single {
				q.chunk = limits.Fit(q.events)
			}
			q.under = leat.Submit(ctx, s.log, q.events[:q.chunk])
		}
		rest := active[:0]
		for _, q := range active {
			_, err := q.under.Wait()
			if s.took(q, err) {
				rest = append(rest, q)
			}
		}
		active = rest
	}
}

// took takes in what became of the events of a queue that were under way, and
// reports whether there is more to send.
func (s *sending) took(q *queue, err error) bool {
	var partial *leat.PartialError
	switch {
	case err == nil:
		s.settle.Sent = append(s.settle.Sent, q.numbers[:q.chunk]...)
		s.resting.succeeded(q.events[0].Stream)
		q.events, q.numbers = q.events[q.chunk:], q.numbers[q.chunk:]
		return len(q.events) > 0
	case errors.As(err, &partial):
		// Somebody else was at it. The rest is taken anew: it may have been
		// discarded meanwhile.
		for _, i := range partial.Known {
			s.settle.Sent = append(s.settle.Sent, q.numbers[i])
		}
	case Refused(err) && q.chunk > 1:
		q.single = true
		return true
	case Refused(err):
		for i := range q.events {
			s.park(q.events[i], q.numbers[i], err)
			err = nil
		}
	default:
		s.resting.failed(q.events[0].Stream, s.retry, err)
		if s.failed == nil || errors.Is(err, leat.ErrClosed) {
			s.failed = err
		}
	}
	return false
}

// park parks an event, behind another when err is nil.
func (s *sending) park(e leat.Event, number uint64, err error) {
	p := Parked{Stream: e.Stream, Version: number, ID: e.ID, Type: e.Type, At: time.Now().UTC()}
	if err != nil {
		p.Error, p.Attempts = reason(err), 1
	}
	s.settle.Park = append(s.settle.Park, p)
}

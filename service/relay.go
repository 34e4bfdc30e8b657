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

// start returns nothing: a relay reads no log, so it is no application.
func (r Relay) start(env) []*fleet { return nil }

func (r Relay) newRun(e env) *relayRun {
	return &relayRun{Relay: r, env: e, wake: make(chan struct{}, 1)}
}

// A relayRun is a relay at work. Its fields belong to the goroutine of run, but
// for wake.
type relayRun struct {
	Relay
	env
	wake chan struct{} // has one element when there may be something to do
}

func (r *relayRun) run(ctx context.Context) error {
	listening, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { r.listen(listening) })
	defer wg.Wait()
	defer cancel()
	defer r.release(ctx)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for failures := 0; ; {
		more, err := r.pass(ctx)
		switch {
		case ctx.Err() != nil:
			return nil // to be stopped is no error
		case errors.Is(err, leat.ErrClosed):
			return err
		case err != nil:
			failures++
			r.failed(ctx, "relay events", failures, err)
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

// failed tells of a failure and waits before the next attempt.
func (r *relayRun) failed(ctx context.Context, doing string, failures int, err error) {
	wait := r.retry.pause(failures)
	level := slog.LevelWarn
	if failures >= r.retry.Attempts {
		level = slog.LevelError // somebody has to look after it
	}
	r.logger.Log(ctx, level, "trying again", "relay", r.Name, "doing", doing, "failures", failures, "wait", wait, "error", err)
	_ = pause(ctx, wait) // the caller looks whether ctx has ended
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
		r.failed(ctx, "listen for events; they are looked for each second meanwhile", failures, err)
	}
}

func (r *relayRun) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), relayRelease)
	defer cancel()
	if err := r.Outbox.Release(ctx, r.owner); err != nil {
		r.logger.Warn("the outbox was not released; the hold of this process has to expire", "relay", r.Name, "error", err)
	}
}

// pass relays what waits, and tries what is due. more says that there may be
// more to do at once.
func (r *relayRun) pass(ctx context.Context) (more bool, err error) {
	if err := r.retryDue(ctx); err != nil {
		return false, err
	}
	events, err := r.Outbox.Take(ctx, r.Name, r.owner, r.ttl, relayLimit, nil)
	if errors.Is(err, leat.ErrHeld) {
		return false, nil
	}
	if err != nil || len(events) == 0 {
		return false, err
	}
	s := &sending{relayRun: r, until: time.Now().Add(r.ttl), settle: Settlement{Name: r.Name}}
	s.send(ctx, events)
	if err := r.Outbox.Settle(context.WithoutCancel(ctx), s.settle); err != nil {
		return false, err
	}
	for _, p := range s.settle.Park {
		if p.Error != "" {
			r.logger.Error("event of the outbox is parked, and what follows in its stream", "relay", r.Name,
				"stream", p.Stream, "number", p.Version, "type", p.Type, "error", p.Error)
		}
	}
	return s.failed == nil, s.failed
}

// retryDue tries the parked events of streams that are due, in order.
func (r *relayRun) retryDue(ctx context.Context) error {
	streams, err := r.Outbox.Due(ctx, r.Name)
	if err != nil {
		return err
	}
	for _, stream := range streams {
		events, err := r.Outbox.Parked(ctx, r.Name, stream)
		if err != nil {
			return err
		}
		for _, p := range events {
			if !p.Waits() {
				continue
			}
			again, err := r.retryEvent(ctx, p)
			if err != nil {
				return err
			}
			if again {
				break // the others stay behind it
			}
		}
	}
	return nil
}

// retryEvent appends a parked event. It reports whether it stays parked, or
// somebody else is at work on it.
func (r *relayRun) retryEvent(ctx context.Context, p Parked) (stays bool, err error) {
	e, found, err := r.Outbox.Find(ctx, p.Version)
	if err != nil {
		return true, err
	}
	s := Settlement{Name: r.Name, Done: []Parked{p}}
	if found {
		_, err := r.log.Append(ctx, []leat.Event{e.Event})
		switch {
		case err == nil:
			s.Sent = []uint64{e.Number}
		case refused(err):
			again := p
			again.Error, again.Attempts, again.At = reason(err), p.Attempts+1, time.Now().UTC()
			s.Park = []Parked{again}
			r.logger.Error("parked event of the outbox is refused again", "relay", r.Name, "stream", p.Stream, "number", p.Version, "error", err)
		default:
			return true, err
		}
	}
	err = r.Outbox.Settle(context.WithoutCancel(ctx), s)
	if errors.Is(err, ErrNotParked) {
		return true, nil // handled or discarded meanwhile, and what is left will be due
	}
	return len(s.Park) > 0, err
}

// refused reports whether the log will never take an event.
func refused(err error) bool {
	return (errors.Is(err, leat.ErrInvalid) || errors.Is(err, leat.ErrIDReused)) && !errors.Is(err, leat.ErrUncertain)
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
	events []Outgoing
	single bool // one at a time, to find the one that is refused
	chunk  int  // of them are under way
	under  leat.Pending
}

// send appends the events of each stream in order, and those of different
// streams side by side.
func (s *sending) send(ctx context.Context, events []Outgoing) {
	queues := make(map[string]*queue)
	var active []*queue
	for _, e := range events {
		if e.Behind {
			s.park(e, nil)
			continue
		}
		q := queues[e.Stream]
		if q == nil {
			q = &queue{}
			queues[e.Stream] = q
			active = append(active, q)
		}
		q.events = append(q.events, e)
	}
	limits := leat.LimitsOf(s.log)
	for len(active) > 0 {
		if time.Now().After(s.until) {
			return // it hung, and others have taken the events since
		}
		for _, q := range active {
			chunk := q.next(limits)
			q.chunk = len(chunk)
			q.under = leat.Submit(ctx, s.log, chunk)
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

// next returns the next events to append together.
func (q *queue) next(limits leat.Limits) []leat.Event {
	var chunk []leat.Event
	bytes := 0
	for _, e := range q.events {
		bytes += e.Size()
		if len(chunk) > 0 && (q.single || len(chunk) == limits.AppendEvents || bytes > limits.AppendBytes) {
			break
		}
		chunk = append(chunk, e.Event)
	}
	return chunk
}

// took takes in what became of the events of a queue that were under way, and
// reports whether there is more to send.
func (s *sending) took(q *queue, err error) bool {
	chunk := q.events[:q.chunk]
	var partial *leat.PartialError
	switch {
	case err == nil:
		for _, e := range chunk {
			s.settle.Sent = append(s.settle.Sent, e.Number)
		}
		q.events = q.events[q.chunk:]
		return len(q.events) > 0
	case errors.As(err, &partial):
		// Somebody else was at it. The rest is taken anew: it may have been
		// discarded meanwhile.
		for _, i := range partial.Known {
			s.settle.Sent = append(s.settle.Sent, chunk[i].Number)
		}
	case refused(err) && q.chunk > 1:
		q.single = true
		return true
	case refused(err):
		for _, e := range q.events {
			s.park(e, err)
			err = nil
		}
	case s.failed == nil:
		s.failed = err
	}
	return false
}

// park parks an event, behind another when err is nil.
func (s *sending) park(e Outgoing, err error) {
	p := Parked{Stream: e.Stream, Version: e.Number, ID: e.ID, Type: e.Type, At: time.Now().UTC()}
	if err != nil {
		p.Error, p.Attempts = reason(err), 1
	}
	s.settle.Park = append(s.settle.Park, p)
}

package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/leathq/leat"
)

// A Forwarder hands events on to another system: another log, an HTTP endpoint,
// a queue. The packages below forward are destinations.
//
// It sends each event at least once: first in the order of its stream, and
// again after a crash, an answer that was lost, or when a process goes on that
// was paused and has lost its shard. The event's stream and ID tell the receiver
// what it has had before. Events of different streams are sent in any order, in
// batches as large as the destination takes.
//
// An event that is refused for good is parked, and what follows in its stream
// behind it. So is one that fails Retry.Attempts times while others are taken.
// When nothing is taken the destination is away: then no event is to blame, and
// the Forwarder tries until it is back.
//
// Its checkpoint moves and is saved like a Reactor's.
type Forwarder struct {
	// Name is the application's, under which its checkpoint is kept.
	Name string

	// Filter selects the events.
	Filter leat.Filter

	// To takes the events.
	To Destination

	// Transform, if set, returns what is sent for an event. It must return the
	// same for the same event and have no effect. An event for which it returns
	// ErrSkipped is not sent; with any other error it is parked. ID and Stream
	// are what a receiver knows the event by: to change them is to promise that
	// no two events end up with the same.
	Transform func(leat.Recorded) (leat.Recorded, error)

	// Checkpoints keeps the checkpoint and what is parked.
	Checkpoints CheckpointStore

	// Parallel is how many batches are on their way at a time, each with events
	// of other streams; DefaultParallel when 0.
	Parallel int
}

// A Destination takes events from Forwarders. It is safe for concurrent use.
type Destination interface {
	// Check is called before the first Send of each shard, with the log that the
	// events come from. It is tried again until it succeeds; a Permanent error
	// ends the App.
	Check(ctx context.Context, from leat.Info) error

	// Bounds returns how much one Send may bring. It never changes.
	Bounds() Bounds

	// Send hands events over and returns when the destination has them for good.
	// Those of each stream are in order. When it fails, its error is about all
	// events, or a SendErrors that says how each of them fared. An error about a
	// single event that will not go away is Permanent; one about several at once
	// makes the Forwarder send fewer of them to find out which it is.
	// One that wraps leat.ErrUnavailable is never put down to an event.
	// RetryAfter says when to try again.
	Send(ctx context.Context, d Delivery) error
}

// A Delivery is what a Destination gets at a time.
type Delivery struct {
	Log    string // ID of the log that the events come from
	Events []leat.Recorded
}

// Bounds say how much a Destination takes at a time. More than one event is in
// one Send only within them; it may be that each by itself is too large.
type Bounds struct {
	Events int // 1 when 0
	Bytes  int // by leat.Event.Size; any number when 0

	// OnePerStream says that a Send has at most one event of each stream: for a
	// destination that may take the second of two and not the first.
	OnePerStream bool
}

// SendErrors says how each event of a Delivery fared, in the order of its
// events: nil for one that was taken, ErrSkipped for one that was passed over.
// After the first error of a stream the Forwarder sends the rest of it again.
type SendErrors []error

// ErrBehind is how an event fared that was not sent because one before it in its
// stream failed.
var ErrBehind = errors.New("not sent: an event before it in its stream failed")

func (e SendErrors) Error() string {
	failed, first := 0, error(nil)
	for _, err := range e {
		if err != nil {
			failed++
			first = cmp.Or(first, err)
		}
	}
	return fmt.Sprintf("%d of %d events were not taken, the first because: %v", failed, len(e), first)
}

// Unwrap returns the errors.
func (e SendErrors) Unwrap() []error { return e }

// OrNil returns nil when all events were taken, otherwise e.
func (e SendErrors) OrNil() error {
	for _, err := range e {
		if err != nil {
			return e
		}
	}
	return nil
}

func (f Forwarder) validate() error {
	switch {
	case f.Checkpoints == nil:
		return unset("Forwarder", f.Name, "Checkpoints")
	case f.To == nil:
		return unset("Forwarder", f.Name, "To")
	case f.Parallel < 0:
		return &leat.InvalidError{Field: fmt.Sprintf("Forwarder %q: Parallel", f.Name), Limit: "not negative", Got: fmt.Sprint(f.Parallel)}
	}
	return validate("Forwarder", f.Name, f.Filter)
}

func (f Forwarder) start(env env) ([]*fleet, []*relayRun) {
	h := handling{
		prepare: f.Transform,
		bounds:  f.To.Bounds(),
		slots:   make(chan struct{}, cmp.Or(f.Parallel, DefaultParallel)),
		taken:   new(atomic.Uint64),
		handled: (*tally).forward,
	}
	return []*fleet{newFleet(env, f.Name, f.Checkpoints, func(w worker, s leat.Shard) run {
		return forwarderRun{f.To, newLaneRun(h, application{worker: w, store: f.Checkpoints, filter: f.Filter, shard: s})}
	})}, nil
}

// A forwarderRun is a Forwarder at work on a shard.
type forwarderRun struct {
	to Destination
	*laneRun
}

func (f forwarderRun) run(stop context.Context, at leat.Checkpoint) error {
	f.handle = func(ctx context.Context, events []leat.Recorded) error {
		return f.to.Send(ctx, Delivery{Log: at.Log, Events: events})
	}
	err := f.insist(stop, "check the destination", func() error { return f.check(stop, at) })
	if err != nil {
		return unlessStopped(stop, err)
	}
	return f.laneRun.run(stop, at)
}

func (f forwarderRun) check(ctx context.Context, at leat.Checkpoint) error {
	info, err := f.log.Info(ctx)
	if err != nil {
		return err
	}
	return f.to.Check(ctx, info)
}

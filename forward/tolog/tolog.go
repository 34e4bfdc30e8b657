package tolog

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

// Bounds of a Send, which a log takes in one Append for each route key.
const (
	sendEvents = 500
	sendBytes  = 1 << 20
)

// A Destination is a log that events are forwarded to. It is safe for concurrent
// use.
type Destination struct {
	// Log takes the events.
	Log leat.Log

	// Stream, if set, returns the name that a stream has in Log, always the same.
	// When it brings streams together, their events come in any order, and two
	// with the same ID are one to the log: the second is parked when it differs
	// from the first. Where logs forward in a circle, leave it nil.
	Stream func(name string) string
}

var _ service.Destination = (*Destination)(nil)

// Check implements [service.Destination]. It refuses to forward a log to itself.
func (d *Destination) Check(ctx context.Context, from leat.Info) error {
	info, err := d.Log.Info(ctx)
	if err != nil {
		return err
	}
	if info.ID == from.ID {
		return service.Permanent(&leat.InvalidError{Field: "Destination.Log", Limit: "another log than the one that is forwarded", Got: "log " + info.ID + " for both"})
	}
	return nil
}

// Bounds implements [service.Destination].
func (d *Destination) Bounds() service.Bounds {
	return service.Bounds{Events: sendEvents, Bytes: sendBytes}
}

// Send implements [service.Destination].
func (d *Destination) Send(ctx context.Context, del service.Delivery) error {
	to, err := d.Log.Info(ctx)
	if err != nil {
		return meaning(err)
	}
	errs := make(service.SendErrors, len(del.Events))
	failed := make(map[string]bool)
	routes := make(map[string]*route)
	var order []*route
	for i, e := range del.Events {
		copied, err := d.copyOf(e, del.Log, to.ID)
		if err == nil && failed[e.Stream] {
			err = service.ErrBehind
		}
		if err != nil {
			errs[i] = err
			failed[e.Stream] = failed[e.Stream] || !errors.Is(err, service.ErrSkipped)
			continue
		}
		key := leat.RouteKey(copied.Stream)
		if routes[key] == nil {
			routes[key] = &route{limits: leat.LimitsOf(d.Log), errs: errs, failed: failed}
			order = append(order, routes[key])
		}
		routes[key].add(i, e.Stream, copied)
	}
	for len(order) > 0 {
		pending := make([]leat.Pending, len(order))
		for i, r := range order {
			pending[i] = leat.Submit(ctx, d.Log, r.next())
		}
		for i, r := range order {
			_, err := pending[i].Wait()
			r.took(ctx, d.Log, err)
		}
		order = slices.DeleteFunc(order, func(r *route) bool { return len(r.events) == 0 })
	}
	return errs.OrNil()
}

// copyOf returns what is recorded of an event that came from a log. It is the
// same whichever way the event came, so that the log knows one that comes again
// another way.
func (d *Destination) copyOf(e leat.Recorded, from, to string) (leat.Event, error) {
	c := e.Event
	if d.Stream != nil {
		c.Stream = d.Stream(e.Stream)
	}
	if e.Meta.Get(leat.MetaOriginLog) == to {
		return c, service.ErrSkipped
	}
	c.Meta = e.OriginMeta(from)
	return c, nil
}

// A route holds the events of a Send that have one route key, in order, and so
// can be appended together.
type route struct {
	limits leat.Limits
	events []leat.Event // that are left
	from   []origin     // of events
	n      int          // of events that are being appended

	errs   service.SendErrors // of the whole Send
	failed map[string]bool    // streams of which an event failed, as they are named where they come from
}

// An origin is an event's place in a Delivery, and its stream there.
type origin struct {
	place  int
	stream string
}

func (r *route) add(place int, stream string, e leat.Event) {
	r.events, r.from = append(r.events, e), append(r.from, origin{place, stream})
}

// next returns the events of the next Append.
func (r *route) next() []leat.Event {
	r.n = r.limits.Fit(r.events)
	return r.events[:r.n]
}

// took takes in the outcome of the Append that next began.
func (r *route) took(ctx context.Context, log leat.Log, err error) {
	partial, partly := errors.AsType[*leat.PartialError](err)
	switch {
	case err == nil:
		r.drop(r.n)
	case partly && len(partial.Known) > 0 && partial.Total == r.n:
		for k, i := range partial.Known { // they are there; the rest is appended next
			r.events = slices.Delete(r.events, i-k, i-k+1)
			r.from = slices.Delete(r.from, i-k, i-k+1)
		}
	case service.Refused(err):
		for i := range r.n { // one of them is to blame
			r.single(ctx, log, i)
		}
		r.drop(r.n)
		r.hold()
	default:
		for _, o := range r.from { // nothing that is left was appended
			r.errs[o.place] = meaning(err)
		}
		r.drop(len(r.events))
	}
}

func (r *route) drop(n int) { r.events, r.from = r.events[n:], r.from[n:] }

// hold takes out what is behind an event that failed.
func (r *route) hold() {
	events, from := r.events[:0], r.from[:0]
	for i, o := range r.from {
		if r.failed[o.stream] {
			r.errs[o.place] = service.ErrBehind
			continue
		}
		events, from = append(events, r.events[i]), append(from, o)
	}
	r.events, r.from = events, from
}

// single appends an event by itself, unless one before it in its stream failed.
func (r *route) single(ctx context.Context, log leat.Log, i int) {
	o := r.from[i]
	if r.failed[o.stream] {
		r.errs[o.place] = service.ErrBehind
		return
	}
	if _, err := log.Append(ctx, r.events[i:i+1]); err != nil {
		r.failed[o.stream] = true
		r.errs[o.place] = meaning(err)
	}
}

// meaning returns what an error of the other log means to a Forwarder.
func meaning(err error) error {
	switch {
	case service.Refused(err):
		return service.Permanent(err)
	case errors.Is(err, leat.ErrFenced), errors.Is(err, leat.ErrDiverged):
		// Not what these say of the log that is forwarded.
		return fmt.Errorf("%w: %v", leat.ErrUnavailable, err) //nolint:errorlint // see above
	}
	return err
}

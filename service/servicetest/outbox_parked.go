package servicetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

// tooLarge is an event that no log with MinLimits takes.
func tooLarge(stream, id string) leat.Event {
	return happened(stream, id, strings.Repeat("x", leat.MinLimits.EventBytes))
}

// list returns what is parked, as STREAM:ID with "!" when it failed and "-" when
// it is discarded.
func (o *office[Tx]) list() (all []string) {
	o.Helper()
	events, err := o.Open(o).Parked(o.Context(), relay, "")
	o.ok(err)
	for _, p := range events {
		s := p.Stream + ":" + p.ID
		if p.Error != "" {
			s += "!"
		}
		if !p.Waits() {
			s += "-"
		}
		all = append(all, s)
	}
	return all
}

func (o *office[Tx]) lists(want ...string) {
	o.Helper()
	if got := o.list(); !slices.Equal(got, want) {
		o.Fatalf("parked are %q, want %q", got, want)
	}
}

// blocked puts events of which the log refuses some, and relays the others.
func (o *office[Tx]) blocked() (number uint64) {
	o.Helper()
	_, err := o.To.Append(o.Context(), []leat.Event{happened("b-1", "used", "before")})
	o.ok(err)
	o.put(happened("a-1", "1", "1"), tooLarge("a-1", "2"), happened("a-1", "3", "3"), happened("c-1", "1", "1"))
	o.put(happened("b-1", "used", "after"), happened("b-1", "2", "2"), happened("c-1", "2", "2"))
	o.relayed("a-1:1", "b-1:before", "c-1:1", "c-1:2")
	o.put(happened("a-1", "4", "4"), happened("c-1", "3", "3"))
	o.relayed("a-1:1", "b-1:before", "c-1:1", "c-1:2", "c-1:3")
	o.lists("a-1:2!", "a-1:3", "a-1:4", "b-1:used!", "b-1:2")
	events, err := o.outbox.Parked(o.Context(), relay, "a-1")
	o.ok(err)
	e, found, err := o.outbox.Find(o.Context(), events[0].Version)
	o.ok(err)
	if !found || e.ID != "2" || len(e.Data) != leat.MinLimits.EventBytes {
		o.Fatalf("event %d is %.20v, %v; want the one that is parked", events[0].Version, e, found)
	}
	return events[0].Version
}

func (o *office[Tx]) refused() {
	number := o.blocked()
	events, err := o.outbox.Parked(o.Context(), relay, "")
	o.ok(err)
	first := events[0]
	if first.Version != number || first.Type != "Happened" || first.Attempts != 1 || !strings.Contains(first.Error, "bytes") || first.At.IsZero() {
		o.Errorf("parked is %+v, want what is known of the event and that it is too large", first)
	}
	if !strings.Contains(events[3].Error, "in use") {
		o.Errorf("parked is %+v, want that its ID is in use", events[3])
	}
}

// A wideLog takes larger events.
type wideLog struct{ leat.Log }

func (l *wideLog) Limits() leat.Limits {
	limits := leat.MinLimits
	limits.EventBytes *= 2
	return limits
}

func (l *wideLog) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	events = slices.Clone(events)
	for i := range events {
		if len(events[i].Data) == leat.MinLimits.EventBytes {
			events[i].Data = []byte("large")
		}
	}
	return l.Log.Append(ctx, events, conds...)
}

func (o *office[Tx]) retried() {
	o.blocked()
	o.ok(o.Open(o).Retry(o.Context(), relay, "a-1"))
	attempts := func() int {
		events, err := o.outbox.Parked(o.Context(), relay, "a-1")
		o.ok(err)
		return events[0].Attempts
	}
	stop := o.start(o.outbox, o.To)
	o.until("it was tried again", func() bool { return attempts() == 2 })
	stop()
	o.lists("a-1:2!", "a-1:3", "a-1:4", "b-1:used!", "b-1:2")
	o.put(happened("a-1", "5", "5"))
	o.ok(o.Open(o).Retry(o.Context(), relay, "a-1"))
	o.To = &wideLog{o.To}
	o.relayed("a-1:1", "a-1:large", "a-1:3", "a-1:4", "a-1:5", "b-1:before", "c-1:1", "c-1:2", "c-1:3")
	o.lists("b-1:used!", "b-1:2")
}

func (o *office[Tx]) discarded() {
	number := o.blocked()
	o.ok(o.Open(o).Discard(o.Context(), relay, "a-1", number, "a test order"))
	o.relayed("a-1:1", "a-1:3", "a-1:4", "b-1:before", "c-1:1", "c-1:2", "c-1:3")
	o.lists("a-1:2!-", "b-1:used!", "b-1:2")
	o.put(happened("a-1", "5", "5"))
	o.relayed("a-1:1", "a-1:3", "a-1:4", "a-1:5", "b-1:before", "c-1:1", "c-1:2", "c-1:3")
	if _, found, err := o.outbox.Find(o.Context(), number); err != nil || !found {
		o.Errorf("a discarded event is found: %v, %v; want it to stay as a record", found, err)
	}
}

func (o *office[Tx]) settled() {
	o.put(happened("a-1", "1", "1"), happened("b-1", "1", "1"))
	events, err := o.outbox.Take(o.Context(), relay, "a", time.Hour, 10, nil)
	o.ok(err)
	park := func(e service.Outgoing) service.Parked {
		return service.Parked{Stream: e.Stream, Version: e.Number, ID: e.ID, Type: e.Type, Error: "no", At: time.Now()}
	}
	s := service.Settlement{Name: relay, Sent: []uint64{events[0].Number}, Park: []service.Parked{park(events[1])}}
	for range 2 { // as by a relay that was behind
		o.ok(o.outbox.Settle(o.Context(), s))
		o.lists("b-1:1!")
	}
	o.ok(o.outbox.Settle(o.Context(), service.Settlement{Name: relay, Park: []service.Parked{park(events[0])}}))
	o.lists("b-1:1!") // what was sent is not parked
	gone := service.Settlement{Name: relay, Sent: []uint64{events[1].Number}, Done: []service.Parked{park(events[0])}}
	if err := o.outbox.Settle(o.Context(), gone); !errors.Is(err, service.ErrNotParked) {
		o.Fatalf("settling what is not parked: %v, want ErrNotParked", err)
	}
	if _, found, err := o.outbox.Find(o.Context(), events[1].Number); err != nil || !found {
		o.Fatalf("an event is found after a settlement that failed: %v, %v", found, err)
	}
}

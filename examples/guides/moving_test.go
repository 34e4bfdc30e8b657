package guides

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
)

// An oldEvent is a row of the event table that is left behind.
type oldEvent struct {
	Stream  string // "order-1"
	Version int
	Type    string
	Time    time.Time
	Data    []byte
}

// move records the events of one stream, as they were. It may be called again, and
// with more events than before: what is recorded already is left alone.
func move(ctx context.Context, log leat.Log, old []oldEvent) error {
	events := make([]leat.Event, len(old))
	for i, o := range old {
		events[i] = leat.Event{
			ID:     fmt.Sprint("moved-", o.Version), // unique within the stream
			Stream: o.Stream, Type: o.Type, Source: "orders", Time: o.Time, Data: o.Data,
		}
	}
	for len(events) > 0 {
		n := min(len(events), leat.MinLimits.AppendEvents)
		first := old[len(old)-len(events)].Version
		_, err := log.Append(ctx, events[:n], leat.ExpectVersion(events[0].Stream, uint64(first-1)))
		if partial, ok := errors.AsType[*leat.PartialError](err); ok {
			events = events[len(partial.Known):] // the first of them, since a stream has no holes
			continue
		}
		if err != nil {
			return fmt.Errorf("move %s from version %d: %w", events[0].Stream, first, err)
		}
		events = events[n:]
	}
	return nil
}

func TestMove(t *testing.T) {
	log, err := leattest.New(leat.Config{}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	placed := time.Date(2019, 3, 1, 9, 0, 0, 0, time.UTC)
	old := []oldEvent{
		{"order-1", 1, "order.placed.v0", placed, []byte(`{"pounds":3}`)},
		{"order-1", 2, "OrderShipped", placed.Add(time.Hour), []byte(`{"carrier":"Royal Mail"}`)},
	}
	for _, n := range []int{1, 2, 2} {
		if err := move(t.Context(), log, old[:n]); err != nil {
			t.Fatal(err)
		}
	}
	o, err := orders.Load(t.Context(), log, "1")
	if want := (Order{300, "GBP", true}); err != nil || o.Version != 2 || o.State != want {
		t.Errorf("the order is %+v at version %d (%v), want %+v at version 2", o.State, o.Version, err, want)
	}
	for r, err := range log.ReadStream(t.Context(), "order-1", leat.Range{Through: 1}) {
		if err != nil || !r.Time.Equal(placed) {
			t.Errorf("it was placed at %s (%v), want %s", r.Time, err, placed)
		}
	}
}

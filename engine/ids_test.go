package engine_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
)

// TestIDsOfAllTimes records more IDs than are kept in memory, made by clocks that
// are right, slow and fast, and sends some of them again all the while: each is
// known, whenever it was recorded and whatever its UUID says of that.
func TestIDsOfAllTimes(t *testing.T) {
	rng := newRand(t)
	o := campaignOptions(vfs.NewMem())
	o.GenerationEvents = 3000
	log, err := engine.Create("log", leat.Config{}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { closeLog(t, log) }()
	var sent [][]leat.Event
	var receipts []leat.Receipt
	for n := range 200 {
		events := make([]leat.Event, 200)
		for i := range events {
			events[i] = leat.Event{
				ID: drawID(rng, fmt.Sprint(n, "-", i)), Stream: fmt.Sprintf("s%d-{k}", rng.IntN(7)), Type: "T", Source: "test",
			}
		}
		sent, receipts = append(sent, events), append(receipts, mustAppend(t, log, events...))
		for range 5 {
			k := rng.IntN(len(sent))
			at := rng.IntN(len(sent[k]) - 5)
			part := append([]leat.Event(nil), sent[k][at:at+5]...)
			if r := mustAppend(t, log, part...); !r.Duplicate || r.Versions[0] != receipts[k].Versions[at] || r.Versions[4] != receipts[k].Versions[at+4] {
				t.Fatalf("after %d appends, events %d to %d of append %d get %+v, want versions %v",
					n+1, at, at+4, k, r, receipts[k].Versions[at:at+5])
			}
			part[rng.IntN(5)].ID = drawID(rng, "new")
			if _, err := log.Append(t.Context(), part); !errors.Is(err, leat.ErrPartial) {
				t.Fatalf("after %d appends, four known events and a new one: got %v, want ErrPartial", n+1, err)
			}
		}
		if n%70 == 50 {
			closeLog(t, log)
			if log, err = engine.Open("log", o); err != nil {
				t.Fatal(err)
			}
		}
	}
}

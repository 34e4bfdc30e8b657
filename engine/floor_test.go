package engine_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
)

// TestFloorNeverSinks records IDs of a clock that is ahead, and then, for a whole
// generation, IDs of one that is right: the first ones are still known.
func TestFloorNeverSinks(t *testing.T) {
	const generation, batch = 18_000, 1000
	log := create(t, vfs.NewMem(), engine.Options{GenerationEvents: generation})
	events := func(millis, from int) []leat.Event {
		var events []leat.Event
		for i := range batch {
			id := fmt.Sprintf("%08x-%04x-7000-8000-%012x", millis>>16, millis&0xffff, from+i)
			events = append(events, leat.Event{ID: id, Stream: "order-1", Type: "T", Source: "test"})
		}
		return events
	}
	sorted := func(generations uint64) {
		for log.Stats().Generations < generations {
			runtime.Gosched()
		}
	}
	for round, millis := range []int{1 << 41, 1 << 40} { // ahead, right
		for from := 0; from < generation; from += batch {
			mustAppend(t, log, events(millis, from)...)
		}
		sorted(uint64(round + 1))
	}
	if r := mustAppend(t, log, events(1<<41, 0)...); !r.Duplicate || r.First != 1 {
		t.Errorf("append the first events again: got %d to %d, want a duplicate of 1 to %d", r.First, r.Last, batch)
	}
}

package engine_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
)

// TestTrimmedBeforeIndexed trims events that the store has no index of yet, of a
// stream of which it has one of older events: where the stream is kept from does
// not depend on that.
func TestTrimmedBeforeIndexed(t *testing.T) {
	o := engine.Options{FS: vfs.NewMem(), GenerationEvents: 4}
	log, err := engine.Create("log", leat.Config{Shards: leat.EvenShards(2)}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer closeLog(t, log)
	shards := leat.EvenShards(2)
	own := leat.OpenShard(shards, leat.RouteHash("order-1"))
	n := 0
	fill := func(events int) { // the other shard
		for events > 0 {
			n++
			e := leat.Event{ID: fmt.Sprint(n), Stream: fmt.Sprint("other-", n), Type: "T", Source: "test"}
			if leat.OpenShard(shards, leat.RouteHash(e.Stream)) != own {
				mustAppend(t, log, e)
				events--
			}
		}
	}
	mustAppend(t, log, event("a"))
	fill(200) // version 1 is in the store, and not worth to be removed from it
	r := mustAppend(t, log, event("b"), event("c"))
	if _, err := log.Trim(t.Context(), r.Shard, r.Last+1); err != nil {
		t.Fatal(err)
	}
	for range 30 { // until versions 2 and 3 would be, too
		fill(2)
		for _, after := range []uint64{0, 1} {
			var last error
			for _, err := range log.ReadStream(t.Context(), "order-1", leat.Range{After: after}) {
				last = err
			}
			var trimmed *leat.TrimmedError
			if !errors.As(last, &trimmed) || trimmed.Oldest != 4 {
				t.Fatalf("read after version %d: got %v, want a TrimmedError with version 4", after, last)
			}
		}
	}
}

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
)

// TestRepairKeepsWhatIsTrimmed damages the index of a log of which the beginning
// is trimmed: after a repair IDs are known and versions go on, also of streams
// of which nothing is kept.
func TestRepairKeepsWhatIsTrimmed(t *testing.T) {
	mem := vfs.NewMem()
	o := engine.Options{FS: mem, GenerationEvents: 8}
	log := create(t, mem, o)
	var events []leat.Event
	for i := range 40 {
		id := fmt.Sprint("id-", i)
		if i%2 == 0 {
			id = leat.NewID()
		}
		events = append(events, leat.Event{ID: id, Stream: fmt.Sprintf("s-%d", i/10), Type: "T", Source: "test", Data: make([]byte, 6<<10)})
		mustAppend(t, log, events[i])
	}
	if _, err := log.Trim(t.Context(), leat.ShardNumber(0), 26); err != nil { // s-0, s-1 and half of s-2
		t.Fatal(err)
	}
	closeLog(t, log)
	withStore(t, mem, func(db *pebble.DB) {
		remove(t, db, "hs-0")
		put(t, db, "hs-1", "\x01")
		put(t, db, "hs-2", "\x63")
		remove(t, db, "hs-3")
		for _, prefix := range []byte{'s', 'g'} {
			if err := db.DeleteRange([]byte{prefix}, []byte{prefix + 1}, pebble.Sync); err != nil {
				t.Fatal(err)
			}
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := engine.Repair(ctx, "log", o, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled repair: got %v", err)
	}
	var done, total uint64
	report, err := engine.Repair(t.Context(), "log", o, func(d, n uint64) {
		if d < done || n < d {
			t.Errorf("progress goes from %d to %d of %d", done, d, n)
		}
		done, total = d, n
	})
	if err != nil || report.Found != 0 || report.Streams != 5 || report.IDs != 41 {
		t.Fatalf("repair: got %+v, %v, want a good log of 5 streams and 41 IDs, the trim's included", report, err)
	}
	if done != total || total != 3*report.Events {
		t.Errorf("progress ended at %d of %d, want three times %d", done, total, report.Events)
	}
	if log, err = engine.Open("log", o); err != nil {
		t.Fatal(err)
	}
	defer closeLog(t, log)
	for i, e := range events {
		if r := mustAppend(t, log, e); !r.Duplicate || r.Versions[0] != uint64(i%10+1) {
			t.Errorf("append event %d again: got %+v, want a duplicate of version %d", i, r, i%10+1)
		}
	}
	for i := range 4 {
		e := events[0]
		e.ID, e.Stream = "new", fmt.Sprintf("s-%d", i)
		if r := mustAppend(t, log, e); r.Versions[0] != 11 {
			t.Errorf("append to %s: got %+v, want version 11", e.Stream, r)
		}
	}
	if report, err := engine.Repair(t.Context(), "none", o, nil); !errors.Is(err, leat.ErrNotFound) {
		t.Errorf("repair what is not there: got %+v, %v", report, err)
	}
}

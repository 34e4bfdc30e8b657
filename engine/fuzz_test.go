package engine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
)

// FuzzEvents appends events of any names, IDs, attributes and bytes: they are
// refused as out of bounds, or come back as they went in, from the shard and
// from the stream, before and after the log was closed, and are known when they
// come again.
func FuzzEvents(f *testing.F) {
	f.Add("order-1", "id", "Placed", "orders", "application/json", []byte("{}"), "tenant", "a", int64(0))
	f.Add("a{b}c", leat.NewID(), "T", "s", "", []byte(nil), "k", "", int64(-1))
	f.Add("\x00\xc3\xa4", "\x00", "\xf0\x9f\xa7\xbe", " ", "text/plain", []byte{0, 0xff}, "traceparent", "\x00", int64(1)<<62)
	f.Add("{}", "01900000-0000-7000-8000-000000000000", "T", "s", "x", []byte("x"), "0", "v", int64(1))
	f.Add("s\xff", "01900000-0000-7000-8000-00000000000G", "T", "s", "x", []byte("x"), "Upper", "v", int64(1))
	f.Fuzz(func(t *testing.T, stream, id, typ, source, contentType string, data []byte, key, value string, nanos int64) {
		first := leat.Event{
			ID: id, Stream: stream, Type: typ, Source: source, ContentType: contentType, Data: data,
			Meta: leat.Meta{{Key: key, Value: value}},
		}
		if nanos != 0 {
			first.Time = time.Unix(0, nanos).UTC()
		}
		second := first
		second.ID, second.Data, second.Meta = id+"2", append([]byte("second"), data...), nil
		events := []leat.Event{first, second}

		fs := vfs.NewMem()
		log, err := engine.Create("log", leat.Config{}, campaignOptions(fs))
		if err != nil {
			t.Fatal(err)
		}
		receipt, err := log.Append(t.Context(), events)
		if err != nil {
			if closeLog(t, log); !errors.Is(err, leat.ErrInvalid) {
				t.Fatalf("append %+v: %v", events, err)
			}
			return
		}
		for range 2 {
			comeBack(t, log, events)
			closeLog(t, log)
			if log, err = engine.Open("log", campaignOptions(fs)); err != nil {
				t.Fatal(err)
			}
		}
		if r := mustAppend(t, log, events...); !r.Duplicate || r.First != receipt.First || r.Last != receipt.Last {
			t.Fatalf("appended again %+v: got %+v, want %+v", events, r, receipt)
		}
		closeLog(t, log)
		mustCheck(t, fs, "log")
	})
}

// comeBack fails the test unless a log holds events, and nothing else.
func comeBack(t *testing.T, log *engine.Log, events []leat.Event) {
	t.Helper()
	c, err := readContents(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	got := c.events[leat.ShardNumber(0)]
	n := 0
	for e, err := range log.ReadStream(t.Context(), events[0].Stream, leat.Range{}) {
		if err != nil || n >= len(got) || !same(e, got[n]) {
			t.Fatalf("the stream reads as %+v, %v, and its shard as %+v", e, err, got)
		}
		n++
	}
	if len(got) != len(events) || n != len(events) {
		t.Fatalf("%d events are in the shard and %d in the stream, want %d", len(got), n, len(events))
	}
	for i, want := range events {
		if want.ID == "" {
			want.ID = got[i].ID
		}
		if want.ContentType == "" {
			want.ContentType = leat.DefaultContentType
		}
		if want.Time.IsZero() {
			want.Time = got[i].At
		}
		if !same(got[i], with(got[i], want)) {
			t.Fatalf("got\n%+v, want\n%+v", got[i], want)
		}
	}
}

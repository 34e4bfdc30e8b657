package wire_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/wire"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

const mostEvents = 20

var (
	drawText   = rapid.StringN(0, 20, 200)
	drawMoment = rapid.Map(rapid.Int64(), func(ns int64) time.Time { return time.Unix(0, ns).UTC() })
)

func drawEvents(t *rapid.T) (events []leat.Event) {
	for i := range rapid.IntRange(0, 5).Draw(t, "events") {
		var e leat.Event
		e.ID, e.Stream, e.Type = drawText.Draw(t, "id"), drawText.Draw(t, "stream"), drawText.Draw(t, "type")
		e.Source, e.ContentType = drawText.Draw(t, "source"), drawText.Draw(t, "contenttype")
		if rapid.Bool().Draw(t, "timed") {
			e.Time = drawMoment.Draw(t, "time")
		}
		if n := rapid.SampledFrom([]int{0, 1, 127, 128, 20_000}).Draw(t, "bytes"); n > 0 {
			e.Data = bytes.Repeat([]byte{byte(i)}, n)
		}
		for range rapid.IntRange(0, 3).Draw(t, "attributes") {
			e.Meta = append(e.Meta, leat.Attr{Key: drawText.Draw(t, "key"), Value: drawText.Draw(t, "value")})
		}
		events = append(events, e)
	}
	return events
}

func drawConditions(t *rapid.T) []leat.Condition {
	var conds []leat.Condition
	for range rapid.IntRange(0, 3).Draw(t, "conditions") {
		conds = append(conds, leat.Condition{
			Stream: drawText.Draw(t, "stream"), Version: rapid.Uint64().Draw(t, "version"), Exists: rapid.Bool().Draw(t, "exists"),
		})
	}
	return conds
}

// decodeAppends decodes a message.
func decodeAppends(message []byte) (log string, appends []wire.NumberedAppend, err error) {
	if log, err = wire.LogOf(message); err != nil {
		return log, nil, err
	}
	d := wire.AppendDecoder{MaxEvents: mostEvents}
	err = wire.EachAppend(message, func(encoded []byte) error {
		a, memory, err := d.Decode(encoded)
		if err == nil && memory < len(encoded) {
			return errors.New("an append takes less memory than its bytes")
		}
		if len(a.Events) == 0 {
			a.Events = nil
		}
		appends = append(appends, a)
		return err
	})
	return log, appends, err
}

// What is written without protobuf is what protobuf writes, and is read as
// protobuf reads it.
func TestAppendsAreProtobuf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := drawText.Draw(t, "log")
		want := &leatv1.AppendStreamRequest{Log: log}
		written := wire.EncodeLog(nil, log)
		var appends []wire.NumberedAppend
		for range rapid.IntRange(0, 4).Draw(t, "appends") {
			a := wire.NumberedAppend{Number: rapid.Uint64().Draw(t, "number"), Events: drawEvents(t), Conditions: drawConditions(t)}
			appends = append(appends, a)
			want.Appends = append(want.Appends, &leatv1.NumberedAppend{
				Number: a.Number, Events: wire.FromEvents(a.Events), Conditions: wire.FromConditions(a.Conditions),
			})
			encoded := wire.EncodeAppend(nil, a.Events, a.Conditions)
			if n := wire.EncodedSize(a.Events, a.Conditions); n != len(encoded) {
				t.Fatalf("%d bytes were foretold and %d written", n, len(encoded))
			}
			before := len(written)
			written = wire.Number(written, a.Number, encoded)
			if n := len(written) - before - len(encoded); n > wire.NumberBytes {
				t.Fatalf("a number took %d bytes", n)
			}
		}
		encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(written, encoded) {
			t.Fatalf("protobuf writes %q, we wrote %q", encoded, written)
		}
		gotLog, got, err := decodeAppends(encoded)
		if err != nil || gotLog != log || !reflect.DeepEqual(got, appends) {
			t.Fatalf("%+v of log %q came as %+v of log %q, %v", appends, log, got, gotLog, err)
		}
	})
}

// What is more than an append may have is refused, and no memory taken for it.
func TestAppendsThatAreTooLarge(t *testing.T) {
	many := func(n int) (m []leat.Attr) {
		for range n {
			m = append(m, leat.Attr{Key: "a", Value: "b"})
		}
		return m
	}
	for field, a := range map[string]wire.NumberedAppend{
		"":               {Events: make([]leat.Event, mostEvents), Conditions: make([]leat.Condition, mostEvents)},
		"events":         {Events: make([]leat.Event, mostEvents+1)},
		"conditions":     {Events: make([]leat.Event, 1), Conditions: make([]leat.Condition, mostEvents+1)},
		"events[1].meta": {Events: []leat.Event{{Meta: many(leat.MaxMeta)}, {Meta: many(leat.MaxMeta + 1)}}},
	} {
		message := wire.Number(wire.EncodeLog(nil, "log"), 7, wire.EncodeAppend(nil, a.Events, a.Conditions))
		_, got, err := decodeAppends(message)
		if err != nil || len(got) != 1 || got[0].Number != 7 {
			t.Fatalf("%s: came as %+v, %v", field, got, err)
		}
		var invalid *leat.InvalidError
		switch {
		case field == "" && got[0].Refused != nil:
			t.Errorf("refused: %v", got[0].Refused)
		case field != "" && (!errors.As(got[0].Refused, &invalid) || invalid.Field != field):
			t.Errorf("refused with %v, want an error that names %s", got[0].Refused, field)
		}
	}
}

// What is refused is not counted as memory that it does not have.
func TestMemoryOfWhatIsRefused(t *testing.T) {
	e := leat.Event{Meta: make(leat.Meta, 100_000)}
	encoded := wire.EncodeAppend(nil, []leat.Event{e}, nil)
	d := wire.AppendDecoder{MaxEvents: mostEvents}
	a, memory, err := d.Decode(encoded)
	if err != nil || a.Refused == nil || memory > len(encoded)+8<<10 {
		t.Errorf("%d bytes count as %d (refused: %v), %v", len(encoded), memory, a.Refused, err)
	}
}

// The name of a log is there when the message is not any more.
func TestLogOf(t *testing.T) {
	message := wire.EncodeLog(nil, "log")
	log, err := wire.LogOf(message)
	clear(message)
	if err != nil || log != "log" {
		t.Errorf("got log %q, %v", log, err)
	}
}

// FuzzAppends reads any bytes as protobuf reads them.
func FuzzAppends(f *testing.F) {
	e := leat.Event{
		ID: "id", Stream: "a-1", Type: "T", Source: "s", Time: time.Unix(1, 2).UTC(), ContentType: "text/plain",
		Data: []byte("data"), Meta: leat.NewMeta("k", "v"),
	}
	f.Add(wire.Number(wire.EncodeLog(nil, "log"), 300, wire.EncodeAppend(nil, []leat.Event{e, {}}, []leat.Condition{leat.ExpectVersion("a-1", 3)})))
	f.Add([]byte{0x8a, 0x00, 0x01, 'x', 0x12, 0x02, 0x0a, 0x00, 0x13, 0x14})
	f.Add([]byte("\xf1\xf1\xf1\xf1000000000")) // a field number that is too large
	f.Fuzz(func(t *testing.T, message []byte) {
		var want leatv1.AppendStreamRequest
		wantErr := proto.Unmarshal(message, &want)
		log, got, err := decodeAppends(message)
		if wantErr != nil {
			if err == nil && !strings.Contains(wantErr.Error(), "UTF-8") {
				t.Fatalf("read what protobuf does not: %v", wantErr)
			}
			return // names that are no UTF-8 are for the log to refuse
		}
		if err != nil || log != want.GetLog() || len(got) != len(want.GetAppends()) {
			t.Fatalf("read %d appends to log %q, %v, want %d to %q", len(got), log, err, len(want.GetAppends()), want.GetLog())
		}
		for i, w := range want.GetAppends() {
			if got[i].Number != w.GetNumber() {
				t.Fatalf("append %d has number %d, want %d", i, got[i].Number, w.GetNumber())
			}
			if got[i].Refused != nil {
				continue
			}
			again := &leatv1.NumberedAppend{
				Number: got[i].Number, Events: wire.FromEvents(got[i].Events), Conditions: wire.FromConditions(got[i].Conditions),
			}
			for _, e := range w.GetEvents() {
				if len(e.GetData()) == 0 {
					e.Data = nil
				}
			}
			forget(w)
			if !proto.Equal(again, w) {
				t.Fatalf("append %d came as %v, want %v", i, again, w)
			}
		}
	})
}

// forget drops fields that are not known.
func forget(a *leatv1.NumberedAppend) {
	a.ProtoReflect().SetUnknown(nil)
	for _, e := range a.GetEvents() {
		e.ProtoReflect().SetUnknown(nil)
		for _, m := range e.GetMeta() {
			m.ProtoReflect().SetUnknown(nil)
		}
	}
	for _, c := range a.GetConditions() {
		c.ProtoReflect().SetUnknown(nil)
	}
}

// decodeResults decodes a message.
func decodeResults(message []byte) (results []wire.Result, window uint32, err error) {
	var d wire.ResultDecoder
	window, err = d.EachResult(message, func(r *wire.Result) {
		own := *r
		if r.Receipt != nil {
			receipt := *r.Receipt
			own.Receipt = &receipt
		}
		results = append(results, own)
	})
	return results, window, err
}

// Answers come as they went, and as protobuf reads and writes them.
func TestResultsAreProtobuf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		written := wire.EncodeWindow(nil, 1000)
		want := &leatv1.AppendStreamResponse{Window: 1000}
		for range rapid.IntRange(0, 5).Draw(t, "results") {
			number := rapid.Uint64().Draw(t, "number")
			if rapid.IntRange(0, 4).Draw(t, "failed") == 0 {
				err := leat.ExpectVersion(drawText.Draw(t, "stream"), 2).Check(rapid.Uint64Range(3, 1<<40).Draw(t, "actual"))
				written = wire.EncodeResult(written, number, nil, err)
				want.Results = append(want.Results, &leatv1.AppendResult{Number: number, Outcome: &leatv1.AppendResult_Error{Error: wire.FromError(err)}})
				continue
			}
			r := leat.Receipt{
				Shard: leat.ShardID(drawText.Draw(t, "shard")), First: rapid.Uint64().Draw(t, "first"), Last: rapid.Uint64().Draw(t, "last"),
				Versions: rapid.SliceOfN(rapid.Uint64(), 0, 40).Draw(t, "versions"), At: drawMoment.Draw(t, "at"),
				Duplicate: rapid.Bool().Draw(t, "duplicate"),
			}
			written = wire.EncodeResult(written, number, &r, nil)
			want.Results = append(want.Results, &leatv1.AppendResult{Number: number, Outcome: &leatv1.AppendResult_Receipt{Receipt: wire.FromReceipt(r)}})
		}
		var read leatv1.AppendStreamResponse
		if err := proto.Unmarshal(written, &read); err != nil || !proto.Equal(&read, want) {
			t.Fatalf("wrote what protobuf reads as %v, %v, want %v", &read, err, want)
		}
		encoded, err := proto.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got, window, err := decodeResults(encoded)
		if err != nil || window != 1000 || len(got) != len(want.GetResults()) {
			t.Fatalf("read %d results, window %d, %v, want %d and 1000", len(got), window, err, len(want.GetResults()))
		}
		for i, w := range want.GetResults() {
			if again := messageOf(&got[i]); !proto.Equal(again, w) {
				t.Fatalf("result %d came as %v, want %v", i, again, w)
			}
		}
	})
}

// messageOf returns the message of a result.
func messageOf(r *wire.Result) *leatv1.AppendResult {
	m := &leatv1.AppendResult{Number: r.Number}
	switch {
	case r.Receipt != nil:
		m.Outcome = &leatv1.AppendResult_Receipt{Receipt: wire.FromReceipt(*r.Receipt)}
	case r.Err != nil:
		m.Outcome = &leatv1.AppendResult_Error{Error: r.Err}
	}
	return m
}

// FuzzResults reads any bytes as protobuf reads them, or not at all.
func FuzzResults(f *testing.F) {
	f.Add(wire.EncodeResult(wire.EncodeWindow(nil, 5), 300, &leat.Receipt{Shard: "s", First: 1, Last: 2, Versions: []uint64{1, 300}, At: time.Unix(1, 2)}, nil))
	f.Add(wire.EncodeResult(nil, 1, nil, leat.ErrFull))
	f.Add([]byte{0x0a, 0x06, 0x12, 0x04, 0x20, 0x01, 0x20, 0x02})
	f.Add([]byte("\n\x0c\x12\x04\x10\x01\x20\x05\x12\x04\x18\x02\x20\x06"))          // a receipt in two parts
	f.Add([]byte("\n\x0a\x1a\x03\x12\x01e\x1a\x03\x0a\x01\x06"))                     // an error in two parts
	f.Add([]byte("\n\x0f\x12\x02\x10\x01\x1a\x03\x12\x01e\x12\x04\x22\x02\x07\x08")) // the last outcome counts
	f.Add([]byte("\xe9\xe9\xe9\xe9000000000"))
	f.Fuzz(func(t *testing.T, message []byte) {
		var want leatv1.AppendStreamResponse
		wantErr := proto.Unmarshal(message, &want)
		got, window, err := decodeResults(message)
		if wantErr != nil {
			if err == nil && !strings.Contains(wantErr.Error(), "UTF-8") {
				t.Fatalf("read what protobuf does not: %v", wantErr)
			}
			return
		}
		if err != nil || window != want.GetWindow() || len(got) != len(want.GetResults()) {
			t.Fatalf("read %d results, window %d, %v, want %d and %d", len(got), window, err, len(want.GetResults()), want.GetWindow())
		}
		for i, w := range want.GetResults() {
			w.ProtoReflect().SetUnknown(nil)
			if w.GetReceipt() != nil {
				w.GetReceipt().ProtoReflect().SetUnknown(nil)
			}
			if again := messageOf(&got[i]); !proto.Equal(again, w) {
				t.Fatalf("result %d came as %v, want %v", i, again, w)
			}
		}
	})
}

package eventjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/eventjson"
	"pgregory.net/rapid"
)

// through sends an event through JSON and back.
func through(t interface {
	Fatalf(string, ...any)
	Helper()
}, e leat.Event) leat.Event {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(eventjson.FromRecorded(&leat.Recorded{Event: e})); err != nil {
		t.Fatalf("encode %+v: %v", e, err)
	}
	if n := bytes.Count(b.Bytes(), []byte("\n")); n != 1 {
		t.Fatalf("%+v takes %d lines", e, n)
	}
	out, err := eventjson.Parse(b.Bytes())
	if err != nil {
		t.Fatalf("parse %s: %v", b.Bytes(), err)
	}
	return out
}

// same reports whether events are equal; no data and empty data are the same.
func same(a, b leat.Event) bool {
	return a.ID == b.ID && a.Stream == b.Stream && a.Type == b.Type && a.Source == b.Source && a.Time.Equal(b.Time) &&
		a.ContentType == b.ContentType && bytes.Equal(a.Data, b.Data) &&
		(len(a.Meta) == 0 && len(b.Meta) == 0 || reflect.DeepEqual(a.Meta, b.Meta))
}

// Every event comes back from JSON as it was, byte for byte.
func TestRoundTrip(t *testing.T) {
	at := time.Date(2026, 1, 31, 12, 0, 0, 123456789, time.UTC)
	for _, data := range []string{
		"", "null", "0", `{"a":1}`, `{"a": 1}`, "{\n\"a\":1}", `{"a":1,"a":2}`, `1e400`, `"<&>"`, "\"\u2028\"", `"\u00e9"`,
		`"\ud800"`, "\"\xff\"", "\x00", "{", `{} {}`, "[1 ]", "\ufeff{}",
	} {
		for _, contentType := range []string{"application/json", "application/vnd.x+json; v=1", "text/plain", "application/json; charset=x;;"} {
			e := leat.Event{ID: "i", Stream: "s", Type: "t", Source: "x", Time: at, ContentType: contentType, Data: []byte(data)}
			if got := through(t, e); !same(got, e) {
				t.Errorf("%s %q came back as %q", contentType, data, got.Data)
			}
		}
	}
	name := rapid.StringN(1, 20, 256)
	rapid.Check(t, func(t *rapid.T) {
		e := leat.Event{
			ID: name.Draw(t, "id"), Stream: name.Draw(t, "stream"), Type: name.Draw(t, "type"), Source: name.Draw(t, "source"),
			Time:        time.Unix(0, rapid.Int64().Draw(t, "time")).UTC(),
			ContentType: rapid.SampledFrom([]string{"", "application/json", "image/png"}).Draw(t, "content type"),
			Data:        rapid.SliceOf(rapid.Byte()).Draw(t, "data"),
			Meta:        leat.NewMeta("a", name.Draw(t, "a"), "b", rapid.String().Draw(t, "b")),
		}
		if got := through(t, e); !same(got, e) {
			t.Fatalf("%+v came back as %+v", e, got)
		}
	})
}

// A recorded event keeps its place, version and time to the nanosecond.
func TestParseRecorded(t *testing.T) {
	at := time.Date(2026, 1, 31, 12, 0, 0, 123456789, time.UTC)
	want := leat.Recorded{
		Event: leat.Event{ID: "i", Stream: "s", Type: "t", Source: "x", Time: at, ContentType: "text/plain", Data: []byte("d"), Meta: leat.NewMeta("a", "b")},
		Shard: leat.ShardNumber(3), Seq: 9, Commit: 8, Version: 7, At: at.Add(1),
	}
	line, err := json.Marshal(eventjson.FromRecorded(&want))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := eventjson.ParseRecorded(line); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v: %s came back as %+v, want %+v", err, line, got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct{ line, want string }{
		"misspelt field": {`{"stream":"s","typ":"t"}`, "typ"},
		"two values":     {`{"stream":"s"} {}`, "more than one value"},
		"no JSON":        {`stream`, "malformed JSON"},
		"data twice":     {`{"data":1,"data_base64":"MQ=="}`, "data_base64"},
	} {
		if _, err := eventjson.Parse([]byte(c.line)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
	}
	var invalid *leat.InvalidError
	if _, err := eventjson.Parse([]byte(`{"data":1,"data_base64":"MQ=="}`)); !errors.As(err, &invalid) {
		t.Errorf("data twice: %v, want an InvalidError", err)
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/leathq/leat"
)

const timeLayout = time.RFC3339Nano

// eventJSON is an event on one line of JSON: what read --json prints and append
// --jsonl takes. Data is embedded as JSON where that keeps its exact bytes, and
// in base64 otherwise.
type eventJSON struct {
	ID          string            `json:"id,omitempty"`
	Stream      string            `json:"stream"`
	Type        string            `json:"type"`
	Source      string            `json:"source,omitempty"`
	Time        time.Time         `json:"time,omitzero"`
	ContentType string            `json:"contenttype,omitempty"`
	Data        json.RawMessage   `json:"data,omitempty"`
	DataBase64  []byte            `json:"data_base64,omitempty"`
	Meta        map[string]string `json:"meta,omitempty"`

	// Its place in the log: printed, and accepted without effect by append.
	Shard   leat.ShardID `json:"shard,omitempty"`
	Seq     uint64       `json:"seq,omitempty"`
	Commit  uint64       `json:"commit,omitempty"`
	Version uint64       `json:"version,omitempty"`
	At      time.Time    `json:"at,omitzero"`
}

func recordedJSON(r *leat.Recorded) eventJSON {
	e := eventJSON{
		ID: r.ID, Stream: r.Stream, Type: r.Type, Source: r.Source, Time: r.Time, ContentType: r.ContentType,
		Shard: r.Shard, Seq: r.Seq, Commit: r.Commit, Version: r.Version, At: r.At,
	}
	if isJSON(r.ContentType) && compact(r.Data) {
		e.Data = r.Data
	} else {
		e.DataBase64 = r.Data
	}
	for _, a := range r.Meta {
		if e.Meta == nil {
			e.Meta = make(map[string]string)
		}
		e.Meta[a.Key] = a.Value
	}
	return e
}

// event returns what append takes of e.
func (e *eventJSON) event() (leat.Event, error) {
	if len(e.Data) > 0 && len(e.DataBase64) > 0 {
		return leat.Event{}, &leat.InvalidError{Field: "data_base64", Limit: "absent when data is given"}
	}
	out := leat.Event{
		ID: e.ID, Stream: e.Stream, Type: e.Type, Source: e.Source, Time: e.Time, ContentType: e.ContentType,
		Data: e.Data, Meta: metaOf(e.Meta),
	}
	if out.Source == "" {
		out.Source = defaultSource
	}
	if len(e.DataBase64) > 0 {
		out.Data = e.DataBase64
	}
	return out, nil
}

func metaOf(pairs map[string]string) leat.Meta {
	meta := make(leat.Meta, 0, len(pairs))
	for k, v := range pairs {
		meta = append(meta, leat.Attr{Key: k, Value: v})
	}
	slices.SortFunc(meta, func(a, b leat.Attr) int { return strings.Compare(a.Key, b.Key) })
	return meta
}

// parseEvent reads one line of JSON. Fields it does not know are an error, so
// that a misspelt one is not lost.
func parseEvent(line []byte) (leat.Event, error) {
	var e eventJSON
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return leat.Event{}, fmt.Errorf("malformed JSON: %w", err)
	}
	if d.More() {
		return leat.Event{}, fmt.Errorf("malformed JSON: more than one value")
	}
	return e.event()
}

func isJSON(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && (t == "application/json" || strings.HasSuffix(t, "+json"))
}

// compact reports whether data is JSON that an encoder passes on unchanged.
func compact(data []byte) bool {
	var b bytes.Buffer
	return utf8.Valid(data) && json.Compact(&b, data) == nil && bytes.Equal(b.Bytes(), data)
}

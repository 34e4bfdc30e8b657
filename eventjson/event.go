package eventjson

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

// An Event is an event, and where it is recorded once it is.
type Event struct {
	ID          string            `json:"id,omitempty" doc:"The event's ID, unique within the stream. Recording it again does nothing. A UUID when left out."`
	Stream      string            `json:"stream" doc:"The history it belongs to, such as order-536365."`
	Type        string            `json:"type" doc:"What happened, such as OrderPlaced."`
	Source      string            `json:"source,omitempty" doc:"The service that recorded it."`
	Time        time.Time         `json:"time,omitzero" doc:"When it happened; the time of recording when left out."`
	ContentType string            `json:"contenttype,omitempty" doc:"Media type of the data; application/json when left out."`
	Data        json.RawMessage   `json:"data,omitempty" doc:"The data, when it is JSON. Its bytes are kept as they are."`
	DataBase64  []byte            `json:"data_base64,omitempty" doc:"The data, in base64. Either this or data."`
	Meta        map[string]string `json:"meta,omitempty" doc:"Further attributes, such as correlationid."`

	Shard   leat.ShardID `json:"shard,omitempty" doc:"Where it is recorded. Accepted without effect in an append."`
	Seq     uint64       `json:"seq,omitempty" doc:"Its place in the shard. Accepted without effect in an append."`
	Commit  uint64       `json:"commit,omitempty" doc:"The place of the first event of the same append. Accepted without effect in an append."`
	Version uint64       `json:"version,omitempty" doc:"Its place in the stream. Accepted without effect in an append."`
	At      time.Time    `json:"at,omitzero" doc:"When it was committed. Accepted without effect in an append."`
}

// FromRecorded returns the form of an event as it was read. It shares r's data.
func FromRecorded(r *leat.Recorded) Event {
	e := Event{
		ID: r.ID, Stream: r.Stream, Type: r.Type, Source: r.Source, Time: r.Time, ContentType: r.ContentType,
		Shard: r.Shard, Seq: r.Seq, Commit: r.Commit, Version: r.Version, At: r.At,
	}
	if IsJSON(r.ContentType) && passes(r.Data) {
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

// FromAll is FromRecorded for several events; never nil, so that none is [].
func FromAll(events []leat.Recorded) []Event {
	out := make([]Event, len(events))
	for i := range events {
		out[i] = FromRecorded(&events[i])
	}
	return out
}

// Event returns what an Append takes of e: everything but its place in the log.
// It is an [*leat.InvalidError] when e has data twice.
func (e *Event) Event() (leat.Event, error) {
	if len(e.Data) > 0 && len(e.DataBase64) > 0 {
		return leat.Event{}, &leat.InvalidError{Field: "data_base64", Limit: "absent when data is given"}
	}
	out := leat.Event{
		ID: e.ID, Stream: e.Stream, Type: e.Type, Source: e.Source, Time: e.Time, ContentType: e.ContentType,
		Data: e.Data, Meta: Meta(e.Meta),
	}
	if len(e.DataBase64) > 0 {
		out.Data = e.DataBase64
	}
	return out, nil
}

// Meta returns attributes in the order that leat.Meta needs.
func Meta(pairs map[string]string) leat.Meta {
	meta := make(leat.Meta, 0, len(pairs))
	for k, v := range pairs {
		meta = append(meta, leat.Attr{Key: k, Value: v})
	}
	slices.SortFunc(meta, func(a, b leat.Attr) int { return strings.Compare(a.Key, b.Key) })
	return meta
}

// Recorded returns e with its place in the log, as FromRecorded was given it.
func (e *Event) Recorded() (leat.Recorded, error) {
	event, err := e.Event()
	return leat.Recorded{Event: event, Shard: e.Shard, Seq: e.Seq, Commit: e.Commit, Version: e.Version, At: e.At}, err
}

// Parse reads one event. A field it does not know is an error, so that a
// misspelt one is not lost.
func Parse(line []byte) (leat.Event, error) {
	e, err := decode(line)
	if err != nil {
		return leat.Event{}, err
	}
	return e.Event()
}

// ParseRecorded is Parse for an event as it was read, with its place in the log.
func ParseRecorded(line []byte) (leat.Recorded, error) {
	e, err := decode(line)
	if err != nil {
		return leat.Recorded{}, err
	}
	return e.Recorded()
}

func decode(line []byte) (Event, error) {
	var e Event
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return Event{}, fmt.Errorf("malformed JSON: %w", err)
	}
	if d.More() {
		return Event{}, fmt.Errorf("malformed JSON: more than one value")
	}
	return e, nil
}

// IsJSON reports whether a media type is one of JSON.
func IsJSON(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && (t == "application/json" || strings.HasSuffix(t, "+json"))
}

// passes reports whether data is JSON that an encoder passes on unchanged.
func passes(data []byte) bool {
	var b bytes.Buffer
	return utf8.Valid(data) && json.Compact(&b, data) == nil && bytes.Equal(b.Bytes(), data)
}

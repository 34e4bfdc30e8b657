package leat

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// DefaultContentType is what Append takes for an empty Event.ContentType.
const DefaultContentType = "application/json"

// SystemStream is the stream in which a log records what was done to the log
// itself, such as trimming. Its category is "$log".
const SystemStream = "$log"

// An Event is what a producer submits: an immutable record of one change. It
// maps one to one onto a CloudEvents 1.0 event (id, source, type, subject =
// Stream, time, datacontenttype, data, extensions = Meta).
type Event struct {
	// ID is the idempotency key, unique within the stream: 1 to 256 bytes of
	// UTF-8. Log.Append writes a UUIDv7 into the caller's slice when it is
	// empty, so that a retry with the same slice is recognised.
	ID string

	// Stream is the history the event belongs to, such as "order-536365": 1 to
	// 256 bytes of UTF-8. Names that start with "$" are the system's.
	Stream string

	// Type says what happened, such as "OrderPlaced": 1 to 256 bytes of UTF-8.
	// A service declares it; it is never taken from the name of a Go type.
	Type string

	// Source is the service that recorded the event: 1 to 256 bytes of UTF-8.
	Source string

	// Time is when it happened. Append takes the time of recording when it is
	// zero. It is kept to the nanosecond, in UTC, from 1678 to 2262.
	Time time.Time

	// ContentType is the media type of Data: at most 256 bytes of UTF-8. Append
	// takes DefaultContentType when it is empty, so it never is in a Recorded.
	ContentType string

	// Data is kept byte for byte: never parsed, never re-encoded.
	Data []byte

	// Meta holds further attributes: correlation and causation IDs, trace
	// context and other CloudEvents extensions.
	Meta Meta
}

// Size returns the bytes of e that count against Limits: those of all its
// strings, of Data, and of the keys and values in Meta.
func (e *Event) Size() int {
	n := len(e.ID) + len(e.Stream) + len(e.Type) + len(e.Source) + len(e.ContentType) + len(e.Data)
	for _, a := range e.Meta {
		n += len(a.Key) + len(a.Value)
	}
	return n
}

// Recorded is what a reader gets: an Event and its place in the log.
type Recorded struct {
	Event

	Shard   ShardID
	Seq     uint64    // place in the shard, from 1
	Commit  uint64    // sequence of the first event of the same Append
	Version uint64    // place in the stream, from 1
	At      time.Time // when the log committed it: UTC, strictly increasing within a shard
}

// OriginMeta returns the Meta of an event of a log, named by its Info.ID, with
// where it was recorded first: what Meta says of that, else the event's place in
// the log. It is what a copy has that leaves the log, whichever way it goes.
func (r *Recorded) OriginMeta(log string) Meta {
	if r.Meta.Get(MetaOriginLog) != "" {
		return r.Meta
	}
	return r.Meta.With(MetaOriginLog, log).
		With(MetaOriginShard, string(r.Shard)).
		With(MetaOriginSeq, strconv.FormatUint(r.Seq, 10))
}

// Keys of Meta that Leat itself writes and reads.
const (
	MetaCorrelation = "correlationid" // what began the chain of events this one belongs to
	MetaCausation   = "causationid"   // ID of the event that caused this one
	MetaTraceParent = "traceparent"   // W3C Trace Context

	// Where an event was recorded first, on those that a Forwarder copied from
	// another log: Info.ID, ShardID and Seq in that log.
	MetaOriginLog   = "originlog"
	MetaOriginShard = "originshard"
	MetaOriginSeq   = "originseq"
)

// Meta is a list of attributes, sorted by key, each key once. A key has 1 to 20
// lower-case letters and digits and is not the name of a CloudEvents core
// attribute; a value is any UTF-8. There are at most 64.
type Meta []Attr

// Attr is one attribute of Meta.
type Attr struct{ Key, Value string }

// NewMeta returns the Meta of the given pairs: key, value, key, value … It
// panics when a value is missing. A key given twice takes its last value.
func NewMeta(pairs ...string) Meta {
	if len(pairs)%2 != 0 {
		panic("leat: NewMeta needs a value for every key")
	}
	var m Meta
	for i := 0; i < len(pairs); i += 2 {
		m = m.With(pairs[i], pairs[i+1])
	}
	return m
}

// Get returns the value of key, empty when there is none.
func (m Meta) Get(key string) string {
	if i, ok := m.find(key); ok {
		return m[i].Value
	}
	return ""
}

// With returns a copy of m in which key has value.
func (m Meta) With(key, value string) Meta {
	i, ok := m.find(key)
	if ok {
		m = slices.Clone(m)
		m[i].Value = value
		return m
	}
	return slices.Insert(slices.Clone(m), i, Attr{key, value})
}

func (m Meta) find(key string) (int, bool) {
	return slices.BinarySearchFunc(m, key, func(a Attr, key string) int { return strings.Compare(a.Key, key) })
}

// Category returns the category of a stream: what stands before the first "-"
// of its name, or the whole name when there is none.
func Category(stream string) string {
	category, _, _ := strings.Cut(stream, "-")
	return category
}

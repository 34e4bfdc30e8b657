package leat

import (
	"fmt"
	"math"
	"time"
	"unicode/utf8"
)

// Limits bound an Append.
type Limits struct {
	EventBytes   int // Event.Size of one event
	AppendEvents int // events of one Append; also its conditions
	AppendBytes  int // Event.Size over all events of one Append
}

// MinLimits is what every log takes at least.
var MinLimits = Limits{EventBytes: 256 << 10, AppendEvents: 500, AppendBytes: 1 << 20}

// Bounds that are the same for every log.
const (
	MaxNameBytes    = 256 // of an ID, stream, type, source or content type
	MaxMeta         = 64  // attributes of an event
	MaxMetaKeyBytes = 20
)

// LimitsOf returns the limits of a log.
func LimitsOf(log Log) Limits {
	if l, ok := log.(Limiter); ok {
		return l.Limits()
	}
	return MinLimits
}

// Fit returns how many of the first events one Append may have: at least one,
// unless there are none. Whether an event by itself is too large is for Append to
// tell.
func (l Limits) Fit(events []Event) int {
	bytes := 0
	for n := range min(len(events), l.AppendEvents) {
		if bytes += events[n].Size(); n > 0 && bytes > l.AppendBytes {
			return n
		}
	}
	return min(len(events), l.AppendEvents)
}

// PrepareAppend does what Log.Append does first, for those who implement a Log:
// it writes IDs into events that have none, checks all bounds, and that all
// streams have one route key unless the log is single. It returns the hash key
// of the streams.
func PrepareAppend(events []Event, conds []Condition, limits Limits, single bool) (HashKey, error) {
	for i := range events {
		if events[i].ID == "" {
			events[i].ID = NewID()
		}
	}
	if len(events) == 0 || len(events) > limits.AppendEvents {
		return HashKey{}, &InvalidError{
			Field: "events", Limit: fmt.Sprintf("1 to %d", limits.AppendEvents), Got: fmt.Sprint(len(events)),
		}
	}
	total := 0
	for i := range events {
		e := &events[i]
		if len(e.Stream) > 0 && e.Stream[0] == '$' {
			return HashKey{}, eventError(i, "stream", `a name that does not start with "$" (those are the system's)`, brief(e.Stream))
		}
		if err := checkEvent(i, e, limits); err != nil {
			return HashKey{}, err
		}
		total += e.Size()
	}
	if total > limits.AppendBytes {
		return HashKey{}, &InvalidError{
			Field: "events", Limit: fmt.Sprintf("at most %d bytes together", limits.AppendBytes), Got: fmt.Sprintf("%d bytes", total),
		}
	}
	if len(conds) > limits.AppendEvents {
		return HashKey{}, &InvalidError{
			Field: "conditions", Limit: fmt.Sprintf("at most %d", limits.AppendEvents), Got: fmt.Sprint(len(conds)),
		}
	}
	for i, c := range conds {
		if limit, got := checkName(c.Stream); limit != "" {
			return HashKey{}, &InvalidError{Field: fmt.Sprintf("conditions[%d].stream", i), Limit: limit, Got: got}
		}
	}
	return routeOf(events, conds, single)
}

func routeOf(events []Event, conds []Condition, single bool) (HashKey, error) {
	if single {
		return HashKey{}, nil
	}
	first := events[0].Stream
	key := RouteKey(first)
	for i := range events {
		if RouteKey(events[i].Stream) != key {
			return HashKey{}, fmt.Errorf("%w: %q and %q", ErrCrossKey, first, events[i].Stream)
		}
	}
	for _, c := range conds {
		if RouteKey(c.Stream) != key {
			return HashKey{}, fmt.Errorf("%w: %q and %q (in a condition)", ErrCrossKey, first, c.Stream)
		}
	}
	return RouteHash(first), nil
}

func checkEvent(i int, e *Event, limits Limits) error {
	for _, f := range [...]struct{ name, value string }{
		{"id", e.ID}, {"stream", e.Stream}, {"type", e.Type}, {"source", e.Source},
	} {
		if limit, got := checkName(f.value); limit != "" {
			return eventError(i, f.name, limit, got)
		}
	}
	if e.ContentType != "" {
		if limit, got := checkName(e.ContentType); limit != "" {
			return eventError(i, "contenttype", limit, got)
		}
	}
	if !e.Time.IsZero() && !nanoseconds(e.Time) {
		return eventError(i, "time", "between the years 1678 and 2262", e.Time.UTC().Format(time.RFC3339))
	}
	if err := checkMeta(i, e.Meta); err != nil {
		return err
	}
	if n := e.Size(); n > limits.EventBytes {
		return eventError(i, "size", fmt.Sprintf("at most %d bytes", limits.EventBytes), fmt.Sprintf("%d bytes", n))
	}
	return nil
}

func checkMeta(i int, m Meta) error {
	if len(m) > MaxMeta {
		return eventError(i, "meta", fmt.Sprintf("at most %d attributes", MaxMeta), fmt.Sprint(len(m)))
	}
	for j, a := range m {
		switch {
		case !metaKey(a.Key):
			return eventError(i, "meta", fmt.Sprintf("keys of 1 to %d characters a-z or 0-9", MaxMetaKeyBytes), brief(a.Key))
		case coreAttribute(a.Key):
			return eventError(i, "meta", "keys that are no CloudEvents core attribute", a.Key)
		case j > 0 && m[j-1].Key >= a.Key:
			return eventError(i, "meta", "sorted by key, each key once", fmt.Sprintf("%q before %q", m[j-1].Key, a.Key))
		case !utf8.ValidString(a.Value):
			return eventError(i, "meta."+a.Key, "UTF-8", "")
		}
	}
	return nil
}

func metaKey(key string) bool {
	for i := range len(key) {
		if c := key[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return key != "" && len(key) <= MaxMetaKeyBytes
}

func coreAttribute(key string) bool {
	switch key {
	case "id", "source", "specversion", "type", "subject", "time", "datacontenttype", "dataschema", "data":
		return true
	}
	return false
}

// nanoseconds reports whether t can be kept as nanoseconds since 1970.
func nanoseconds(t time.Time) bool { return time.Unix(0, t.UnixNano()).Equal(t) }

// checkName returns the limit that a name exceeds, empty when it is good.
func checkName(name string) (limit, got string) {
	const want = "1 to 256 bytes of UTF-8"
	switch {
	case name == "":
		return want, "nothing"
	case len(name) > MaxNameBytes:
		return want, fmt.Sprintf("%d bytes", len(name))
	case !utf8.ValidString(name):
		return want, brief(name)
	}
	return "", ""
}

func eventError(i int, field, limit, got string) error {
	return &InvalidError{Field: fmt.Sprintf("events[%d].%s", i, field), Limit: limit, Got: got}
}

// brief quotes s, cut to what a person wants to read in a message.
func brief(s string) string {
	const most = 40
	if len(s) > most {
		return fmt.Sprintf("%q… (%d bytes)", s[:most], len(s))
	}
	return fmt.Sprintf("%q", s)
}

// CheckImport does what Importer.Import does first, for those who implement
// one: it checks the bounds of events and that they are whole Appends, dense in
// sequence, with increasing At, all for shard. Whether they continue what the
// log holds is left to the log.
func CheckImport(shard ShardID, events []Recorded) error {
	unlimited := Limits{EventBytes: math.MaxInt}
	for i := range events {
		e := &events[i]
		if err := checkEvent(i, &e.Event, unlimited); err != nil {
			return err
		}
		commit := e.Seq
		if i > 0 && e.Commit != e.Seq {
			commit = events[i-1].Commit
		}
		switch {
		case e.Shard != shard:
			return eventError(i, "shard", "the shard imported into", brief(string(e.Shard)))
		case e.Seq > math.MaxInt64 || e.Version > math.MaxInt64:
			return eventError(i, "seq or version", fmt.Sprintf("at most %d", math.MaxInt64), fmt.Sprintf("%d, %d", e.Seq, e.Version))
		case e.Seq == 0 || i > 0 && e.Seq != events[i-1].Seq+1:
			return eventError(i, "seq", "the one after the last, from 1", fmt.Sprint(e.Seq))
		case e.Commit != commit:
			return eventError(i, "commit", "the first sequence of the event's own append", fmt.Sprint(e.Commit))
		case e.Version == 0:
			return eventError(i, "version", "1 or more", "0")
		case e.Time.IsZero():
			return eventError(i, "time", "set", "nothing")
		case e.ContentType == "":
			return eventError(i, "contenttype", "set", "nothing")
		case !nanoseconds(e.At) || e.At.UTC().Year() > 2261: // those to come need a later one
			return eventError(i, "at", "between the years 1678 and 2261", e.At.UTC().Format(time.RFC3339))
		case i > 0 && !e.At.After(events[i-1].At):
			return eventError(i, "at", "later than that of the event before", e.At.Format(time.RFC3339Nano))
		}
	}
	return nil
}

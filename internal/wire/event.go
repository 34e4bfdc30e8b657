package wire

import (
	"time"

	"github.com/leathq/leat"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
)

// FromEvents returns the messages of events.
func FromEvents(events []leat.Event) []*leatv1.Event {
	out := make([]*leatv1.Event, len(events))
	for i := range events {
		m := new(eventMessage)
		m.fill(&events[i])
		out[i] = &m.event
	}
	return out
}

// The parts of a message that every event has, allocated at once.
type (
	eventMessage struct {
		event leatv1.Event
		time  int64
	}
	recordedMessage struct {
		eventMessage
		recorded leatv1.Recorded
	}
)

func (em *eventMessage) fill(e *leat.Event) {
	m := &em.event
	m.Id, m.Stream, m.Type, m.Source, m.ContentType, m.Data = e.ID, e.Stream, e.Type, e.Source, e.ContentType, e.Data
	if !e.Time.IsZero() {
		em.time = e.Time.UnixNano()
		m.Time = &em.time
	}
	if len(e.Meta) > 0 {
		attrs := make([]leatv1.Attr, len(e.Meta))
		m.Meta = make([]*leatv1.Attr, len(e.Meta))
		for i, a := range e.Meta {
			attrs[i].Key, attrs[i].Value = a.Key, a.Value
			m.Meta[i] = &attrs[i]
		}
	}
}

// Events returns the events of messages. It shares their memory.
func Events(in []*leatv1.Event) []leat.Event {
	out := make([]leat.Event, len(in))
	for i, m := range in {
		out[i] = event(m)
	}
	return out
}

func event(m *leatv1.Event) leat.Event {
	e := leat.Event{
		ID: m.GetId(), Stream: m.GetStream(), Type: m.GetType(), Source: m.GetSource(),
		ContentType: m.GetContentType(), Data: m.GetData(),
	}
	if m != nil && m.Time != nil {
		e.Time = moment(*m.Time)
	}
	if attrs := m.GetMeta(); len(attrs) > 0 {
		e.Meta = make(leat.Meta, len(attrs))
		for i, a := range attrs {
			e.Meta[i] = leat.Attr{Key: a.GetKey(), Value: a.GetValue()}
		}
	}
	return e
}

// FromRecorded returns the message of r, without its shard if that is known
// from around it.
func FromRecorded(r *leat.Recorded, around leat.ShardID) *leatv1.Recorded {
	rm := new(recordedMessage)
	rm.fill(&r.Event)
	m := &rm.recorded
	m.Event, m.Seq, m.Commit, m.Version, m.At = &rm.event, r.Seq, r.Commit, r.Version, r.At.UnixNano()
	if r.Shard != around {
		m.Shard = string(r.Shard)
	}
	return m
}

// Recorded returns the event of a message that need not name its shard.
func Recorded(m *leatv1.Recorded, around leat.ShardID) leat.Recorded {
	r := leat.Recorded{
		Event: event(m.GetEvent()), Shard: around,
		Seq: m.GetSeq(), Commit: m.GetCommit(), Version: m.GetVersion(), At: moment(m.GetAt()),
	}
	if m.GetShard() != "" {
		r.Shard = leat.ShardID(m.GetShard())
	}
	return r
}

// FromConditions returns the messages of conditions.
func FromConditions(conds []leat.Condition) []*leatv1.Condition {
	out := make([]*leatv1.Condition, len(conds))
	for i, c := range conds {
		out[i] = &leatv1.Condition{Stream: c.Stream, Version: c.Version, Exists: c.Exists}
	}
	return out
}

// Conditions returns the conditions of messages.
func Conditions(in []*leatv1.Condition) []leat.Condition {
	out := make([]leat.Condition, len(in))
	for i, m := range in {
		out[i] = leat.Condition{Stream: m.GetStream(), Version: m.GetVersion(), Exists: m.GetExists()}
	}
	return out
}

// FromReceipt returns the message of r.
func FromReceipt(r leat.Receipt) *leatv1.Receipt {
	return &leatv1.Receipt{
		Shard: string(r.Shard), First: r.First, Last: r.Last, Versions: r.Versions,
		At: r.At.UnixNano(), Duplicate: r.Duplicate,
	}
}

func moment(ns int64) time.Time { return time.Unix(0, ns).UTC() }

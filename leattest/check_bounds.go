package leattest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leathq/leat"
)

var bounds = []check{
	{name: "what is out of bounds is named", prove: func(t *lab) {
		long := strings.Repeat("n", leat.MaxNameBytes+1)
		for _, c := range []struct {
			field  string
			limit  string
			change func(*leat.Event)
		}{
			{"id", "256", func(e *leat.Event) { e.ID = long }},
			{"id", "UTF-8", func(e *leat.Event) { e.ID = "\xff" }},
			{"stream", "256", func(e *leat.Event) { e.Stream = "" }},
			{"stream", "256", func(e *leat.Event) { e.Stream = long }},
			{"stream", "UTF-8", func(e *leat.Event) { e.Stream = "a\xc3" }},
			{"stream", "$", func(e *leat.Event) { e.Stream = leat.SystemStream }},
			{"stream", "$", func(e *leat.Event) { e.Stream = "$" }},
			{"type", "256", func(e *leat.Event) { e.Type = "" }},
			{"type", "256", func(e *leat.Event) { e.Type = long }},
			{"type", "UTF-8", func(e *leat.Event) { e.Type = "\xff" }},
			{"source", "256", func(e *leat.Event) { e.Source = "" }},
			{"source", "256", func(e *leat.Event) { e.Source = long }},
			{"source", "UTF-8", func(e *leat.Event) { e.Source = "\xff" }},
			{"contenttype", "256", func(e *leat.Event) { e.ContentType = long }},
			{"contenttype", "UTF-8", func(e *leat.Event) { e.ContentType = "\xff" }},
			{"time", "1678", func(e *leat.Event) { e.Time = time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC) }},
			{"time", "2262", func(e *leat.Event) { e.Time = time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC) }},
			{"meta", "64", func(e *leat.Event) { e.Meta = metaOf(leat.MaxMeta + 1) }},
			{"meta", "20", func(e *leat.Event) { e.Meta = leat.Meta{{Key: strings.Repeat("k", leat.MaxMetaKeyBytes+1)}} }},
			{"meta", "a-z", func(e *leat.Event) { e.Meta = leat.Meta{{}} }},
			{"meta", "a-z", func(e *leat.Event) { e.Meta = leat.Meta{{Key: "Upper"}} }},
			{"meta", "a-z", func(e *leat.Event) { e.Meta = leat.Meta{{Key: "a-b"}} }},
			{"meta", "core", func(e *leat.Event) { e.Meta = leat.Meta{{Key: "subject"}} }},
			{"meta", "core", func(e *leat.Event) { e.Meta = leat.Meta{{Key: "data"}} }},
			{"meta", "sorted", func(e *leat.Event) { e.Meta = leat.Meta{{Key: "b"}, {Key: "a"}} }},
			{"meta", "once", func(e *leat.Event) { e.Meta = leat.Meta{{Key: "a"}, {Key: "a"}} }},
			{"meta.k", "UTF-8", func(e *leat.Event) { e.Meta = leat.Meta{{Key: "k", Value: "\xff"}} }},
		} {
			events := t.events("a-1", "a-1", "a-1")
			c.change(&events[2])
			err := t.refusal(leat.ErrInvalid, events)
			invalid := as[*leat.InvalidError](t, err, "append")
			equal(t, "Field", invalid.Field, "events[2]."+c.field)
			if !strings.Contains(invalid.Limit, c.limit) {
				t.Fatalf("%s: Limit is %q, which does not say %q", invalid.Field, invalid.Limit, c.limit)
			}
		}
		equal(t, "events", len(t.stream("a-1")), 0)
	}},
	{name: "a condition's stream is bounded", prove: func(t *lab) {
		for _, name := range []string{"", "\xff", strings.Repeat("n", leat.MaxNameBytes+1)} {
			err := t.refusal(leat.ErrInvalid, t.events("a-1"), leat.ExpectNew("a-1"), leat.ExpectNew(name))
			equal(t, "Field", as[*leat.InvalidError](t, err, "append").Field, "conditions[1].stream")
		}
	}},
	{name: "an append has at least one event", prove: func(t *lab) {
		equal(t, "Field", as[*leat.InvalidError](t, t.refusal(leat.ErrInvalid, nil), "append").Field, "events")
		t.refused(leat.ErrInvalid, []leat.Event{}, leat.ExpectNew("a-1"))
	}},
	{name: "a log takes at least the least limits", prove: func(t *lab) {
		got, least := leat.LimitsOf(t.log), leat.MinLimits
		if got.EventBytes < least.EventBytes || got.AppendEvents < least.AppendEvents || got.AppendBytes < least.AppendBytes {
			t.Fatalf("the limits %+v are below %+v", got, least)
		}
	}},
	{name: "an event may be as large as the limit", prove: func(t *lab) {
		limit := leat.LimitsOf(t.log).EventBytes
		e := t.event("a-1")
		e.Meta = metaOf(leat.MaxMeta)
		e.Data = make([]byte, limit-e.Size()+len(e.Data))
		equal(t, "Size", e.Size(), limit)
		t.append([]leat.Event{e})
		equal(t, "Data read", len(t.stream("a-1")[0].Data), len(e.Data))

		e.ID, e.Data = "larger", append(e.Data, 0)
		e.Data = e.Data[:limit+1-(e.Size()-len(e.Data))]
		err := t.refusal(leat.ErrInvalid, []leat.Event{t.event("a-1"), e})
		invalid := as[*leat.InvalidError](t, err, "append")
		equal(t, "Field", invalid.Field, "events[1].size")
		t.names(invalid, limit)
	}},
	{name: "an append may have as many events as the limit", prove: func(t *lab) {
		limit := leat.LimitsOf(t.log).AppendEvents
		r := t.append(t.events(repeat("a-1", limit)...))
		equal(t, "events", r.Last-r.First+1, uint64(limit))
		b := t.readShard(r.Shard, 0, leat.ReadOptions{Limit: 1})
		equal(t, "Next of a batch with limit 1", b.Next, r.Last)

		invalid := as[*leat.InvalidError](t, t.refusal(leat.ErrInvalid, t.events(repeat("a-1", limit+1)...)), "append")
		equal(t, "Field", invalid.Field, "events")
		t.names(invalid, limit)

		conds := slices.Repeat([]leat.Condition{leat.ExpectNew("a-2")}, limit+1)
		_, err := t.log.Append(t.ctx, t.events("a-2"), conds...)
		t.is(err, leat.ErrInvalid, "append with too many conditions")
		equal(t, "Field", as[*leat.InvalidError](t, err, "append").Field, "conditions")
	}},
	{name: "an append may be as large as the limit", prove: func(t *lab) {
		limits := leat.LimitsOf(t.log)
		var events []leat.Event
		for left := limits.AppendBytes; left > 0; {
			e := t.event("a-1")
			size := min(left, limits.EventBytes)
			if rest := left - size; rest > 0 && rest < 1000 {
				size -= 1000 // what remains has to hold an event
			}
			e.Data = make([]byte, size-e.Size()+len(e.Data))
			events, left = append(events, e), left-e.Size()
		}
		invalid := as[*leat.InvalidError](t, t.refusal(leat.ErrInvalid, append(t.events("a-1"), events...)), "append")
		equal(t, "Field", invalid.Field, "events")
		t.names(invalid, limits.AppendBytes)

		r := t.append(events)
		equal(t, "events", r.Last-r.First+1, uint64(len(events)))
	}},
}

// names fails the test unless the error tells the number that is the limit.
func (t *lab) names(err *leat.InvalidError, limit int) {
	t.Helper()
	if !strings.Contains(err.Limit, fmt.Sprint(limit)) {
		t.Fatalf("the limit of %s reads %q, which does not say %d", err.Field, err.Limit, limit)
	}
}

// metaOf returns n attributes of the longest keys.
func metaOf(n int) (m leat.Meta) {
	for i := range n {
		m = append(m, leat.Attr{Key: fmt.Sprintf("%0*d", leat.MaxMetaKeyBytes, i), Value: strings.Repeat("v", 100)})
	}
	return m
}

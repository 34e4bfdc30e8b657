package leattest

import (
	"errors"
	"sync"
	"time"

	"github.com/leathq/leat"
)

var idempotent = []check{
	{name: "known events get the first receipt", prove: func(t *lab) {
		events := t.events("{k}a", "{k}b", "{k}a")
		first := t.append(events)
		t.appendTo("{k}a")
		for range 2 {
			t.clock.move(time.Second)
			heads := t.heads()
			sameReceipt(t, "append again", t.append(events), duplicateOf(first))
			same(t, "heads", t.heads(), heads)
		}
	}},
	{name: "IDs are looked up before conditions", prove: func(t *lab) {
		events := t.events("a-1")
		first := t.append(events, leat.ExpectNew("a-1"))
		sameReceipt(t, "append again", t.append(events, leat.ExpectNew("a-1")), duplicateOf(first))
		sameReceipt(t, "append again", t.append(events, leat.ExpectVersion("a-1", 99)), duplicateOf(first))
		more := append(t.events("a-1"), events...)
		t.refused(leat.ErrPartial, more, leat.ExpectNew("a-1"))
		events[0].Data = []byte("other")
		t.refused(leat.ErrIDReused, events, leat.ExpectNew("a-1"))
	}},
	{name: "bounds and route come before IDs", prove: func(t *lab) {
		events := t.events("{k}a")
		t.append(events)
		t.refused(leat.ErrCrossKey, events, leat.ExpectNew("other"))
		events[0].Type = ""
		t.refused(leat.ErrInvalid, events)
	}},
	{name: "other content under a known ID is refused", prove: func(t *lab) {
		at := time.Date(2025, 5, 5, 5, 5, 5, 5, time.UTC)
		event := t.event("a-1")
		event.Time, event.Meta = at, leat.NewMeta("k", "v")
		t.append([]leat.Event{event})
		for name, change := range map[string]func(*leat.Event){
			"type":         func(e *leat.Event) { e.Type = "Other" },
			"source":       func(e *leat.Event) { e.Source = "other" },
			"content type": func(e *leat.Event) { e.ContentType = "text/plain" },
			"data":         func(e *leat.Event) { e.Data = append([]byte{0}, e.Data...) },
			"no data":      func(e *leat.Event) { e.Data = nil },
			"meta value":   func(e *leat.Event) { e.Meta = leat.NewMeta("k", "w") },
			"meta key":     func(e *leat.Event) { e.Meta = leat.NewMeta("l", "v") },
			"no meta":      func(e *leat.Event) { e.Meta = nil },
			"time":         func(e *leat.Event) { e.Time = at.Add(1) },
		} {
			other := event
			change(&other)
			_, err := t.log.Append(t.ctx, append(t.events("a-1"), other))
			reused := as[*leat.IDReusedError](t, err, "append with other "+name)
			equal(t, "Index", reused.Index, 1)
			equal(t, "Stream", reused.Stream, "a-1")
			equal(t, "ID", reused.ID, event.ID)
		}
		equal(t, "events", len(t.stream("a-1")), 1)
	}},
	{name: "the same content may be written differently", prove: func(t *lab) {
		event := t.event("a-1")
		event.Data, event.Time = nil, time.Date(2025, 5, 5, 5, 5, 5, 5, time.UTC)
		first := t.append([]leat.Event{event})
		event.Data, event.Meta, event.ContentType = []byte{}, leat.Meta{}, leat.DefaultContentType
		event.Time = event.Time.In(time.FixedZone("", 3600))
		sameReceipt(t, "append again", t.append([]leat.Event{event}), duplicateOf(first))
	}},
	{name: "a zero time matches any", prove: func(t *lab) {
		events := t.events("a-1", "a-1")
		events[0].Time = time.Date(2025, 5, 5, 5, 5, 5, 5, time.UTC)
		first := t.append(events)
		t.clock.move(time.Hour)
		events[0].Time = time.Time{}
		sameReceipt(t, "append again without a time", t.append(events), duplicateOf(first))
		for i, e := range t.stream("a-1") {
			events[i].Time = e.Time
		}
		sameReceipt(t, "append again with the recorded times", t.append(events), duplicateOf(first))
		events[1].Time = events[1].Time.Add(time.Nanosecond)
		t.refused(leat.ErrIDReused, events)
	}},
	{name: "another order is refused", prove: func(t *lab) {
		events := t.events("{k}a", "{k}b", "{k}a")
		t.append(events)
		err := t.refusal(leat.ErrIDReused, []leat.Event{events[1], events[0], events[2]})
		equal(t, "Index", as[*leat.IDReusedError](t, err, "append").Index, 1)
		err = t.refusal(leat.ErrIDReused, []leat.Event{events[1], t.event("{k}c"), events[0]})
		equal(t, "Index", as[*leat.IDReusedError](t, err, "append").Index, 2)
	}},
	{name: "an ID twice in one append is refused", prove: func(t *lab) {
		events := t.events("{k}a", "{k}a", "{k}a")
		events[2] = events[0]
		err := t.refusal(leat.ErrIDReused, events)
		equal(t, "Index", as[*leat.IDReusedError](t, err, "append").Index, 2)
		t.append(events[:1])
		err = t.refusal(leat.ErrIDReused, events)
		equal(t, "Index", as[*leat.IDReusedError](t, err, "append").Index, 2)
	}},
	{name: "an ID is its stream's", prove: func(t *lab) {
		events := t.events("{k}a", "{k}b")
		events[1].ID = events[0].ID
		equal(t, "Duplicate", t.append(events).Duplicate, false)
		events[0].Stream, events[0].Data = "{k}c", []byte("other")
		equal(t, "Duplicate", t.append(events[:1]).Duplicate, false)
	}},
	{name: "some known events are told", prove: func(t *lab) {
		old := t.events("{k}a", "{k}b")
		t.append(old)
		fresh := t.events("{k}a", "{k}c", "{k}b")
		err := t.refusal(leat.ErrPartial, []leat.Event{fresh[0], old[0], fresh[1], old[1], fresh[2]})
		partial := as[*leat.PartialError](t, err, "append")
		equal(t, "Total", partial.Total, 5)
		if len(partial.Known) != 2 || partial.Known[0] != 1 || partial.Known[1] != 3 {
			t.Fatalf("Known is %v, want [1 3]", partial.Known)
		}
		same(t, "Versions of the rest", t.append(fresh).Versions, []uint64{2, 1, 2})
	}},
	{name: "a part of an append, or more than one, is a duplicate too", prove: func(t *lab) {
		events := t.events(repeat("a-1", 5)...)
		t.append(events[:3])
		t.clock.move(time.Second)
		second := t.append(events[3:])
		part := t.append(events[1:3])
		sameReceipt(t, "a part", part, leat.Receipt{
			Shard: second.Shard, First: 2, Last: 3, Versions: []uint64{2, 3}, At: t.stream("a-1")[2].At, Duplicate: true,
		})
		sameReceipt(t, "both", t.append(events), leat.Receipt{
			Shard: second.Shard, First: 1, Last: 5, Versions: span(1, 5), At: second.At, Duplicate: true,
		})
		gaps := t.append([]leat.Event{events[0], events[4]})
		equal(t, "First", gaps.First, 1)
		same(t, "Versions", gaps.Versions, []uint64{1, 5})
	}},
	{name: "IDs outlive a split", prove: func(t *lab) {
		events := t.events("a-1", "a-1")
		first := t.append(events)
		t.split(first.Shard)
		sameReceipt(t, "append again", t.append(events), duplicateOf(first))
		more := t.events("a-1", "a-1")
		second := t.append(more)
		r := t.append(append(events[:2:2], more...))
		sameReceipt(t, "both", r, leat.Receipt{
			Shard: second.Shard, First: second.First, Last: second.Last, Versions: span(1, 4), At: second.At, Duplicate: true,
		})
		t.refused(leat.ErrPartial, append(t.events("a-1"), events...))
		t.refused(leat.ErrIDReused, []leat.Event{more[0], events[0]})
	}},
	{name: "IDs outlive trimming", prove: func(t *lab) {
		events := t.events("{k}a", "{k}b", "{k}a")
		events[2].Time = time.Date(2025, 5, 5, 5, 5, 5, 5, time.UTC)
		first := t.append(events)
		t.trim(first.Shard, first.Last+1)
		for range 2 {
			sameReceipt(t, "append again", t.append(events), duplicateOf(first))
			t.refused(leat.ErrPartial, append(t.events("{k}a"), events[1:]...))
			t.refused(leat.ErrIDReused, []leat.Event{events[1], events[0]})
			other := events[1]
			other.Type = "Other"
			t.refused(leat.ErrIDReused, []leat.Event{other})
			other = events[2]
			other.Time = other.Time.Add(1)
			t.refused(leat.ErrIDReused, []leat.Event{other})
			t.reopen()
		}
	}},
	{name: "an empty ID is written into the slice", prove: func(t *lab) {
		events := t.events("a-1", "a-1", "a-1")
		events[0].ID, events[2].ID = "", ""
		kept := events[1].ID
		first := t.append(events)
		for _, i := range []int{0, 2} {
			if id := events[i].ID; len(id) != 36 || id[14] != '7' {
				t.Fatalf("the ID written is %q, want a UUIDv7", id)
			}
		}
		equal(t, "the ID that was set", events[1].ID, kept)
		equal(t, "the rest of the slice is as it was: time", events[0].Time, time.Time{})
		equal(t, "the rest of the slice is as it was: content type", events[0].ContentType, "")
		for i, e := range t.stream("a-1") {
			equal(t, "the ID recorded", e.ID, events[i].ID)
		}
		sameReceipt(t, "append again", t.append(events), duplicateOf(first))
	}},
	{name: "an empty ID is written also when the append fails", prove: func(t *lab) {
		events := t.events("a-1")
		events[0].ID = ""
		t.refused(leat.ErrConflict, events, leat.ExpectExists("a-1"))
		if events[0].ID == "" {
			t.Fatal("a refused append left the ID empty, so a retry would not be recognised")
		}
	}},
	{name: "of the same events appended at once one is recorded", prove: func(t *lab) {
		const writers = 8
		events := t.events("a-1", "a-1")
		receipts, errs := make([]leat.Receipt, writers), make([]error, writers)
		var wg sync.WaitGroup
		for i := range writers {
			own := append([]leat.Event(nil), events...)
			wg.Go(func() { receipts[i], errs[i] = t.log.Append(t.ctx, own) })
		}
		wg.Wait()
		t.ok(errors.Join(errs...), "append")
		first := 0
		for _, r := range receipts {
			if !r.Duplicate {
				first++
			}
			sameReceipt(t, "each", duplicateOf(r), duplicateOf(receipts[0]))
		}
		equal(t, "receipts that are no duplicate", first, 1)
		equal(t, "events", len(t.stream("a-1")), 2)
	}},
}

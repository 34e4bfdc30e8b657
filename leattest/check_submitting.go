package leattest

import (
	"context"
	"fmt"

	"github.com/leathq/leat"
)

// submitting is of leat.Submit, which works with every log.
var submitting = []check{
	{name: "each of many that are submitted has its own outcome", prove: func(t *lab) {
		known := t.events("known-1")
		first := t.append(known)
		t.appendTo("old-1")
		const rounds = 100
		type submitted struct {
			events  []leat.Event
			pending leat.Pending
		}
		submit := func(events []leat.Event, conds ...leat.Condition) submitted {
			return submitted{events, leat.Submit(t.ctx, t.log, events, conds...)}
		}
		var news, knowns, lates, wrongs [rounds]submitted
		for i := range rounds {
			stream := fmt.Sprintf("new-%d", i)
			news[i] = submit(t.events(repeat(stream, 1+i%3)...), leat.ExpectNew(stream))
			knowns[i] = submit(known)
			lates[i] = submit(t.events("old-1"), leat.ExpectNew("old-1"))
			wrongs[i] = submit(t.events(""))
		}
		for i := rounds - 1; i >= 0; i-- { // not in the order in which they were submitted
			r, err := news[i].pending.Wait()
			t.ok(err, "append")
			same(t, "versions", r.Versions, span(1, uint64(1+i%3)))
			recorded := t.readShard(r.Shard, r.First-1, leat.ReadOptions{Limit: 1}).Events
			if len(recorded) != 1+i%3 || recorded[0].ID != news[i].events[0].ID || recorded[0].Seq != r.First {
				t.Fatalf("append of %+v was answered with %+v, where %+v is", news[i].events, r, recorded)
			}
			r, err = knowns[i].pending.Wait()
			t.ok(err, "append what is known")
			sameReceipt(t, "what is known", r, duplicateOf(first))
			_, err = lates[i].pending.Wait()
			equal(t, "Actual", as[*leat.ConflictError](t, err, "append").Actual, 1)
			_, err = wrongs[i].pending.Wait()
			equal(t, "Field", as[*leat.InvalidError](t, err, "append").Field, "events[0].stream")
		}
	}},
	{name: "of those submitted for a version exactly one wins", prove: func(t *lab) {
		const rivals, rounds = 8, 20
		for v := range uint64(rounds) {
			var pending [rivals]leat.Pending
			for i := range pending {
				pending[i] = leat.Submit(t.ctx, t.log, t.events("a-1"), leat.ExpectVersion("a-1", v))
			}
			won := 0
			for _, p := range pending {
				_, err := p.Wait()
				if err == nil {
					won++
					continue
				}
				equal(t, "the version a loser is told", as[*leat.ConflictError](t, err, "append").Actual, v+1)
			}
			equal(t, "winners", won, 1)
		}
	}},
	{name: "what was submitted is the caller's again after Wait", prove: func(t *lab) {
		const each = 50
		events := [2][]leat.Event{t.events("a-1"), t.events("a-2")}
		var pending [2]leat.Pending
		for v := range each {
			for i, e := range events {
				if v > 0 {
					_, err := pending[i].Wait()
					t.ok(err, "append")
				}
				e[0].ID = fmt.Sprintf("%s-%d", e[0].Stream, v)
				e[0].Data = fmt.Appendf(e[0].Data[:0], "data of %s", e[0].ID)
				e[0].Meta = append(e[0].Meta[:0], leat.Attr{Key: "own", Value: e[0].ID})
				pending[i] = leat.Submit(t.ctx, t.log, e, leat.ExpectVersion(e[0].Stream, uint64(v)))
			}
		}
		for i, e := range events {
			_, err := pending[i].Wait()
			t.ok(err, "append")
			for _, r := range t.stream(e[0].Stream) {
				equal(t, "ID", r.ID, fmt.Sprintf("%s-%d", r.Stream, r.Version-1))
				equal(t, "data", string(r.Data), "data of "+r.ID)
				equal(t, "attribute", r.Meta.Get("own"), r.ID)
			}
		}
	}},
	{name: "what is submitted gets an ID", prove: func(t *lab) {
		events := t.events("a-1", "a-1")
		events[1].ID = ""
		_, err := leat.Submit(t.ctx, t.log, events).Wait()
		t.ok(err, "append")
		if got := t.stream("a-1"); events[1].ID == "" || got[1].ID != events[1].ID {
			t.Fatalf("the caller's ID is %q, the recorded one %q", events[1].ID, got[1].ID)
		}
	}},
	{name: "a context that has ended submits nothing", prove: func(t *lab) {
		ctx, cancel := context.WithCancel(t.ctx)
		cancel()
		_, err := leat.Submit(ctx, t.log, t.events("a-1")).Wait()
		t.is(err, context.Canceled, "append")
		equal(t, "events", len(t.stream("a-1")), 0)
	}},
}

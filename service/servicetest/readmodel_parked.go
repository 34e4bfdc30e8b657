package servicetest

import (
	"context"
	"maps"
	"reflect"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

func (d *desk[Tx]) parkedOrder() {
	want := []service.Parked{
		waits("a-1", 1<<62, ""), waits("b-1", 2, "it's broken: \x00 ünïcode"), waits("b-1", 9, ""), waits("b-1", 10, ""),
	}
	d.save(step(leat.Checkpoint{}, at(5), want[3], want[1]))
	d.save(step(at(5), at(6), want[2], want[0]))
	if got := d.list(""); !reflect.DeepEqual(got, want) {
		d.Fatalf("parked:\n%+v\nwant:\n%+v", got, want)
	}
	if got := d.list("b-1"); !reflect.DeepEqual(got, want[1:]) {
		d.Fatalf("parked of b-1:\n%+v\nwant:\n%+v", got, want[1:])
	}
	if got := d.list("c-1"); len(got) > 0 {
		d.Fatalf("parked of c-1: %v, want nothing", got)
	}
}

func (d *desk[Tx]) waiting() {
	waiting := func(want map[string]uint64) {
		d.Helper()
		got, err := d.Open(d).Waiting(d.Context(), app)
		d.ok(err)
		if !maps.Equal(got, want) {
			d.Fatalf("waiting are %v, want %v", got, want)
		}
	}
	waiting(nil)
	odd := "a\x00'-\\1"
	d.save(step(leat.Checkpoint{}, at(5), waits(odd, 1, "no"), waits(odd, 2, ""), waits("b-1", 1, "no")))
	d.ok(d.model.Save(d.Context(), service.Step{Name: "other", Park: []service.Parked{waits("c-1", 1, "no")}}))
	waiting(map[string]uint64{odd: 2, "b-1": 1})
	d.ok(d.model.Discard(d.Context(), app, "b-1", 1, "a test order"))
	d.save(service.Step{Name: app, Done: []service.Parked{waits(odd, 1, "")}})
	waiting(map[string]uint64{odd: 1})
}

func (d *desk[Tx]) parkedTogether() {
	d.ok(d.model.Commit(d.Context(), step(leat.Checkpoint{}, at(5), waits("a-1", 1, "no")), d.put("k", "1")))
	d.stands(at(5))
	d.holds("k", "1")
	d.is(d.model.Save(d.Context(), step(at(4), at(6), waits("a-1", 2, ""))), leat.ErrFenced, "parking under a stale step")
	if events := d.list(""); len(events) != 1 {
		d.Fatalf("parked %v, want one event", events)
	}
}

func (d *desk[Tx]) done() {
	first, second := waits("a-1", 1, "no"), waits("a-1", 2, "")
	d.save(step(leat.Checkpoint{}, at(5), first, second))
	finish := service.Step{Name: app, Done: []service.Parked{first}}
	err := d.model.Commit(d.Context(), finish, func(ctx context.Context, tx Tx) error { return errRefused })
	d.is(err, errRefused, "commit of what fails again")
	if events := d.list("a-1"); len(events) != 2 {
		d.Fatalf("parked after a failure: %v, want both events", events)
	}
	d.ok(d.model.Commit(d.Context(), finish, d.put("k", "1")))
	d.holds("k", "1")
	if events := d.list("a-1"); !reflect.DeepEqual(events, []service.Parked{second}) {
		d.Fatalf("parked after the first is done: %v, want the second", events)
	}
	d.is(d.model.Commit(d.Context(), finish, d.put("k", "2")), service.ErrNotParked, "doing it a second time")
	d.holds("k", "1")
	d.stands(at(5))
}

func (d *desk[Tx]) retry() {
	ctx := d.Context()
	first := waits("a-1", 1, "no")
	d.save(step(leat.Checkpoint{}, at(5), first, waits("a-1", 2, ""), waits("b-1", 1, "no")))
	d.due()
	d.ok(d.Open(d).Retry(ctx, app, "a-1"))
	d.due("a-1")
	first.Error, first.Attempts = "no again", 3
	again := service.Step{Name: app, Done: []service.Parked{first}, Park: []service.Parked{first}}
	d.save(again)
	d.due()
	if got := d.list("a-1")[0]; !reflect.DeepEqual(got, first) {
		d.Fatalf("parked again: %+v, want %+v", got, first)
	}
	d.ok(d.model.Retry(ctx, app, "a-1"))
	d.save(service.Step{Name: app, Done: []service.Parked{first}})
	d.due("a-1") // the second did not fail, it only waited
	d.is(d.model.Save(ctx, again), service.ErrNotParked, "trying again in vain what is done meanwhile")
	if got := d.list("a-1"); len(got) != 1 || got[0].Version != 2 {
		d.Fatalf("parked: %+v, want version 2 alone", got)
	}
	d.is(d.model.Retry(ctx, app, "c-1"), service.ErrNotParked, "retry of a stream without parked events")
}

func (d *desk[Tx]) discard() {
	ctx := d.Context()
	first := waits("a-1", 1, "no")
	d.save(step(leat.Checkpoint{}, at(5), first, waits("a-1", 2, "")))
	before := time.Now().Add(-time.Second)
	d.ok(d.model.Discard(ctx, app, "a-1", 1, "a test order"))
	d.due("a-1")
	got := d.list("a-1")
	if len(got) != 2 || got[0].Waits() || got[0].Reason != "a test order" || got[0].Discarded.Before(before) || !got[1].Waits() {
		d.Fatalf("parked: %+v, want the first discarded now with its reason, the second waiting", got)
	}
	d.is(d.model.Discard(ctx, app, "a-1", 1, "again"), service.ErrNotParked, "discarding a second time")
	d.is(d.model.Discard(ctx, app, "a-1", 3, "unknown"), service.ErrNotParked, "discarding what is not parked")
	for _, again := range [][]service.Parked{nil, {first}} {
		s := service.Step{Name: app, Done: []service.Parked{first}, Park: again}
		d.is(d.model.Save(ctx, s), service.ErrNotParked, "doing what is discarded")
	}
	d.save(service.Step{Name: app, Park: []service.Parked{waits("a-1", 1, "another error")}})
	if again := d.list("a-1")[0]; !reflect.DeepEqual(again, got[0]) {
		d.Fatalf("parking a discarded event again: %+v, want it to stay %+v", again, got[0])
	}
	d.ok(d.model.Discard(ctx, app, "a-1", 2, "and its heirs"))
	d.due()
	d.is(d.model.Retry(ctx, app, "a-1"), service.ErrNotParked, "retry of a stream without waiting events")
}

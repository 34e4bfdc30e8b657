package servicetest

import (
	"context"
	"sync"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

// whole is the step that a reset takes.
func whole(from, to leat.Checkpoint) service.Step {
	s := step(from, to)
	s.Whole = true
	return s
}

// first is the first step in shard 1.
func first() service.Step {
	to := at()
	to.Set(shard1, 7)
	return step(at(), to)
}

func (d *desk[Tx]) notRun(s service.Step, doing string) {
	d.Helper()
	err := d.model.Commit(d.Context(), s, func(context.Context, Tx) error {
		d.Errorf("%s was run", doing)
		return nil
	})
	d.is(err, leat.ErrFenced, doing)
}

func (d *desk[Tx]) whole() {
	empty := service.Step{Name: app, Whole: true}
	d.ok(d.model.Commit(d.Context(), empty, d.put("k", "1"))) // nothing is stored
	d.save(step(leat.Checkpoint{}, at(5)))
	d.save(first())
	d.notRun(whole(at(5), at(0)), "a step of all shards but one")
	d.notRun(empty, "a step of no shard")
	d.stands(at(5, 7))
	d.ok(d.model.Commit(d.Context(), whole(at(5, 7), at(0, 0)), d.put("k", "2")))
	d.stands(at(0, 0))
	d.holds("k", "2")
}

func (d *desk[Tx]) wholeWaits() {
	d.save(step(leat.Checkpoint{}, at(5)))
	other := d.Open(d)
	var wg sync.WaitGroup
	var reset error
	d.ok(d.model.Commit(d.Context(), first(), func(context.Context, Tx) error {
		wg.Go(func() { reset = other.Commit(d.Context(), whole(at(5), at(0)), d.put("k", "1")) })
		return nil
	}))
	wg.Wait()
	d.is(reset, leat.ErrFenced, "a step of all shards that waits for the first of another shard")
	d.stands(at(5, 7))
	d.holds("k", "")
}

func (d *desk[Tx]) along() {
	d.save(step(leat.Checkpoint{}, at(5)))
	const beside = "beside"
	both := step(at(5), at(6))
	both.And = []service.Step{{Name: beside, To: at(1), Park: []service.Parked{waits("a-1", 1, "no")}}}
	besideIs := func(want leat.Checkpoint) {
		d.Helper()
		got, err := d.Open(d).Checkpoint(d.Context(), beside)
		d.ok(err)
		if !got.Equal(want) {
			d.Fatalf("the other application is at %v, want %v", got, want)
		}
	}
	err := d.model.Commit(d.Context(), both, func(context.Context, Tx) error { return errRefused })
	d.is(err, errRefused, "commit of what fails")
	besideIs(leat.Checkpoint{})
	d.ok(d.model.Commit(d.Context(), both, d.put("k", "1")))
	d.stands(at(6))
	besideIs(at(1))
	d.holds("k", "1")
	again := step(at(6), at(7))
	again.And = both.And
	d.notRun(again, "a step together with one that is fenced")
	d.stands(at(6))
	again.And = []service.Step{{Name: beside, From: at(1), To: at(2)}}
	d.save(again)
	d.stands(at(7))
	besideIs(at(2))
	if parked, err := d.model.Parked(d.Context(), beside, ""); err != nil || len(parked) != 1 {
		d.Fatalf("the other application has parked %v, %v; want one event", parked, err)
	}
}

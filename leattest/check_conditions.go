package leattest

import (
	"errors"
	"fmt"
	"sync"

	"github.com/leathq/leat"
)

var conditions = []check{
	{name: "each condition holds or tells the version", prove: func(t *lab) {
		t.appendTo("{k}old", "{k}old")
		for _, c := range []struct {
			cond   leat.Condition
			holds  bool
			actual uint64
		}{
			{leat.ExpectNew("{k}new"), true, 0},
			{leat.ExpectVersion("{k}new", 0), true, 0},
			{leat.ExpectVersion("{k}new", 1), false, 0},
			{leat.ExpectExists("{k}new"), false, 0},
			{leat.ExpectNew("{k}old"), false, 2},
			{leat.ExpectVersion("{k}old", 1), false, 2},
			{leat.ExpectVersion("{k}old", 2), true, 2},
			{leat.ExpectVersion("{k}old", 3), false, 2},
			{leat.ExpectExists("{k}old"), true, 2},
		} {
			// The stream written is another one than that of the condition.
			if c.holds {
				t.append(t.events("{k}written"), c.cond)
				continue
			}
			err := t.refusal(leat.ErrConflict, t.events("{k}written"), c.cond)
			conflict := as[*leat.ConflictError](t, err, "append")
			equal(t, "Actual", conflict.Actual, c.actual)
			equal(t, "Condition", conflict.Condition, c.cond)
		}
	}},
	{name: "all conditions must hold", prove: func(t *lab) {
		t.appendTo("{k}a")
		good, bad := leat.ExpectVersion("{k}a", 1), leat.ExpectExists("{k}b")
		t.refused(leat.ErrConflict, t.events("{k}a"), good, bad)
		t.refused(leat.ErrConflict, t.events("{k}a"), bad, good)
		t.append(t.events("{k}a"), good, leat.ExpectNew("{k}b"))
	}},
	{name: "conditions are of the versions before the append", prove: func(t *lab) {
		t.append(t.events("a-1", "a-1"), leat.ExpectNew("a-1"), leat.ExpectVersion("a-1", 0))
		t.refused(leat.ErrConflict, t.events("a-1", "a-1"), leat.ExpectVersion("a-1", 3))
	}},
	{name: "of those racing for a version exactly one wins", prove: func(t *lab) {
		const writers, rounds = 8, 20
		for v := range uint64(rounds) {
			events := make([][]leat.Event, writers)
			for i := range events {
				events[i] = t.events("a-1", "a-1")
			}
			errs := make([]error, writers)
			var wg sync.WaitGroup
			for i := range writers {
				wg.Go(func() { _, errs[i] = t.log.Append(t.ctx, events[i], leat.ExpectVersion("a-1", 2*v)) })
			}
			wg.Wait()
			won := 0
			for _, err := range errs {
				if err == nil {
					won++
					continue
				}
				equal(t, "the version a loser is told", as[*leat.ConflictError](t, err, "append").Actual, 2*v+2)
			}
			equal(t, "winners", won, 1)
		}
	}},
	{name: "those who retry with the version told all get through", prove: func(t *lab) {
		const writers, each = 6, 12
		events := make([][]leat.Event, writers)
		for i := range events {
			events[i] = t.events(repeat("a-1", each)...)
		}
		errs := make([]error, writers)
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() { errs[i] = appendOneByOne(t, events[i]) })
		}
		wg.Wait()
		t.ok(errors.Join(errs...), "append")
		equal(t, "version", t.stream("a-1")[writers*each-1].Version, writers*each)
	}},
}

// appendOneByOne appends each event at the version its stream is found to have.
func appendOneByOne(t *lab, events []leat.Event) error {
	var version uint64
	for i := 0; i < len(events); {
		_, err := t.log.Append(t.ctx, events[i:i+1], leat.ExpectVersion(events[i].Stream, version))
		var conflict *leat.ConflictError
		switch {
		case err == nil:
			version++
			i++
		case errors.As(err, &conflict) && conflict.Actual > version:
			version = conflict.Actual
		default:
			return fmt.Errorf("append at version %d: %w", version, err)
		}
	}
	return nil
}

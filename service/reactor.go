package service

import (
	"cmp"
	"context"
	"fmt"

	"github.com/leathq/leat"
)

// DefaultParallel is how many events a Reactor handles at a time when
// Reactor.Parallel is 0, and how many batches a Forwarder sends.
const DefaultParallel = 16

// A Reactor answers events, best with commands under [CausedBy]. It handles
// each event at least once, the events of one stream in order and one at a time,
// and those of different streams in parallel.
//
// Its checkpoint moves past events when they and all before them in their shard
// are done. It is saved after 1,000 events, each second, and when the App
// drains. After a crash the events done since then come again: about 3,000 of a
// shard at most. An event that is slow, or pauses before another attempt, holds
// its shard up once 1,000, or 32 MiB, or more are read behind it.
//
// An error that wraps leat.ErrFull, leat.ErrUncertain or leat.ErrUnavailable, or
// is Transient, says nothing about the event: it is tried again until that has
// passed, and never parked for it.
type Reactor struct {
	// Name is the application's, under which its checkpoint is kept.
	Name string

	// Filter selects the events.
	Filter leat.Filter

	// React answers an event. It is called concurrently.
	React func(ctx context.Context, r leat.Recorded) error

	// Checkpoints keeps the checkpoint and what is parked.
	Checkpoints CheckpointStore

	// Parallel is how many events are handled at a time; DefaultParallel when 0.
	Parallel int

	// Rebuild makes a reactor that has not begun yet take over from another one:
	// it passes over what was in the log when it began, and answers what comes
	// after. One that has begun already goes on as it began.
	Rebuild bool
}

func (r Reactor) validate() error {
	switch {
	case r.Checkpoints == nil:
		return unset("Reactor", r.Name, "Checkpoints")
	case r.React == nil:
		return unset("Reactor", r.Name, "React")
	case r.Parallel < 0:
		return &leat.InvalidError{Field: fmt.Sprintf("Reactor %q: Parallel", r.Name), Limit: "not negative", Got: fmt.Sprint(r.Parallel)}
	}
	return validate("Reactor", r.Name, r.Filter)
}

func (r Reactor) start(env env) ([]*fleet, []*relayRun) { return []*fleet{r.fleet(env)}, nil }

func (r Reactor) fleet(env env) *fleet {
	newRun := r.runs()
	f := newFleet(env, r.Name, r.Checkpoints, func(w worker, s leat.Shard) run { return newRun(w, s) })
	f.rebuild = r.Rebuild
	return f
}

// runs returns what makes a run for each shard.
func (r Reactor) runs() func(worker, leat.Shard) *laneRun {
	h := handling{
		handle: func(ctx context.Context, events []leat.Recorded) error { return r.React(ctx, events[0]) },
		bounds: Bounds{Events: 1},
		slots:  make(chan struct{}, cmp.Or(r.Parallel, DefaultParallel)),
	}
	return func(w worker, s leat.Shard) *laneRun {
		return newLaneRun(h, application{worker: w, store: r.Checkpoints, filter: r.Filter, shard: s})
	}
}

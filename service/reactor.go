package service

import (
	"context"

	"github.com/leathq/leat"
)

// DefaultParallel is how many events a Reactor handles at a time when
// Reactor.Parallel is 0.
const DefaultParallel = 16

// A Reactor answers events, best with commands under [CausedBy]. It handles
// each event at least once, the events of one stream in order and one at a time,
// and those of different streams in parallel.
//
// Its checkpoint moves past events when they and all before them are done. It is
// saved after 1,000 events or a second, and when the App drains. After a crash
// the events done since then come again: at most about 3,000 a shard.
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
}

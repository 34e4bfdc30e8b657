package service

import (
	"context"

	"github.com/leathq/leat"
)

// A Projection folds events into a service's own database: in the order of each
// shard, exactly once in effect. Tx is the database's transaction.
type Projection[Tx any] struct {
	// Name is the application's, under which its checkpoint is kept. A new name
	// such as "stock/v2" starts over.
	Name string

	// Filter selects the events.
	Filter leat.Filter

	// Apply writes what an event changes, in the transaction that also moves the
	// checkpoint. One transaction holds up to about 1,000 events. If it fails,
	// the transaction is rolled back, so Apply may see an event again; it must
	// do nothing that the transaction does not undo.
	Apply func(ctx context.Context, tx Tx, r leat.Recorded) error

	// Into is the database.
	Into ReadModel[Tx]

	// Then, if set, is called after each commit that handled events and once at
	// the start. It acts on what the read model says is to be done: Apply writes
	// due commands into a table, Then carries them out and marks them done.
	// Since it runs again after a crash nothing is lost, and what it does must
	// be safe to repeat: give commands an ID. It is tried until it succeeds, and
	// the projection waits meanwhile; a Permanent error stops the App.
	Then func(ctx context.Context) error
}

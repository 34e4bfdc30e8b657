package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leathq/leat"
)

// ErrNotParked says that an event, or any of a stream, does not wait to be
// handled: it never was parked, or it is handled or discarded.
var ErrNotParked = errors.New("not parked")

// A CheckpointStore keeps how far applications have got, and the events they
// have parked, in a service's own database. One store serves many applications,
// each by its name. It is safe for concurrent use, also by several processes.
// What only reads sees what is committed, and waits for nobody who writes.
type CheckpointStore interface {
	// Checkpoint returns how far an application has got: the zero Checkpoint
	// when it has not begun.
	Checkpoint(ctx context.Context, name string) (leat.Checkpoint, error)

	// Applications returns the names of the applications that have begun or have
	// parked events, sorted. Those that begin with "$" are the SDK's own and left
	// out.
	Applications(ctx context.Context) ([]string, error)

	// Save records a step, and those in s.And, all of it or nothing. It fails
	// with leat.ErrFenced unless the application stands at s.From: the stored log,
	// epoch and sequences of all shards in s.To are those of s.From. (A sequence
	// that is not stored is 0; nothing stored is the zero Checkpoint.) It fails
	// with ErrNotParked when an event in s.Done does not wait.
	Save(ctx context.Context, s Step) error

	// Parked returns the events that an application has parked, in the order of
	// stream and version; those of one stream unless it is empty. Discarded
	// events are included.
	Parked(ctx context.Context, name, stream string) ([]Parked, error)

	// Waiting returns how many parked events wait in each stream that has any.
	Waiting(ctx context.Context, name string) (map[string]uint64, error)

	// Due returns the streams whose first waiting event is to be handled now:
	// Retry was asked for, or the events in front of it are discarded.
	Due(ctx context.Context, name string) ([]string, error)

	// Retry asks the application to handle the waiting events of a stream
	// again, in order. It does so within about a second while it runs. An event
	// that fails again stays where it was, unless it is not to blame: then it is
	// tried until it succeeds, with pauses that grow. A stream without waiting
	// events is ErrNotParked.
	Retry(ctx context.Context, name, stream string) error

	// Discard takes an event that waits out of the line for good; what waits
	// behind it goes on. The entry stays, with the reason, as a record. An event
	// that does not wait is ErrNotParked.
	Discard(ctx context.Context, name, stream string, version uint64, reason string) error
}

// A ReadModel is a service's database as projections write it. Tx is its
// transaction.
type ReadModel[Tx any] interface {
	CheckpointStore

	// Commit runs f and Save(s) in one transaction. It first checks that the
	// application stands at s.From. An error of f is returned so that errors.Is
	// finds it, and a panic of f goes on; both roll everything back.
	Commit(ctx context.Context, s Step, f func(ctx context.Context, tx Tx) error) error
}

// A Step is what an application did: it moved on from one checkpoint to
// another, got done with events that it had parked, and parked events.
type Step struct {
	Name     string
	From, To leat.Checkpoint // both zero when it does not move, and is not to be fenced
	Done     []Parked        // waited, and wait no longer
	Park     []Parked        // to be kept; replaces what is kept of the same event, unless discarded

	// An event that was tried again in vain is in both: it stays, but is not put
	// back after somebody else has handled or discarded it.

	// Whole has the step fenced when a shard is stored that To does not have, or
	// anything at all when it does not move.
	Whole bool

	// And are steps of other applications that are taken in the same
	// transaction, after this one. They have no further ones.
	And []Step
}

// All returns the step and those in And.
func (s Step) All() []Step { return append([]Step{s}, s.And...) }

// Moves reports whether the application moves, so that the step is fenced.
func (s Step) Moves() bool { return !s.From.IsZero() || !s.To.IsZero() }

// Parked says of an event that an application could not handle it yet. The event
// itself is in the log.
type Parked struct {
	Stream  string
	Version uint64
	Shard   leat.ShardID
	Seq     uint64
	ID      string // of the event
	Type    string // of the event

	// Error is why the event was parked; empty when it only waits behind another
	// of its stream.
	Error    string
	Attempts int       // how often it was tried
	At       time.Time // when it was parked, or tried last

	// Discarded is when Discard was called for it, zero when the event waits.
	Discarded time.Time
	Reason    string // given to Discard
}

// Waits reports whether the event still stands in line.
func (p Parked) Waits() bool { return p.Discarded.IsZero() }

// Check returns an error that wraps leat.ErrFenced unless an application that
// stands at a checkpoint may take the step. It is for those who write a
// CheckpointStore.
func (s Step) Check(at leat.Checkpoint) error {
	if !s.Moves() && !s.Whole {
		return nil
	}
	if s.Moves() && s.To.Log == "" || s.From.Log != "" && s.From.Log != s.To.Log {
		return &leat.InvalidError{Field: "Step.To", Limit: "in the log of Step.From", Got: s.To.String()}
	}
	if at.Log != s.From.Log || at.Epoch != s.From.Epoch {
		return fmt.Errorf("%q stands in log %s@%d, not in %s@%d: %w", s.Name, at.Log, at.Epoch, s.From.Log, s.From.Epoch, leat.ErrFenced)
	}
	for shard := range s.To.Seqs {
		if at.Seqs[shard] != s.From.Seqs[shard] {
			return fmt.Errorf("%q stands at %s=%d, not at %d: %w", s.Name, shard, at.Seqs[shard], s.From.Seqs[shard], leat.ErrFenced)
		}
	}
	for shard := range at.Seqs {
		_, known := s.To.Seqs[shard]
		switch {
		case known:
		case s.Whole:
			return fmt.Errorf("%q has begun with %s meanwhile: %w", s.Name, shard, leat.ErrFenced)
		case s.To.Epoch != at.Epoch:
			return &leat.InvalidError{Field: "Step.To", Limit: "with an entry for every stored shard when the epoch changes", Got: s.To.String()}
		}
	}
	return nil
}

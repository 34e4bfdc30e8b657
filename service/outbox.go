package service

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/leathq/leat"
)

// An Outbox holds the events that a service has put there, in the transaction of
// its own change, until a [Relay] has brought them into the log. How to put them
// is the database's: Put of its own type has the transaction for an argument.
//
// The order of a stream is the order in which the transactions were committed,
// and in each that of its calls. An Outbox is safe for concurrent use, also by
// several processes.
//
// Events that the log refuses are parked, under the name of the relay, as an
// application parks those it cannot handle: Parked.Version is the number of the
// event in the outbox, there is no Shard and no Seq. An event that is discarded
// stays in the outbox as a record.
type Outbox interface {
	CheckpointStore

	// Take returns the first events that wait, but parked ones: at most limit,
	// and fewer when they are large, and none of the streams in except. name is
	// the relay's. What it returns will not be undone by a power cut.
	//
	// While there are events, Take gives owner the outbox for ttl: another owner
	// gets leat.ErrHeld meanwhile, unless it would have to wait for longer than
	// its own ttl, as when the clock was set back. That only saves work: IDs keep an event that
	// two append from being recorded twice.
	Take(ctx context.Context, name, owner string, ttl time.Duration, limit int, except []string) ([]Outgoing, error)

	// Find returns an event that is still in the outbox, parked or not.
	Find(ctx context.Context, number uint64) (e Outgoing, found bool, err error)

	// Settle records what became of events, all of it or nothing. What is gone
	// already is passed over; but when one of s.Done does not wait any more, it
	// fails with ErrNotParked.
	Settle(ctx context.Context, s Settlement) error

	// Release gives the outbox back.
	Release(ctx context.Context, owner string) error

	// Listen calls wake when it begins, and whenever events may have been put,
	// until ctx ends. It returns an error when it cannot go on. Who listens looks
	// into the outbox now and then nevertheless. wake is quick, and may be called
	// concurrently.
	Listen(ctx context.Context, wake func()) error
}

// An Outgoing is an event in an outbox. Its ID and Time are set.
type Outgoing struct {
	leat.Event
	Number uint64 // its place in the outbox, rising within a stream
	Behind bool   // an event in front of it, of the same stream, is parked and waits
}

// A Settlement says what became of events of an outbox.
type Settlement struct {
	Name string   // of the relay
	Sent []uint64 // numbers of those that are in the log, and so leave
	Done []Parked // waited among the parked, and wait no longer
	Park []Parked // to be parked; those in Done stay where they are, with a new error
}

// PreparePut does what Put does first, for those who write an Outbox: it writes
// IDs into events that have none, and returns an [*leat.InvalidError] if one is
// out of bounds that are the same for every log. How large events may be is the
// log's affair. What it returns is to be kept: the events with a Time, and with
// Data that is not nil.
func PreparePut(events []leat.Event) ([]leat.Event, error) {
	if len(events) == 0 {
		return nil, nil
	}
	limits := leat.Limits{EventBytes: math.MaxInt, AppendEvents: math.MaxInt, AppendBytes: math.MaxInt}
	if _, err := leat.PrepareAppend(events, nil, limits, true); err != nil {
		return nil, err
	}
	kept, now := slices.Clone(events), time.Now()
	for i := range kept {
		if kept[i].Time.IsZero() {
			kept[i].Time = now
		}
		if kept[i].Data == nil {
			kept[i].Data = []byte{}
		}
	}
	return kept, nil
}

// OutboxBytes bounds the Data of the events that one Take returns, but for the
// first.
const OutboxBytes = 16 << 20

package leat

import (
	"context"
	"iter"
	"time"
)

// A Log is a sharded, append-only record of events. Its methods are safe for
// concurrent use. They obey their context: once it has ended they return its
// error soon. The package comment lists what every Log promises.
//
// Memory that a Log yields belongs to the caller.
type Log interface {
	// Append records events, all or none, if every condition holds, and returns
	// when they are durable. It writes a UUIDv7 into every empty Event.ID of the
	// caller's slice before anything else and does not change or keep the slice
	// otherwise.
	//
	// Checks come in this order, and the first that fails is the answer:
	//
	//  - Bounds: [*InvalidError]. An Append has at least one event. Streams that
	//    start with "$" are refused.
	//  - Route: all streams written or named in a condition have one route key,
	//    unless the log is single: [ErrCrossKey].
	//  - IDs. An ID is known when an event of the same stream has it, even one
	//    that is trimmed by now. An ID that is known with other content (see
	//    [Digest]; a non-zero Time must also be the recorded one), or known in
	//    another order than given, or given twice for one stream is an
	//    [*IDReusedError] that names the first such event. All IDs known: a
	//    Receipt with Duplicate set, conditions are not evaluated, nothing is
	//    written. Only some known: a [*PartialError] that says which, and
	//    nothing is written; the caller sends the rest.
	//  - Conditions, against the streams' versions before this Append:
	//    [*ConflictError].
	//
	// When the context ends or the connection is lost after the events were
	// handed over, their fate may be unknown: the error then wraps
	// [ErrUncertain]. Sending the same events again is safe.
	Append(ctx context.Context, events []Event, conds ...Condition) (Receipt, error)

	// ReadStream yields the events of one stream in the order of their versions,
	// up to its version at the time of the call. A stream without events yields
	// nothing, as does a range that holds no versions. One that begins below the
	// oldest kept version yields a [*TrimmedError], in reverse after the kept
	// events of the range. An error is always the last pair.
	ReadStream(ctx context.Context, stream string, r Range) iter.Seq2[Recorded, error]

	// ReadShard returns events of a shard after sequence after, in order, those
	// that match o.Filter. It may return fewer than there are, but when there is
	// something after it, Next is above after, also if nothing matched. When
	// there is nothing, it waits up to o.Wait for a durable event, matching or
	// not, or for the shard to close, and then returns an empty Batch. An
	// unknown shard is [ErrNotFound], an after beyond the head a
	// [*DivergedError], an after+1 below what is kept a [*TrimmedError], a
	// filter that the log cannot evaluate [ErrUnsupported]. The sequence after
	// may lie inside an Append; the Batch then begins there.
	ReadShard(ctx context.Context, shard ShardID, after uint64, o ReadOptions) (Batch, error)

	// Shards returns all shards, closed ones included, parents before children.
	Shards(ctx context.Context) ([]Shard, error)

	// Info returns what identifies the log.
	Info(ctx context.Context) (Info, error)
}

// Optional capabilities of a Log, found by type assertion as in package io/fs.
type (
	// A Trimmer can forget the oldest events of a shard.
	Trimmer interface {
		// Trim removes the events of a shard below a sequence, at most all of
		// them (below = head + 1; more is an [*InvalidError]), and returns the
		// oldest sequence now kept. It never divides an Append: if below lies
		// inside one, that one is kept whole. Stream versions and IDs are kept
		// for good. The removal is recorded as a [Trimmed] event in
		// [SystemStream], durable before anything is gone. Trimming what is gone
		// already does nothing and records nothing.
		//
		// A shard whose parents, or theirs, still keep events is not trimmed
		// ([*InvalidError]), so that what is kept of a stream are always its
		// last versions. An unknown shard is [ErrNotFound].
		Trim(ctx context.Context, shard ShardID, below uint64) (oldest uint64, err error)
	}

	// A Splitter can divide an open shard in two.
	Splitter interface {
		// Split closes a shard and opens two children that share its hash keys:
		// the first owns those below at, the second those from at on. It returns
		// the children, which have the log's next two shard numbers. A single
		// log is not split ([ErrUnsupported]), nor is a closed shard
		// ([*InvalidError]) or an unknown one ([ErrNotFound]); at must lie within
		// the shard's range and above its first key ([*InvalidError]).
		Split(ctx context.Context, shard ShardID, at HashKey) ([2]Shard, error)
	}

	// An Importer can take events verbatim, to restore or copy a log.
	Importer interface {
		// Import records events in a shard, open or closed, with the sequence,
		// commit, version and At they have, all or none, durable when it
		// returns. Nobody else may write to the log meanwhile. Events must be
		// whole Appends that continue the shard without a hole; into a shard
		// that never held an event, and whose parents keep none, they may begin
		// at any sequence, and what lies below counts as trimmed. Versions
		// continue their streams without a hole; where the shard or one it
		// descends from starts trimmed, a stream's first event may have any
		// version. At increases within the shard and from parents to children,
		// so parents are imported first: nothing is imported into a shard from
		// which one descends that holds events. The shard owns the streams' hash
		// keys, and no ID is known to its stream already. "$" streams are
		// allowed. What does not fit is an [*InvalidError] and nothing is
		// recorded; an unknown shard is [ErrNotFound]; no events are no error.
		Import(ctx context.Context, shard ShardID, events []Recorded) error
	}

	// A Scanner can show events without giving them away, which is several times
	// faster than ReadShard.
	Scanner interface {
		// ScanShard does what ReadShard does, but calls visit for each event that
		// matches, in order, and returns a Batch without Events. The event, and
		// all memory it refers to, is visit's until it returns and must not be
		// changed; strings.Clone, bytes.Clone and the like keep a part of it.
		// ScanShard ends with the first error of visit and returns it as it is;
		// Next is then the last sequence before that event. The log may hold
		// resources while visit runs: it should be quick, and not use the log.
		ScanShard(ctx context.Context, shard ShardID, after uint64, o ReadOptions, visit func(*Recorded) error) (Batch, error)
	}

	// A Limiter tells how much more than MinLimits a log takes.
	Limiter interface {
		Limits() Limits
	}
)

// A Receipt says where an Append stands in the log.
type Receipt struct {
	Shard ShardID
	First uint64 // sequence of the first event of the Append
	Last  uint64 // sequence of the last event of the Append

	// Versions holds the version of each event, in the order given.
	Versions []uint64

	// At is when the last event was committed.
	At time.Time

	// Duplicate says that all events had been recorded before. The rest of the
	// Receipt is then the first one's. For events that were only a part of an
	// Append, or were recorded by several, Shard, Last and At are those of the
	// last event, and First is the first of them that is in Shard.
	Duplicate bool
}

// A Range selects events of a stream by version: those above After, up to and
// including Through; Through 0 is the end of the stream. The zero Range is the
// whole stream, oldest first.
type Range struct {
	After, Through uint64

	reverse bool
}

// Reverse returns the same range read newest first.
func (r Range) Reverse() Range {
	r.reverse = !r.reverse
	return r
}

// Reversed reports whether r is read newest first.
func (r Range) Reversed() bool { return r.reverse }

// ReadOptions say what ReadShard returns. The zero value returns what is there.
type ReadOptions struct {
	Filter Filter

	// Limit is the number of matching events after which a Batch ends. The
	// Append that reaches it is finished, so there may be more. 0 stands for
	// DefaultReadLimit.
	Limit int

	// Wait is how long to wait for a first event when there is none.
	Wait time.Duration
}

// Bounds of one ReadShard.
const (
	DefaultReadLimit = 1000     // events that match
	MaxReadBytes     = 16 << 20 // bytes examined (Event.Size), finishing the Append that exceeds them
)

// A Batch is a piece of a shard. It never ends inside an Append.
type Batch struct {
	Shard  ShardID
	Epoch  uint64     // the log's epoch when it was read
	Events []Recorded // those that match the filter
	Next   uint64     // last sequence examined: the after of the next read
	Head   uint64     // last durable sequence of the shard when it was read
	Closed bool       // Next is the end of a closed shard: there will never be more
}

// Info identifies a log.
type Info struct {
	ID      string    // made when the log is created; stays through restore
	Epoch   uint64    // from 1, raised by every restore
	Single  bool      // one shard for good, atomic over all streams
	Created time.Time // when this copy of the log was created

	// Ended tells for each past epoch, oldest first, what of it was kept.
	Ended []Epoch
}

// An Epoch is a span in a log's life that a restore ended.
type Epoch struct {
	Number uint64

	// Heads holds the last sequence of each shard that the restore kept. A shard
	// without an entry kept nothing.
	Heads map[ShardID]uint64
}

// Trimmed is the Data, in JSON, of the event of type [TypeTrimmed] that records
// a Trim.
type Trimmed struct {
	Shard  ShardID `json:"shard"`
	From   uint64  `json:"from"`   // first sequence removed
	Oldest uint64  `json:"oldest"` // first sequence kept
}

// TypeTrimmed is the type of the event that records a Trim, and SystemSource the
// source of all events that a log records about itself.
const (
	TypeTrimmed  = "$Trimmed"
	SystemSource = "$leat"
)

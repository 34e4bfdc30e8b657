package eventjson

import (
	"time"

	"github.com/leathq/leat"
)

// A Log is what a log is, and the shards it has.
type Log struct {
	Name    string    `json:"name,omitempty" doc:"The log's name on its server."`
	ID      string    `json:"id" doc:"Made when the log is created; stays through restore."`
	Epoch   uint64    `json:"epoch" doc:"From 1, raised by every restore."`
	Single  bool      `json:"single" doc:"One shard for good: appends may write any streams at once."`
	Created time.Time `json:"created" doc:"When this copy of the log was created."`
	Shards  []Shard   `json:"shards"`
	Ended   []Epoch   `json:"ended,omitempty" doc:"The epochs before this one that a restore ended, oldest first."`
}

// An Epoch is a span in a log's life that a restore ended.
type Epoch struct {
	Number uint64                  `json:"number"`
	Heads  map[leat.ShardID]uint64 `json:"heads,omitempty" doc:"The last sequence of each shard that the restore kept."`
}

// A Shard is a part of a log with a total order.
type Shard struct {
	ID      leat.ShardID   `json:"id"`
	From    leat.HashKey   `json:"from" doc:"First hash key it owns: 32 hexadecimal digits."`
	To      leat.HashKey   `json:"to" doc:"Last hash key it owns."`
	Parents []leat.ShardID `json:"parents,omitempty" doc:"The shards it continues."`
	Oldest  uint64         `json:"oldest" doc:"First sequence that is kept, or to come."`
	Head    uint64         `json:"head" doc:"Last durable sequence; 0 when there was none."`
	Closed  bool           `json:"closed,omitempty" doc:"No more events will come."`
}

// FromLog returns the form of a log.
func FromLog(name string, info leat.Info, shards []leat.Shard) Log {
	l := Log{
		Name: name, ID: info.ID, Epoch: info.Epoch, Single: info.Single, Created: info.Created,
		Shards: FromShards(shards),
	}
	for _, e := range info.Ended {
		l.Ended = append(l.Ended, Epoch(e))
	}
	return l
}

// FromShards returns the form of shards; never nil.
func FromShards(shards []leat.Shard) []Shard {
	out := make([]Shard, len(shards))
	for i := range shards {
		out[i] = Shard(shards[i])
	}
	return out
}

// A Receipt says where an append stands in the log.
type Receipt struct {
	Shard     leat.ShardID `json:"shard"`
	First     uint64       `json:"first" doc:"Sequence of the first event."`
	Last      uint64       `json:"last" doc:"Sequence of the last event."`
	Versions  []uint64     `json:"versions" doc:"The version of each event in its stream, in the order given."`
	IDs       []string     `json:"ids" doc:"The ID of each event, in the order given."`
	At        time.Time    `json:"at" doc:"When it was committed."`
	Duplicate bool         `json:"duplicate,omitempty" doc:"All events had been recorded before; this is where."`
}

// FromReceipt returns the form of the receipt of an append of events.
func FromReceipt(r leat.Receipt, events []leat.Event) Receipt {
	ids := make([]string, len(events))
	for i := range events {
		ids[i] = events[i].ID
	}
	return Receipt{
		Shard: r.Shard, First: r.First, Last: r.Last, Versions: r.Versions, IDs: ids, At: r.At, Duplicate: r.Duplicate,
	}
}

// A Batch is a piece of a shard.
type Batch struct {
	Shard  leat.ShardID `json:"shard"`
	Epoch  uint64       `json:"epoch" doc:"The log's epoch when it was read."`
	Events []Event      `json:"events" doc:"Those that match. Never ends inside an append."`
	Next   uint64       `json:"next" doc:"The last sequence examined: the after of the next read."`
	Head   uint64       `json:"head" doc:"Last durable sequence of the shard."`
	Closed bool         `json:"closed,omitempty" doc:"The end of a closed shard: there will never be more."`
}

// FromBatch returns the form of a batch.
func FromBatch(b leat.Batch) Batch {
	return Batch{Shard: b.Shard, Epoch: b.Epoch, Events: FromAll(b.Events), Next: b.Next, Head: b.Head, Closed: b.Closed}
}

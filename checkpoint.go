package leat

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Checkpoint says how far a reader has got in a log: in each shard, the last
// sequence it has done with. A shard without an entry starts at its beginning;
// an entry of a finished shard stays. The zero Checkpoint is the beginning of
// any log.
//
// Its text form is "LOG@EPOCH" followed by ",SHARD=SEQ" for each shard, sorted:
//
//	0199f3c0-…@1,shardId-000000000000=536,shardId-000000000001=12
type Checkpoint struct {
	Log   string // Info.ID
	Epoch uint64 // Info.Epoch when it was made
	Seqs  map[ShardID]uint64
}

// IsZero reports whether c is the beginning of any log.
func (c Checkpoint) IsZero() bool { return c.Log == "" && c.Epoch == 0 && len(c.Seqs) == 0 }

// Clone returns a copy that shares nothing with c.
func (c Checkpoint) Clone() Checkpoint {
	c.Seqs = maps.Clone(c.Seqs)
	return c
}

// Equal reports whether c and o are the same place. A missing entry and an
// entry of 0 are the same.
func (c Checkpoint) Equal(o Checkpoint) bool {
	covers := func(a, b Checkpoint) bool {
		for shard, seq := range a.Seqs {
			if b.Seqs[shard] != seq {
				return false
			}
		}
		return true
	}
	return c.Log == o.Log && c.Epoch == o.Epoch && covers(c, o) && covers(o, c)
}

// Set records that the reader is done with a shard up to seq.
func (c *Checkpoint) Set(shard ShardID, seq uint64) {
	if c.Seqs == nil {
		c.Seqs = make(map[ShardID]uint64)
	}
	c.Seqs[shard] = seq
}

// Advance records that the reader is done with a Batch that Follow yielded. The
// checkpoint keeps its Log: begin with one that Start made, or set it.
func (c *Checkpoint) Advance(b Batch) {
	c.Epoch = b.Epoch
	c.Set(b.Shard, b.Next)
}

func (c Checkpoint) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s@%d", c.Log, c.Epoch)
	for _, shard := range slices.Sorted(maps.Keys(c.Seqs)) {
		fmt.Fprintf(&b, ",%s=%d", shard, c.Seqs[shard])
	}
	return b.String()
}

// ParseCheckpoint reads the text form. The empty string is the zero Checkpoint.
func ParseCheckpoint(s string) (Checkpoint, error) {
	var c Checkpoint
	if s == "" {
		return c, nil
	}
	bad := func() (Checkpoint, error) {
		return Checkpoint{}, &InvalidError{Field: "checkpoint", Limit: `"LOG@EPOCH,SHARD=SEQ,…"`, Got: brief(s)}
	}
	head, rest, more := strings.Cut(s, ",")
	log, epoch, ok := strings.Cut(head, "@")
	n, err := strconv.ParseUint(epoch, 10, 64)
	if !ok || err != nil || log != "" && !logID(log) {
		return bad()
	}
	c.Log, c.Epoch = log, n
	for more {
		var entry string
		entry, rest, more = strings.Cut(rest, ",")
		shard, seq, ok := strings.Cut(entry, "=")
		n, err := strconv.ParseUint(seq, 10, 64)
		if !ok || err != nil || !shardID(ShardID(shard)) {
			return bad()
		}
		if _, twice := c.Seqs[ShardID(shard)]; twice {
			return bad()
		}
		c.Set(ShardID(shard), n)
	}
	return c, nil
}

// MarshalText implements encoding.TextMarshaler.
func (c Checkpoint) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Checkpoint) UnmarshalText(text []byte) (err error) {
	*c, err = ParseCheckpoint(string(text))
	return err
}

// Verify returns a [*DivergedError] unless c lies on the history of the log
// that info and shards describe: a checkpoint of another log, of an epoch to
// come, beyond what a restore kept of its epoch, or beyond a shard's head. Log
// and Epoch are not compared when they are empty.
func (c Checkpoint) Verify(info Info, shards []Shard) error {
	if c.Log != "" && c.Log != info.ID {
		return &DivergedError{Reason: fmt.Sprintf("the checkpoint is of log %s, this is log %s", c.Log, info.ID)}
	}
	if c.Epoch > info.Epoch {
		return &DivergedError{Reason: fmt.Sprintf("the checkpoint is of epoch %d, the log is at epoch %d", c.Epoch, info.Epoch)}
	}
	heads := make(map[ShardID]uint64, len(shards))
	for _, s := range shards {
		heads[s.ID] = s.Head
	}
	for shard, seq := range c.Seqs {
		for _, ended := range info.Ended {
			if c.Epoch > 0 && ended.Number >= c.Epoch && seq > ended.Heads[shard] {
				return &DivergedError{Reason: fmt.Sprintf(
					"the checkpoint is at %s=%d of epoch %d, of which the restore that ended epoch %d kept up to %d",
					shard, seq, c.Epoch, ended.Number, ended.Heads[shard])}
			}
		}
		if seq > heads[shard] {
			return &DivergedError{Reason: fmt.Sprintf("the checkpoint is at %s=%d, beyond the head %d", shard, seq, heads[shard])}
		}
	}
	return nil
}

// Now is a moment after every event, for Start.
var Now = time.Unix(0, 1<<63-1).UTC()

// Start makes a checkpoint for a reader that wants the events committed at or
// after a moment: it skips each shard's Appends whose last event has At < at.
// Now stands for only those still to come, the zero Time for all that are kept.
func Start(ctx context.Context, log Log, at time.Time) (Checkpoint, error) {
	info, err := log.Info(ctx)
	if err != nil {
		return Checkpoint{}, err
	}
	shards, err := log.Shards(ctx)
	if err != nil {
		return Checkpoint{}, err
	}
	c := Checkpoint{Log: info.ID, Epoch: info.Epoch}
	for _, s := range shards {
		seq, err := before(ctx, log, s, at)
		if err != nil {
			return Checkpoint{}, err
		}
		c.Set(s.ID, seq)
	}
	return c, nil
}

// before returns the last sequence of an Append that ends in shard s before at,
// or the one before the oldest kept.
func before(ctx context.Context, log Log, s Shard, at time.Time) (uint64, error) {
	low, high := s.Oldest-1, s.Head // the answer is within, both included
	switch {
	case at.IsZero():
		return low, nil
	case at.Equal(Now):
		return high, nil
	}
	for low < high {
		mid := low + (high-low)/2
		b, err := log.ReadShard(ctx, s.ID, mid, ReadOptions{Limit: 1, Filter: Filter{System: true}})
		if err != nil {
			return 0, err
		}
		if len(b.Events) == 0 {
			return 0, fmt.Errorf("read %s after %d: %w: no event though the head is %d", s.ID, mid, ErrCorrupt, s.Head)
		}
		// The batch may begin inside an Append; only whole ones are skipped.
		if last := b.Events[len(b.Events)-1]; last.At.Before(at) {
			low = last.Seq
		} else {
			high = b.Events[0].Commit - 1
		}
	}
	return low, nil
}

func logID(id string) bool {
	for i := range len(id) {
		switch c := id[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return id != "" && len(id) <= 64 && id != "." && id != ".."
}

func shardID(id ShardID) bool {
	digits, ok := strings.CutPrefix(string(id), "shardId-")
	if !ok || len(digits) != 12 {
		return false
	}
	_, err := strconv.ParseUint(digits, 10, 64)
	return err == nil
}

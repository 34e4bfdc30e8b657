package leat

import (
	"context"
	"iter"
	"slices"
)

// Read yields the events that match f after from, up to the heads as they are
// at the call, and then ends. The Appends of all shards come in the order of
// their first At, each whole; so a shard's events are in order, and a child's
// come after its parents'. An error is always the last pair; if from does not
// lie on the log's history it is a [*DivergedError].
func Read(ctx context.Context, log Log, f Filter, from Checkpoint) iter.Seq2[Recorded, error] {
	return func(yield func(Recorded, error) bool) {
		shards, err := verified(ctx, log, from)
		if err != nil {
			yield(Recorded{}, err)
			return
		}
		o := ReadOptions{Filter: f, Limit: max(16, DefaultReadLimit/len(shards))}
		var cursors []*cursor
		for _, s := range shards {
			c := &cursor{log: log, shard: s.ID, after: from.Seqs[s.ID], head: s.Head, options: o}
			if err := c.fill(ctx); err != nil {
				yield(Recorded{}, err)
				return
			}
			cursors = append(cursors, c)
		}
		for {
			cursors = slices.DeleteFunc(cursors, func(c *cursor) bool { return len(c.events) == 0 })
			if len(cursors) == 0 {
				return
			}
			next := slices.MinFunc(cursors, func(a, b *cursor) int { return a.events[0].At.Compare(b.events[0].At) })
			if !next.yieldAppend(yield) {
				return
			}
			if err := next.fill(ctx); err != nil {
				yield(Recorded{}, err)
				return
			}
		}
	}
}

// verified returns the log's shards, once from is known to lie on its history.
func verified(ctx context.Context, log Log, from Checkpoint) ([]Shard, error) {
	info, err := log.Info(ctx)
	if err != nil {
		return nil, err
	}
	shards, err := log.Shards(ctx)
	if err != nil {
		return nil, err
	}
	return shards, from.Verify(info, shards)
}

// A cursor reads one shard up to a fixed head.
type cursor struct {
	log         Log
	shard       ShardID
	after, head uint64
	options     ReadOptions
	events      []Recorded // read and not yet yielded
}

// fill reads on until there are events or the head is reached.
func (c *cursor) fill(ctx context.Context) error {
	for len(c.events) == 0 && c.after < c.head {
		b, err := c.log.ReadShard(ctx, c.shard, c.after, c.options)
		if err != nil {
			return err
		}
		c.after = b.Next
		if i := slices.IndexFunc(b.Events, func(r Recorded) bool { return r.Seq > c.head }); i >= 0 {
			b.Events = b.Events[:i]
		}
		c.events = b.Events
	}
	return nil
}

// yieldAppend yields the events of the first Append that was read.
func (c *cursor) yieldAppend(yield func(Recorded, error) bool) bool {
	commit := c.events[0].Commit
	for len(c.events) > 0 && c.events[0].Commit == commit {
		if !yield(c.events[0], nil) {
			return false
		}
		c.events = c.events[1:]
	}
	return true
}

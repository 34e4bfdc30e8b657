package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/leathq/leat"
)

// Trim implements leat.Trimmer. A shard is trimmed only once its parents keep
// nothing, so that what is kept of a stream is always its end. When ctx ends
// while space is being given back, the trim holds all the same; the rest is
// given back by the next Trim or Open.
func (l *Log) Trim(ctx context.Context, shard leat.ShardID, below uint64) (uint64, error) {
	op := &trimOp{log: l, shard: shard, below: below}
	if err := l.do(ctx, op, aloneBytes); err != nil {
		return 0, err
	}
	if err := l.sweep(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, leat.ErrClosed) {
		return op.oldest, fmt.Errorf("give back the space of %s below %d: %w", shard, op.oldest, err)
	}
	return op.oldest, nil
}

type trimOp struct {
	log    *Log
	shard  leat.ShardID
	below  uint64
	oldest uint64
}

func (o *trimOp) apply(c *committer) error {
	t := c.find(o.shard)
	if t == nil {
		return o.log.noShard(o.shard)
	}
	if o.below > t.Head+1 {
		return &leat.InvalidError{
			Field: "below", Limit: fmt.Sprintf("at most %d, one above the head of %s", t.Head+1, t.ID), Got: fmt.Sprint(o.below),
		}
	}
	o.oldest = t.Oldest
	if o.below <= t.Oldest {
		return nil
	}
	oldest, err := o.log.commitOf(t, o.below)
	if err != nil || oldest == t.Oldest {
		return err
	}
	for _, p := range t.parents {
		if !p.trimmedWhole() {
			return &leat.InvalidError{
				Field: "shard", Limit: "one whose parents keep no events", Got: fmt.Sprintf("%s, a child of %s", t.ID, p.ID),
			}
		}
	}
	if err := c.recordTrim(leat.Trimmed{Shard: t.ID, From: t.Oldest, Oldest: oldest}); err != nil {
		return err
	}
	o.oldest, t.Oldest = oldest, oldest
	c.save(t)
	return nil
}

// recordTrim records a trim in the system's stream.
func (c *committer) recordTrim(trimmed leat.Trimmed) error {
	data, err := json.Marshal(trimmed)
	if err != nil {
		return err
	}
	e := leat.Event{
		ID: leat.NewID(), Stream: leat.SystemStream, Type: leat.TypeTrimmed, Source: leat.SystemSource,
		ContentType: leat.DefaultContentType, Data: data,
	}
	op := newAppendOp(leat.RouteHash(e.Stream), []leat.Event{e}, nil)
	if err := c.index.resolve(&op.targets[0]); err != nil {
		return err
	}
	c.record(c.route(op.key), op)
	return nil
}

// commitOf returns the first sequence of the Append that holds an event, or the
// sequence itself when it is still to come. All events must be in the files.
func (l *Log) commitOf(t *tail, seq uint64) (uint64, error) {
	if seq > t.Head {
		return seq, nil
	}
	b, err := l.findBlock(l.index.memory.Load(), t.number, seq)
	if err != nil {
		return 0, err
	}
	r := b.record(int(seq - b.first))
	return r.commit(), nil
}

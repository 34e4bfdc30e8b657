package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/leathq/leat"
)

// ReadShard implements leat.Log. Each event has memory of its own.
func (l *Log) ReadShard(ctx context.Context, id leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	if o.Filter.Where != "" {
		return leat.Batch{}, fmt.Errorf("evaluate the filter %q: %w", o.Filter.Where, leat.ErrUnsupported)
	}
	if o.Limit <= 0 {
		o.Limit = leat.DefaultReadLimit
	}
	var timeout <-chan time.Time
	for {
		b, more, err := l.readShard(ctx, id, after, o)
		if err != nil || b.Next > after || b.Closed || o.Wait <= 0 {
			return b, err
		}
		if timeout == nil {
			timer := time.NewTimer(o.Wait)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-more:
		case <-timeout:
			return b, nil
		case <-l.closing:
			return leat.Batch{}, l.errClosed()
		case <-ctx.Done():
			return leat.Batch{}, ctx.Err()
		}
	}
}

// readShard returns what there is, and what is closed when there may be more.
func (l *Log) readShard(ctx context.Context, id leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, <-chan struct{}, error) {
	if err := l.read(ctx); err != nil {
		return leat.Batch{}, nil, err
	}
	defer l.reading.RUnlock()
	number, s, ok := l.view.Load().find(id)
	if !ok {
		return leat.Batch{}, nil, l.noShard(id)
	}
	var more <-chan struct{}
	if after == s.Head && o.Wait > 0 {
		more = s.bell.listen()
		s = l.view.Load().shards[number]
	}
	switch {
	case after > s.Head:
		return leat.Batch{}, nil, &leat.DivergedError{
			Reason: fmt.Sprintf("read after sequence %d of %s, whose head is %d", after, id, s.Head),
		}
	case after+1 < s.Oldest:
		return leat.Batch{}, nil, &leat.TrimmedError{Shard: id, Oldest: s.Oldest}
	}
	r := shardReader{
		number: number, head: s.Head, limit: o.Limit, all: o.Filter.System && o.Filter.Equal(leat.Filter{System: true}),
		matcher: o.Filter.Matcher(),
		batch:   leat.Batch{Shard: id, Epoch: l.info.Epoch, Next: after, Head: s.Head},
	}
	if o.Filter.Equal(leat.Filter{}) || r.all {
		r.batch.Events = make([]leat.Recorded, 0, min(uint64(o.Limit), s.Head-after, maxReserved))
	}
	err := r.run(ctx, l.store.DB)
	if err != nil {
		return leat.Batch{}, nil, l.readError(number, after+1, err)
	}
	r.batch.Closed = s.Closed && r.batch.Next == s.Head
	return r.batch, more, nil
}

// maxReserved bounds the events that memory is reserved for before any is read:
// a caller may give any Limit.
const maxReserved = 8 << 10

// readError explains a failure to read an event of a shard: that it was trimmed
// meanwhile is not corruption.
func (l *Log) readError(number uint32, seq uint64, err error) error {
	if s := l.view.Load().shards[number]; seq < s.Oldest {
		return &leat.TrimmedError{Shard: s.ID, Oldest: s.Oldest}
	}
	return corruptOr(err)
}

// A shardReader gathers a Batch.
type shardReader struct {
	number  uint32
	head    uint64
	limit   int
	all     bool // every event matches
	matcher *leat.Matcher

	batch    leat.Batch
	examined int // bytes
}

// run reads blocks until the batch is full or the head is reached.
func (r *shardReader) run(ctx context.Context, db *pebble.DB) error {
	if r.batch.Next == r.head {
		return nil
	}
	it, err := db.NewIter(&pebble.IterOptions{
		LowerBound: blockKey(r.number, r.batch.Next+1), UpperBound: blockKey(r.number, r.head+1),
	})
	if err != nil {
		return err
	}
	defer it.Close()
	for it.First(); it.Valid(); it.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := blockAt(it, r.batch.Next+1)
		if err != nil {
			return err
		}
		full, err := r.readBlock(&b)
		if err != nil || full {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return err
	}
	if r.batch.Next < r.head {
		return missing(r.number, r.batch.Next+1)
	}
	return nil
}

// readBlock adds the events of a block to the batch. It reports whether the
// batch is full.
func (r *shardReader) readBlock(b *blockReader) (full bool, err error) {
	for b.more() {
		rec, err := b.next()
		if err != nil {
			return false, err
		}
		if rec.place == 0 && (len(r.batch.Events) >= r.limit || r.examined >= leat.MaxReadBytes) {
			return true, nil
		}
		r.batch.Next = rec.seq
		r.examined += rec.size()
		if !r.all && !r.matcher.Match(text(rec.stream), text(rec.typ)) {
			continue
		}
		e, err := rec.event(r.batch.Shard)
		if err != nil {
			return false, b.corrupt(fmt.Sprintf("event %d: %v", rec.seq, err))
		}
		r.batch.Events = append(r.batch.Events, e)
	}
	return false, nil
}

// blockAt opens the block at an iterator and moves to the event of a sequence,
// which the block must hold.
func blockAt(it *pebble.Iterator, seq uint64) (blockReader, error) {
	value, err := it.ValueAndErr()
	if err != nil {
		return blockReader{}, err
	}
	b, err := openBlock(it.Key(), value)
	if err != nil {
		return blockReader{}, err
	}
	if b.first > seq || b.last < seq {
		return blockReader{}, missing(b.shard, seq)
	}
	return b, b.skipTo(seq)
}

func missing(shard uint32, seq uint64) error {
	return fmt.Errorf("%w: event %d of %s is missing", leat.ErrCorrupt, seq, leat.ShardNumber(int(shard)))
}

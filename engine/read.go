package engine

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/leathq/leat"
)

// ReadShard implements leat.Log. The events share memory in pieces of 16 KiB.
func (l *Log) ReadShard(ctx context.Context, id leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	return l.waitShard(ctx, id, after, o, nil)
}

// ScanShard implements leat.Scanner.
func (l *Log) ScanShard(
	ctx context.Context, id leat.ShardID, after uint64, o leat.ReadOptions, visit func(*leat.Recorded) error,
) (leat.Batch, error) {
	return l.waitShard(ctx, id, after, o, visit)
}

// waitShard reads a shard, and waits for its first event if need be.
func (l *Log) waitShard(
	ctx context.Context, id leat.ShardID, after uint64, o leat.ReadOptions, visit func(*leat.Recorded) error,
) (leat.Batch, error) {
	if o.Filter.Where != "" {
		return leat.Batch{}, fmt.Errorf("evaluate the filter %q: %w", o.Filter.Where, leat.ErrUnsupported)
	}
	if o.Limit <= 0 {
		o.Limit = leat.DefaultReadLimit
	}
	var timeout <-chan time.Time
	for {
		b, more, err := l.readShard(ctx, id, after, o, visit)
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
func (l *Log) readShard(
	ctx context.Context, id leat.ShardID, after uint64, o leat.ReadOptions, visit func(*leat.Recorded) error,
) (leat.Batch, <-chan struct{}, error) {
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
		log: l, number: number, head: s.Head, limit: o.Limit, visit: visit,
		all:     o.Filter.System && o.Filter.Equal(leat.Filter{System: true}),
		matcher: o.Filter.Matcher(),
		batch:   leat.Batch{Shard: id, Epoch: l.info.Epoch, Next: after, Head: s.Head},
	}
	if visit == nil && (o.Filter.Equal(leat.Filter{}) || r.all) {
		r.batch.Events = make([]leat.Recorded, 0, min(uint64(o.Limit), s.Head-after, maxReserved))
	}
	if err := r.run(ctx); r.stopped != nil {
		return r.batch, nil, r.stopped
	} else if err != nil {
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
	log     *Log
	number  uint32
	head    uint64
	limit   int
	all     bool // every event matches
	matcher *leat.Matcher
	visit   func(*leat.Recorded) error // takes the events, unless it is nil
	stopped error                      // of visit

	batch    leat.Batch
	matched  int
	examined int // bytes

	gift  gift          // memory of batch.Events
	event leat.Recorded // that is visited
	attrs [64]leat.Attr // of its Meta
}

// run reads blocks until the batch is full or the head is reached.
func (r *shardReader) run(ctx context.Context) error {
	if r.batch.Next == r.head {
		return nil
	}
	blocks := blockCursor{log: r.log, memory: r.log.index.memory.Load(), shard: r.number}
	defer blocks.close()
	for r.batch.Next < r.head {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := blocks.next(r.batch.Next + 1)
		if err != nil {
			return err
		}
		full, err := r.readBlock(b)
		if err != nil || full {
			return err
		}
	}
	return nil
}

// readBlock adds the events of a block to the batch. It reports whether the
// batch is full.
func (r *shardReader) readBlock(b *block) (full bool, err error) {
	for i := int(r.batch.Next + 1 - b.first); i < b.len(); i++ {
		raw := b.at(i)
		beginsAppend := binary.LittleEndian.Uint32(raw[4:]) == 0
		if beginsAppend && (r.matched >= r.limit || r.examined >= leat.MaxReadBytes) {
			return true, nil
		}
		seq := b.first + uint64(i)
		if r.wants(raw) {
			if err := r.take(seq, raw); err != nil {
				return false, err
			}
			r.matched++
		}
		r.batch.Next = seq
		r.examined += len(raw) - recordHeaderSize
	}
	return false, nil
}

// wants reports whether the event at raw matches the filter.
func (r *shardReader) wants(raw []byte) bool {
	if r.all {
		return true
	}
	stream, p := nextText(raw, recordHeaderSize)
	typ, _ := nextText(raw, p)
	return r.matcher.Match(stream, typ)
}

func (r *shardReader) take(seq uint64, raw []byte) error {
	if r.visit != nil {
		decodeEvent(&r.event, r.batch.Shard, seq, raw, r.attrs[:])
		r.stopped = r.visit(&r.event)
		return r.stopped
	}
	r.batch.Events = append(r.batch.Events, leat.Recorded{})
	r.gift.event(&r.batch.Events[len(r.batch.Events)-1], r.batch.Shard, seq, raw)
	return nil
}

package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/leathq/leat"
)

// sweepBlocks is how many blocks are removed at a time.
const sweepBlocks = 256

// sweepAll removes the blocks and runs of what is trimmed, durably so, from all
// shards. It may be interrupted anywhere and goes on from there.
func (l *Log) sweepAll(ctx context.Context) error {
	l.sweeping.Lock()
	defer l.sweeping.Unlock()
	for number, s := range l.view.Load().shards {
		done := s.Oldest == 1
		for !done {
			var err error
			if done, err = l.sweep(ctx, uint32(number), s.Oldest); err != nil {
				return fmt.Errorf("remove what is trimmed of %s: %w", s.ID, corruptOr(err))
			}
		}
	}
	return nil
}

// sweep removes some blocks, and the runs in them, of what lies below oldest in
// a shard. It reports whether nothing is left to remove.
func (l *Log) sweep(ctx context.Context, shard uint32, oldest uint64) (done bool, err error) {
	if err := l.read(ctx); err != nil {
		return false, err
	}
	defer l.reading.RUnlock()
	if err := l.fuse.err(); err != nil {
		return false, err
	}
	swept, err := l.store.value(sweptKey(shard))
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		swept = make([]byte, 8)
	case err != nil:
		return false, err
	case len(swept) != 8:
		return false, fmt.Errorf("%w: swept %x", leat.ErrCorrupt, swept)
	}
	from := binary.LittleEndian.Uint64(swept)
	if from >= oldest {
		return true, nil
	}
	b := l.store.NewBatch()
	defer b.Close()
	to, err := l.sweepRuns(b, shard, from, oldest)
	if err != nil {
		return false, err
	}
	// A block that also holds kept events stays: its key is not below oldest.
	if err := b.DeleteRange(blockKey(shard, from), blockKey(shard, to), nil); err != nil {
		return false, err
	}
	set(b, sweptKey(shard), binary.LittleEndian.AppendUint64(nil, to))
	return to == oldest, l.write(func() error { return l.store.Apply(b, pebble.NoSync) })
}

// sweepRuns deletes the runs that lie below oldest in the next blocks from a
// sequence on, and returns the sequence up to which that is done.
func (l *Log) sweepRuns(batch *pebble.Batch, shard uint32, from, oldest uint64) (uint64, error) {
	it, err := l.store.NewIter(&pebble.IterOptions{LowerBound: blockKey(shard, from), UpperBound: blockKey(shard+1, 0)})
	if err != nil {
		return 0, err
	}
	defer it.Close()
	it.First()
	for range sweepBlocks {
		if !it.Valid() {
			return oldest, it.Error()
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return 0, err
		}
		b, err := openBlock(it.Key(), value)
		if err != nil {
			return 0, err
		}
		if err := deleteRuns(batch, &b, oldest); err != nil {
			return 0, err
		}
		if b.last >= oldest {
			return oldest, nil
		}
		from = b.last + 1
		it.Next()
	}
	return from, nil
}

// deleteRuns deletes the runs of a block that lie below oldest as a whole.
func deleteRuns(batch *pebble.Batch, b *blockReader, oldest uint64) error {
	var last record // of the run
	end := func() {
		if last.seq > 0 && last.seq < oldest {
			_ = batch.Delete(appendRunKey(nil, text(last.stream), last.version), nil) // fails only for indexed batches
		}
	}
	for b.more() && b.seq <= oldest {
		r, err := b.next()
		if err != nil {
			return err
		}
		if string(r.stream) != string(last.stream) {
			end()
		}
		last = r
	}
	end()
	return nil
}

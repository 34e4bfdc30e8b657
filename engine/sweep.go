package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/leathq/leat"
)

// What is trimmed of a shard is removed in two ways. A file of blocks goes at
// once when all its blocks are trimmed, but not before the store has their index,
// which keeps IDs and heads for good. The chunks of their runs lie scattered among
// those that are kept; it takes a look at all to remove them, so that waits until
// a quarter of what is recorded is trimmed.

// A swept is how far a shard is swept: what lies below these sequences is gone.
type swept struct{ blocks, runs uint64 }

func (s *store) readSwept(shard uint32) (swept, error) {
	value, err := s.value(sweptKey(shard))
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return swept{1, 1}, nil
	case err != nil:
		return swept{}, corruptOr(err)
	case len(value) == 8: // version 1 of the format
		n := binary.LittleEndian.Uint64(value)
		return swept{n, n}, nil
	case len(value) != 16:
		return swept{}, fmt.Errorf("%w: swept %x", leat.ErrCorrupt, value)
	}
	return swept{binary.LittleEndian.Uint64(value), binary.LittleEndian.Uint64(value[8:])}, nil
}

func (w swept) save(b *pebble.Batch, shard uint32) {
	value := binary.LittleEndian.AppendUint64(nil, w.blocks)
	set(b, sweptKey(shard), binary.LittleEndian.AppendUint64(value, w.runs))
}

// sweep removes what is trimmed. It may be interrupted anywhere and goes on from
// there.
func (l *Log) sweep(ctx context.Context) error {
	if err := l.sweepBlocks(ctx); err != nil {
		return err
	}
	return l.sweepRuns(ctx)
}

// sweepBlocks removes the files of blocks that lie below the oldest sequence kept
// of their shards, and where they were, as far as the store has their index.
func (l *Log) sweepBlocks(ctx context.Context) error {
	l.sweeping.Lock()
	defer l.sweeping.Unlock()
	if l.store.outlet.Load() != nil {
		return nil // a backup is made, and sweeps afterwards
	}
	if err := l.read(ctx); err != nil {
		return err
	}
	defer l.reading.RUnlock()
	b := l.store.NewBatch()
	defer b.Close()
	m := l.index.memory.Load()
	for number, s := range l.view.Load().shards {
		if s.Oldest == 1 || number >= len(m.covered) {
			continue
		}
		done, err := l.store.readSwept(uint32(number))
		if err != nil {
			return fmt.Errorf("remove what is trimmed of %s: %w", s.ID, err)
		}
		to := min(s.Oldest, m.covered[number]+1)
		if to <= done.blocks {
			continue
		}
		// What is known of a block that also holds kept events stays: its key is not below.
		if err := b.DeleteRange(blockKey(uint32(number), 0), blockKey(uint32(number), to), nil); err != nil {
			return err
		}
		done.blocks = to
		done.save(b, uint32(number))
	}
	if !b.Empty() {
		if err := l.apply(b); err != nil {
			return err
		}
	}
	return l.files.removeBefore(m.mark.file, l.view.Load().oldest)
}

// sweepRuns removes the runs that lie below the oldest sequence kept of their
// shards, if it pays.
func (l *Log) sweepRuns(ctx context.Context) error {
	l.sweepingRuns.Lock()
	defer l.sweepingRuns.Unlock()
	if err := l.read(ctx); err != nil {
		return err
	}
	view, pays, err := l.staleRuns()
	l.reading.RUnlock()
	from := []byte{runPrefix}
	for err == nil && pays && from != nil {
		from, err = l.sweepSomeRuns(ctx, view, from)
	}
	if err != nil || !pays {
		return err
	}
	return l.runsSwept(ctx, view)
}

// staleRuns reports whether so much was trimmed that a sweep pays.
func (l *Log) staleRuns() (*view, bool, error) {
	v := l.view.Load()
	var stale, kept uint64
	for number, s := range v.shards {
		kept += s.Head + 1 - s.Oldest
		if s.Oldest == 1 {
			continue
		}
		done, err := l.store.readSwept(uint32(number))
		if err != nil {
			return nil, false, err
		}
		stale += s.Oldest - min(s.Oldest, done.runs)
	}
	return v, stale > 0 && stale >= kept/4, nil
}

// sweptAtATime is how many chunks are looked at before others get their turn.
const sweptAtATime = 256 << 10

// sweepSomeRuns removes the stale ones of the next runs, and returns where to go
// on, nil at the end.
func (l *Log) sweepSomeRuns(ctx context.Context, v *view, from []byte) ([]byte, error) {
	if err := l.read(ctx); err != nil {
		return nil, err
	}
	defer l.reading.RUnlock()
	if err := l.fuse.err(); err != nil {
		return nil, err
	}
	it, err := l.store.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: []byte{runPrefix + 1}})
	if err != nil {
		return nil, corruptOr(err)
	}
	defer it.Close()
	w := &tableWriter{store: l.store, name: "sweep"}
	var runs []run
	kept := func(r run) bool { return r.seq >= v.oldest(r.shard) }
	it.First()
	for n := 0; it.Valid() && n < sweptAtATime && w.err == nil; n++ {
		value, err := it.ValueAndErr()
		if err != nil {
			return nil, errors.Join(corruptOr(err), w.remove())
		}
		// What cannot be read is for Check to find.
		if runs, err = parseChunk(runs[:0], it.Key(), value); err == nil && !slices.ContainsFunc(runs, kept) {
			w.delete(it.Key())
		}
		it.Next()
	}
	if w.cut(); w.err == nil {
		w.err = it.Error()
	}
	if w.err == nil && len(w.paths) > 0 {
		w.err = l.store.ingest(w.paths)
	}
	if w.err != nil {
		return nil, errors.Join(corruptOr(w.err), w.remove())
	}
	if !it.Valid() {
		return nil, nil
	}
	return append([]byte(nil), it.Key()...), nil
}

// runsSwept notes that the runs below the oldest sequences of a view are gone.
func (l *Log) runsSwept(ctx context.Context, v *view) error {
	l.sweeping.Lock()
	defer l.sweeping.Unlock()
	if err := l.read(ctx); err != nil {
		return err
	}
	defer l.reading.RUnlock()
	b := l.store.NewBatch()
	defer b.Close()
	for number, s := range v.shards {
		if s.Oldest == 1 {
			continue
		}
		done, err := l.store.readSwept(uint32(number))
		if err != nil {
			return err
		}
		done.runs = s.Oldest
		done.save(b, uint32(number))
	}
	return l.apply(b)
}

// apply applies a batch to the store. It is not durable yet.
func (l *Log) apply(b *pebble.Batch) error {
	if err := l.fuse.err(); err != nil {
		return err
	}
	err := l.store.apply(b)
	if err != nil {
		l.fuse.blow(err)
	}
	return err
}

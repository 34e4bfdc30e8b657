package engine

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/leathq/leat"
)

// Repair rebuilds the index of a log from its blocks. What the blocks do not
// tell it keeps: the IDs and the versions of streams of events that were trimmed.
// It then checks the log, as Check does, and returns that report.
//
// Blocks cannot be rebuilt: when one is damaged, the error is leat.ErrCorrupt,
// names it, and nothing was changed. Interrupted, Repair leaves a log that Open
// goes on with. It calls progress, unless that is nil, with the number of events
// done so far and in total; it goes over them three times. The log must not be
// open elsewhere.
func Repair(ctx context.Context, dir string, o Options, progress func(done, total uint64)) (Report, error) {
	o = o.withDefaults()
	if progress == nil {
		progress = func(uint64, uint64) {}
	}
	f := newFuse(o.Logger)
	s, err := openExisting(dir, o, f, writeStore)
	if err != nil {
		return Report{}, fmt.Errorf("repair log: %w", err)
	}
	r := repair{store: s, o: o, index: newIndex(s.DB, o.GenerationEvents, o.CacheBytes/8), progress: progress}
	err = errors.Join(r.run(ctx), f.err())
	if err = errors.Join(err, s.close()); err != nil {
		return Report{}, fmt.Errorf("repair log in %s: %w", dir, err)
	}
	return Check(ctx, dir, o, func(done, total uint64) { progress(2*total+done, 3*total) })
}

type repair struct {
	store    *store
	o        Options
	index    *index
	tails    []*tail
	progress func(done, total uint64)

	done, total uint64 // events
}

func (r *repair) run(ctx context.Context) error {
	if err := r.store.upgrade(r.o); err != nil {
		return err
	}
	if err := r.checkBlocks(ctx); err != nil {
		return err
	}
	if err := r.removeIndex(ctx); err != nil {
		return err
	}
	return r.rebuild(ctx)
}

// checkBlocks reads all blocks.
func (r *repair) checkBlocks(ctx context.Context) error {
	var err error
	if r.tails, err = r.store.shardsAtEnd(r.o); err != nil {
		return err
	}
	for _, t := range r.tails {
		r.total += 3 * (t.Head + 1 - t.Oldest)
	}
	p, err := r.store.newReplay(func(b *block, _ extent) error { return r.passed(ctx, b) })
	if err != nil {
		return err
	}
	clear(p.covered)
	return p.read(r.store, r.o, (*blockFiles).first)
}

// passed notes that the events of a block are done once more.
func (r *repair) passed(ctx context.Context, b *block) error {
	if oldest := r.tails[b.shard].Oldest; b.last >= oldest {
		r.done += b.last + 1 - max(b.first, oldest)
		r.progress(r.done, r.total)
	}
	return ctx.Err()
}

// removeIndex removes what the blocks tell. Without it, and the note of what it
// covers, Open would rebuild it too.
func (r *repair) removeIndex(ctx context.Context) error {
	b := r.store.NewBatch()
	defer b.Close()
	for _, prefix := range []byte{coverPrefix, blockPrefix, runPrefix} {
		if err := b.DeleteRange([]byte{prefix, 0}, []byte{prefix + 1}, nil); err != nil { // markKey stays
			return err
		}
	}
	if err := r.store.applySync(b); err != nil {
		return err
	}
	for _, prefix := range []byte{idPrefix, uuidPrefix} {
		if err := r.removeIDs(ctx, prefix); err != nil {
			return err
		}
	}
	return r.removeHeads(ctx)
}

// removeHeads removes the runs in heads, and heads that say nothing, once the IDs
// have mended what they can.
func (r *repair) removeHeads(ctx context.Context) error {
	return r.edit(ctx, headPrefix, func(b *pebble.Batch, key, value []byte) error {
		version, runs, err := parseVersion(value)
		switch {
		case err != nil:
			return b.Delete(key, nil)
		case len(runs) > 0:
			set(b, key, binary.AppendUvarint(nil, version))
		}
		return nil
	})
}

// removeIDs removes the IDs of events that are kept, and what is no ID. Where the
// ID of an event that is gone says more of its stream than the head does, the
// head follows.
func (r *repair) removeIDs(ctx context.Context, prefix byte) error {
	return r.edit(ctx, prefix, func(b *pebble.Batch, key, value []byte) error {
		stream, _, err := parseIDKey(key)
		k, valueErr := parseKnown(value)
		if err != nil || valueErr != nil || int(k.shard) >= len(r.tails) || k.seq >= r.tails[k.shard].Oldest {
			return b.Delete(key, nil)
		}
		t := newTarget(stream)
		version, err := r.index.storedVersion(&t)
		if errors.Is(err, leat.ErrCorrupt) {
			version, err = 0, nil
		}
		if err == nil && version < k.version {
			set(b, appendHeadKey(nil, stream), binary.AppendUvarint(nil, k.version))
			err = r.store.apply(b)
			b.Reset()
		}
		return err
	})
}

// editBytes is how much edit writes at a time.
const editBytes = 4 << 20

// edit goes over all pairs of a prefix with a batch, and applies it.
func (r *repair) edit(ctx context.Context, prefix byte, do func(b *pebble.Batch, key, value []byte) error) error {
	it, err := r.store.NewIter(&pebble.IterOptions{LowerBound: []byte{prefix}, UpperBound: []byte{prefix + 1}})
	if err != nil {
		return corruptOr(err)
	}
	defer it.Close()
	b := r.store.NewBatch()
	defer func() { b.Close() }()
	for it.First(); it.Valid(); it.Next() {
		value, err := it.ValueAndErr()
		if err == nil {
			err = cmp.Or(ctx.Err(), do(b, it.Key(), value))
		}
		if err != nil {
			return corruptOr(err)
		}
		if b.Len() < editBytes {
			continue
		}
		if err := r.store.apply(b); err != nil {
			return err
		}
		b.Reset()
	}
	if err := it.Error(); err != nil {
		return corruptOr(err)
	}
	return r.store.applySync(b)
}

// rebuild indexes all blocks.
func (r *repair) rebuild(ctx context.Context) error {
	ix := &indexer{store: r.store, index: r.index, progress: func(b *block) error { return r.passed(ctx, b) }}
	p, err := r.store.newReplay(ix.addBlock)
	if err != nil {
		return err
	}
	files := newBlockFiles(r.store.dir, r.o, r.store.fuse)
	err = ix.replay(files, p)
	if err == nil {
		err = ix.addRead(p)
	}
	return errors.Join(err, files.close())
}

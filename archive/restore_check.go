package archive

import (
	"context"
	"errors"
	"fmt"

	"github.com/leathq/leat"
)

// readBack reads from the log what was imported, and compares the tree of what it
// returns with the signed ones. That is where each event is proven: the bytes of a
// segment are those that its manifest names, but what was made of them on the way
// into the log and out of it again has to make the same tree.
func (r *restore) readBack(ctx context.Context, imported <-chan portion) error {
	b := backReader{restore: r}
	for p := range imported {
		if err := b.read(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// A backReader reads shards again, one after the other.
type backReader struct {
	*restore
	hasher leafHasher
	shard  leat.ShardID
	tree   edge   // of what was read of it
	signed uint64 // events of the last signed tree that was the same
}

// read reads on to the end of a portion.
func (b *backReader) read(ctx context.Context, p portion) error {
	if b.shard != p.shard.ID {
		b.shard, b.tree, b.signed = p.shard.ID, edge{}, 0
	}
	for b.tree.size < p.last {
		before := b.tree.size
		if err := scan(ctx, b.log, b.shard, before, p.last, b.visit); err != nil {
			return err
		}
		if b.tree.size == before {
			return fmt.Errorf("read %s again: %w: it ends at %d instead of %d", b.shard, leat.ErrCorrupt, before, p.last)
		}
		b.advance(int(b.tree.size - before))
	}
	if !p.ends() {
		return nil
	}
	if b.tree.size != p.last || encodeHash(b.tree.root()) != p.link.Tree.Root {
		return b.blame(ctx, p.link)
	}
	b.signed = p.last
	return nil
}

func (b *backReader) visit(e *leat.Recorded) error {
	if e.Seq != b.tree.size+1 {
		return fmt.Errorf("read %s again: %w: sequence %d comes after %d", b.shard, leat.ErrCorrupt, e.Seq, b.tree.size)
	}
	b.tree.add(b.hasher.hash(e))
	return nil
}

// blame finds out why the tree of what the log returned is not that of a link: it
// proves the segments from the last good tree on.
func (b *backReader) blame(ctx context.Context, last link) error {
	a := b.archive
	for l, err := range a.chainFrom(ctx, b.shard, b.signed+1, last) {
		if err == nil && l.Segment != nil {
			err = a.proveSegment(ctx, l)
		}
		if errors.Is(err, leat.ErrCorrupt) {
			err = fmt.Errorf("%w; its events are in the log by now, so begin anew with another log when it is put back", err)
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("read %s again: %w: events %d to %d have another tree root than the archive has signed, and the archive is whole: the log does not return what was imported",
		b.shard, leat.ErrCorrupt, b.signed+1, last.Total.Events)
}

// proveSegment compares each event of the segment that a link adds with its leaf hash,
// and their tree with the signed one.
func (a *Archive) proveSegment(ctx context.Context, l link) error {
	tree, err := a.edgeBefore(ctx, l)
	if err != nil {
		return err
	}
	r, err := a.segment(ctx, l.Shard, *l.Segment)
	if err != nil {
		return err
	}
	defer r.close()
	tree = tree.clone()
	var e leat.Recorded
	for range l.Segment.Events {
		leaf, err := r.borrow(&e)
		if err != nil {
			return err
		}
		tree.add(leaf)
	}
	if encodeHash(tree.root()) != l.Tree.Root {
		return corrupt(a.object(manifestName(l.Shard, l.Number)), "has a tree that its events do not make")
	}
	return nil
}

// scan calls visit for the next events of a shard, which holds them through a
// sequence at least.
func scan(ctx context.Context, log leat.Log, shard leat.ShardID, after, through uint64, visit func(*leat.Recorded) error) error {
	o := leat.ReadOptions{Filter: leat.Filter{System: true}, Limit: int(min(through-after, readLimit))}
	if s, ok := log.(leat.Scanner); ok {
		_, err := s.ScanShard(ctx, shard, after, o, visit)
		if !errors.Is(err, leat.ErrUnsupported) {
			return err
		}
	}
	b, err := log.ReadShard(ctx, shard, after, o)
	for i := 0; err == nil && i < len(b.Events); i++ {
		err = visit(&b.Events[i])
	}
	return err
}

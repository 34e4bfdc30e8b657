package archive

import (
	"context"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/leathq/leat"
)

// Prove returns an event of a shard and the proof that the checkpoint of so many
// events speaks for it; the newest checkpoint when size is 0. The proof holds
// the event: clear Leaf to hand out a proof without. It reads manifests and
// segments, as many as the logarithm of their number. An event or checkpoint
// that the archive does not hold is [leat.ErrNotFound].
func (a *Archive) Prove(ctx context.Context, shard leat.ShardID, seq, size uint64) (*Proof, leat.Recorded, error) {
	proof, e, err := a.prove(ctx, shard, seq, size)
	if err != nil {
		return nil, leat.Recorded{}, fmt.Errorf("prove sequence %d of %s: %w", seq, shard, err)
	}
	return proof, e, nil
}

func (a *Archive) prove(ctx context.Context, shard leat.ShardID, seq, size uint64) (*Proof, leat.Recorded, error) {
	t, c, err := a.treeOf(ctx, shard, size)
	if err != nil {
		return nil, leat.Recorded{}, err
	}
	if seq == 0 || seq > c.Size {
		return nil, leat.Recorded{}, fmt.Errorf("%w: the checkpoint covers sequences 1 to %d", leat.ErrNotFound, c.Size)
	}
	e, err := a.event(ctx, shard, seq, t.tail)
	if err != nil {
		return nil, leat.Recorded{}, err
	}
	p := &Proof{Index: seq - 1, Checkpoint: c.Note, Leaf: appendLeaf(nil, &e)}
	if p.Hashes, err = tlog.ProveRecord(int64(c.Size), int64(seq-1), t); err != nil {
		return nil, leat.Recorded{}, err
	}
	var leaves leafHasher
	if tlog.CheckRecord(p.Hashes, int64(c.Size), c.Root, int64(seq-1), leaves.hash(&e)) != nil {
		return nil, leat.Recorded{}, a.inconsistent(shard)
	}
	return p, e, nil
}

// ProveConsistency returns the proof that the checkpoint of so many events begins
// with all that an earlier one of the same shard covers; the newest one when size
// is 0. Whether the earlier one is signed its reader has checked, see
// ParseCheckpoints. When the archive does not go on from it, or is damaged, the
// error is [leat.ErrCorrupt]; what it does not hold is [leat.ErrNotFound].
func (a *Archive) ProveConsistency(ctx context.Context, old *Checkpoint, size uint64) (*ConsistencyProof, error) {
	p, err := a.proveConsistency(ctx, old, size)
	if err != nil {
		return nil, fmt.Errorf("prove that %s goes on from %d events: %w", old.Shard, old.Size, err)
	}
	return p, nil
}

func (a *Archive) proveConsistency(ctx context.Context, old *Checkpoint, size uint64) (*ConsistencyProof, error) {
	if old.Log != a.desc.Log {
		return nil, fmt.Errorf("%w: the checkpoint is of log %s, the archive of log %s", leat.ErrNotFound, old.Log, a.desc.Log)
	}
	t, c, err := a.treeOf(ctx, old.Shard, size)
	if err != nil {
		return nil, err
	}
	if old.Size > c.Size {
		return nil, fmt.Errorf("%w: the later checkpoint covers %d events", leat.ErrNotFound, c.Size)
	}
	p := &ConsistencyProof{Old: old.Size, Checkpoint: c.Note}
	if old.Size > 0 {
		if p.Hashes, err = tlog.ProveTree(int64(c.Size), int64(old.Size), t); err != nil {
			return nil, err
		}
	}
	if checkTree(p.Hashes, c, old) != nil {
		return nil, fmt.Errorf("the archive of %s of log %s is %w: it does not begin with the %d events that the earlier checkpoint was signed for",
			old.Shard, a.desc.Log, leat.ErrCorrupt, old.Size)
	}
	return p, nil
}

// ParseCheckpoints reads signed checkpoints that follow each other in a text, as
// they were kept elsewhere, and verifies each with the keys that count for this
// archive.
func (a *Archive) ParseCheckpoints(text []byte) ([]*Checkpoint, error) {
	return parseCheckpoints(text, a.keys)
}

// inconsistent is what went wrong when each object read is whole and signed, and
// they do not make one tree.
func (a *Archive) inconsistent(shard leat.ShardID) error {
	return fmt.Errorf("the archive of %s of log %s is %w: its segments and the trees in its manifests differ; leat archive verify finds where",
		shard, a.desc.Log, leat.ErrCorrupt)
}

// event returns an event that is archived.
func (a *Archive) event(ctx context.Context, shard leat.ShardID, seq uint64, last link) (leat.Recorded, error) {
	l, err := a.find(ctx, shard, seq, last)
	if err != nil {
		return leat.Recorded{}, err
	}
	return a.eventIn(ctx, shard, *l.Segment, seq)
}

// eventIn returns an event of a segment.
func (a *Archive) eventIn(ctx context.Context, shard leat.ShardID, s segment, seq uint64) (leat.Recorded, error) {
	r, err := a.segment(ctx, shard, s)
	if err != nil {
		return leat.Recorded{}, err
	}
	defer r.close()
	for {
		events, err := r.read(readEvents)
		if err != nil {
			return leat.Recorded{}, err
		}
		if len(events) == 0 {
			return leat.Recorded{}, corrupt(r.object, "ends before sequence %d", seq)
		}
		if last := events[len(events)-1].Seq; seq <= last {
			return events[len(events)-1-int(last-seq)], nil
		}
	}
}

// A treeReader reads the hashes of a shard's tree for package tlog.
type treeReader struct {
	ctx     context.Context
	archive *Archive
	shard   leat.ShardID
	tail    link // of the tree that proofs are about

	// The segment read last: hashes of one tree lie side by side.
	first  uint64
	leaves []tlog.Hash
}

// treeOf returns the tree of so many events and the checkpoint about it, of the
// newest when size is 0.
func (a *Archive) treeOf(ctx context.Context, shard leat.ShardID, size uint64) (*treeReader, *Checkpoint, error) {
	tail, err := a.tail(ctx, shard)
	if err == nil && tail.Number == 0 {
		err = fmt.Errorf("%w: the archive of log %s has no such shard", leat.ErrNotFound, a.desc.Log)
	}
	if err == nil && size > tail.Total.Events {
		err = fmt.Errorf("%w: no checkpoint covers %d events yet, the newest covers %d", leat.ErrNotFound, size, tail.Total.Events)
	}
	if err == nil && size > 0 && size < tail.Total.Events {
		tail, err = a.find(ctx, shard, size, tail)
		if err == nil && tail.Total.Events != size {
			err = fmt.Errorf("%w: no checkpoint covers %d events, the ones nearest to it cover %d and %d",
				leat.ErrNotFound, size, tail.Segment.First-1, tail.Total.Events)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	c, err := tail.verify(a.object(manifestName(shard, tail.Number)), a.keys)
	if err != nil {
		return nil, nil, err
	}
	return &treeReader{ctx: ctx, archive: a, shard: shard, tail: tail}, c, nil
}

// ReadHashes implements [tlog.HashReader].
func (t *treeReader) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		var err error
		if hashes[i], err = t.subtree(level, uint64(n)<<level); err != nil {
			return nil, err
		}
	}
	return hashes, nil
}

// subtree returns the root of the complete subtree with the leaves from x up to
// x+2^level. Those up to where a segment begins stand in the edge before that
// segment, the others in the segment: docs/format-archive.md tells why.
func (t *treeReader) subtree(level int, x uint64) (tlog.Hash, error) {
	if h, ok, err := t.onEdge(t.tail, level, x); ok || err != nil {
		return h, err
	}
	y := x + 1<<level
	l, err := t.archive.find(t.ctx, t.shard, y, t.tail)
	if err != nil {
		return tlog.Hash{}, err
	}
	if h, ok, err := t.onEdge(l, level, x); ok || err != nil {
		return h, err
	}
	before, err := t.archive.link(t.ctx, t.shard, l.Number-1)
	if err != nil {
		return tlog.Hash{}, err
	}
	if before.Total.Events != l.Segment.First-1 {
		return tlog.Hash{}, corrupt(t.archive.object(manifestName(t.shard, l.Number)), "does not follow %s", manifestName(t.shard, before.Number))
	}
	if err := t.readLeaves(*l.Segment); err != nil {
		return tlog.Hash{}, err
	}
	part := edge{}
	if c := before.Total.Events; c > x {
		e, err := before.edge()
		if err != nil {
			return tlog.Hash{}, err
		}
		part.size = c - x
		part.hashes = e.hashes[len(e.hashes)-bits.OnesCount64(part.size):]
		part = part.clone()
	}
	for part.size < 1<<level {
		part.add(t.leaves[x+part.size+1-t.first])
	}
	return part.root(), nil
}

// onEdge returns the root of a subtree when it stands on the edge after a
// manifest, so that no segment is needed.
func (t *treeReader) onEdge(l link, level int, x uint64) (tlog.Hash, bool, error) {
	size := l.Total.Events
	if size>>level&1 == 0 || size>>(level+1)<<(level+1) != x {
		return tlog.Hash{}, false, nil
	}
	e, err := l.edge()
	if err != nil {
		return tlog.Hash{}, false, err
	}
	return e.hashes[bits.OnesCount64(x)], true, nil
}

// readLeaves reads the leaf hashes of a segment.
func (t *treeReader) readLeaves(s segment) error {
	if t.first == s.First {
		return nil
	}
	r, err := t.archive.segment(t.ctx, t.shard, s)
	if err != nil {
		return err
	}
	defer r.close()
	if t.leaves, err = r.leafHashes(); err != nil {
		return err
	}
	t.first = s.First
	return nil
}

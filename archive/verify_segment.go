package archive

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/leathq/leat"
)

// A segmentJob is a segment to verify.
type segmentJob struct {
	chain  *verifiedChain
	link   link       // adds the segment
	before *link      // the one before it, nil when that is damaged
	log    leat.Shard // what the log that is compared has of the shard
}

// segment verifies one segment: that it is what its manifest says, and that its
// events make the tree.
func (v *verification) segment(ctx context.Context, j segmentJob, w *streamWriter) error {
	shard, desc := j.chain.shard, *j.link.Segment
	meaning := fmt.Sprintf("sequences %d to %d of %s cannot be read from it; put back a copy with the SHA-256 %s, or archive them again from a log that has them",
		desc.First, desc.Last, shard, desc.SHA256)
	object := v.archive.object(desc.Object)
	data, err := v.archive.get(ctx, object)
	var r *segmentReader
	if err == nil {
		r, err = readSegment(object, data, shard, desc)
	}
	if err != nil {
		j.chain.skip(span{desc.First, desc.Last})
		return v.fault(object, err, meaning)
	}
	defer r.close()
	streams, err := parseFilter(data[desc.Filter.Offset:][:desc.Filter.Size])
	if err != nil {
		err := corrupt(object, "has no Bloom filter of streams at %d: %v", desc.Filter.Offset, err)
		return v.fault(object, err, "the events are whole, and who looks for a stream cannot find them")
	}
	overlooked, sums := "", v.summer(j.chain, desc.First)
	var grown *edge // the tree as it grows
	if j.before != nil {
		e, err := j.before.edge()
		if err != nil {
			return err // it was checked when it was read
		}
		e = e.clone()
		grown = &e
	}
	c := comparison{log: v.options.Log, shard: shard, oldest: j.log.Oldest, head: j.log.Head}
	for e := (leat.Recorded{}); r.next <= desc.Last; {
		leaf, err := r.borrow(&e)
		if err == nil && r.next%readEvents == 0 {
			err = ctx.Err()
		}
		if err != nil {
			j.chain.skip(span{r.next, desc.Last})
			return v.fault(object, err, meaning)
		}
		if grown != nil {
			grown.add(leaf)
		}
		sums.event(e.Seq, leaf)
		if overlooked == "" && !streams.mayHold(e.Stream) {
			overlooked = strings.Clone(e.Stream)
		}
		if err := w.add(&e, j.chain.index); err != nil {
			return err
		}
		if err := c.event(ctx, &e, leaf); err != nil {
			return err
		}
	}
	sums.flush()
	if grown != nil && encodeHash(grown.root()) != j.link.Tree.Root {
		v.problem(v.archive.object(manifestName(shard, j.link.Number)), "has a tree that its events do not make",
			"the events are whole, but no proof about them holds")
	}
	if overlooked != "" {
		v.problem(object, fmt.Sprintf("has a Bloom filter without the stream %s, of which it holds events", overlooked),
			"the events are whole, and who looks for the stream does not find them here")
	}
	if c.differs != "" {
		v.problem(object, c.differs, "one of the two was changed; the archive's is signed")
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Segments++
	v.report.Events += desc.Events
	v.report.Bytes += desc.Size
	v.report.Compared += c.compared
	return nil
}

// A comparison holds events of a segment against those that the log still keeps.
type comparison struct {
	log          leat.Log // nil when there is none
	shard        leat.ShardID
	oldest, head uint64

	pending  []leat.Recorded
	leaves   leafHasher
	compared uint64
	differs  string // what is the matter with the first that differs
}

func (c *comparison) event(ctx context.Context, e *leat.Recorded, leaf [32]byte) error {
	if c.log == nil || c.differs != "" || e.Seq < c.oldest || e.Seq > c.head {
		return nil
	}
	if len(c.pending) == 0 {
		b, err := c.log.ReadShard(ctx, c.shard, e.Seq-1, leat.ReadOptions{Filter: leat.Filter{System: true}, Limit: readLimit})
		var trimmed *leat.TrimmedError
		if errors.As(err, &trimmed) {
			c.oldest = trimmed.Oldest
			return nil
		}
		if err != nil {
			return err
		}
		if c.pending = b.Events; len(c.pending) == 0 {
			return fmt.Errorf("read %s after %d: the log is %w: it returned no events", c.shard, e.Seq-1, leat.ErrCorrupt)
		}
	}
	other := &c.pending[0]
	c.pending = c.pending[1:]
	c.compared++
	switch {
	case other.Seq != e.Seq || c.leaves.hash(other) != leaf:
		c.differs = fmt.Sprintf("holds another event of sequence %d, %s, than the log", e.Seq, e.ID)
	case other.Commit != e.Commit:
		c.differs = fmt.Sprintf("says the append of sequence %d begins at %d, the log says at %d", e.Seq, e.Commit, other.Commit)
	}
	return nil
}

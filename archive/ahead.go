package archive

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/leathq/leat"
)

// A hashedBatch is a batch of a shard and the leaf hashes of its events.
type hashedBatch struct {
	events []leat.Recorded
	leaves [][32]byte
	err    error
}

// readAhead yields the events of a shard after a sequence, up to its head at
// least. It reads and hashes a batch while the one before is written, because an
// archiver that does all in turn is slower than producers.
func (a *Archiver) readAhead(ctx context.Context, s leat.Shard, after uint64) iter.Seq[hashedBatch] {
	return func(yield func(hashedBatch) bool) {
		reading, cancel := context.WithCancel(ctx)
		batches, epoch := make(chan hashedBatch), a.opened.epoch
		var reader sync.WaitGroup
		reader.Go(func() {
			defer close(batches)
			for after < s.Head {
				b := a.readBatch(reading, s.ID, after, epoch)
				if send(reading, batches, b) != nil || b.err != nil {
					return
				}
				after = b.events[len(b.events)-1].Seq
			}
		})
		defer reader.Wait()
		defer cancel()
		for b := range batches {
			if !yield(b) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(hashedBatch{err: err})
		}
	}
}

// readBatch reads the next batch of a shard, checks that it continues what was
// read before, and hashes its events.
func (a *Archiver) readBatch(ctx context.Context, shard leat.ShardID, after, epoch uint64) hashedBatch {
	fail := func(err error) hashedBatch { return hashedBatch{err: err} }
	b, err := a.log.ReadShard(ctx, shard, after, leat.ReadOptions{Filter: leat.Filter{System: true}, Limit: readLimit})
	var trimmed *leat.TrimmedError
	switch {
	case errors.As(err, &trimmed):
		return fail(fmt.Errorf("%s is archived up to %d, and the events up to %d are gone from the log, so its archive would have a hole: %w",
			shard, after, trimmed.Oldest-1, err))
	case err != nil:
		return fail(err)
	case b.Epoch != epoch:
		return fail(errMoved)
	case len(b.Events) == 0:
		return fail(fmt.Errorf("read %s after %d: the log is %w: it returned no events though its head is %d", shard, after, leat.ErrCorrupt, b.Head))
	}
	var hasher leafHasher
	leaves := make([][32]byte, len(b.Events))
	for i := range b.Events {
		e := &b.Events[i]
		if want := after + 1 + uint64(i); e.Seq != want {
			return fail(fmt.Errorf("read %s after %d: the log is %w: it returned sequence %d", shard, want-1, leat.ErrCorrupt, e.Seq))
		}
		leaves[i] = hasher.hash(e)
	}
	return hashedBatch{events: b.Events, leaves: leaves}
}

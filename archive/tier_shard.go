package archive

import (
	"context"
	"errors"
	"fmt"

	"github.com/leathq/leat"
)

// ReadShard implements leat.Log.
func (t *tier) ReadShard(ctx context.Context, shard leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	b, err := t.Log.ReadShard(ctx, shard, after, o)
	var trimmed *leat.TrimmedError
	if err == nil || !errors.As(err, &trimmed) {
		return b, err
	}
	var events []leat.Recorded
	r := newArchivedRead(shard, after, o, func(e *leat.Recorded) error {
		events = append(events, keep(e))
		return nil
	})
	if r.nearlyAll() {
		events = make([]leat.Recorded, 0, min(uint64(r.limit), trimmed.Oldest-1-after, readLimit))
	}
	b, err = t.readArchived(ctx, r, trimmed)
	b.Events = events
	if err != nil {
		return leat.Batch{}, err
	}
	return b, nil
}

// ScanShard implements leat.Scanner.
func (t *tier) ScanShard(
	ctx context.Context, shard leat.ShardID, after uint64, o leat.ReadOptions, visit func(*leat.Recorded) error,
) (leat.Batch, error) {
	scanner, ok := t.Log.(leat.Scanner)
	if !ok {
		return t.readAndShow(ctx, shard, after, o, visit)
	}
	r := newArchivedRead(shard, after, o, visit)
	b, err := scanner.ScanShard(ctx, shard, after, o, func(e *leat.Recorded) error {
		if r.stopped = visit(e); r.stopped == nil {
			r.after, r.matched = e.Seq, r.matched+1
		}
		return r.stopped
	})
	var trimmed *leat.TrimmedError
	if err == nil || r.stopped != nil || !errors.As(err, &trimmed) {
		return b, err
	}
	// The log may have trimmed what it was just showing. The rest of that comes from
	// the archive, too.
	return t.readArchived(ctx, r, trimmed)
}

// readAndShow is ScanShard of a log that is no Scanner.
func (t *tier) readAndShow(
	ctx context.Context, shard leat.ShardID, after uint64, o leat.ReadOptions, visit func(*leat.Recorded) error,
) (leat.Batch, error) {
	b, err := t.ReadShard(ctx, shard, after, o)
	events := b.Events
	b.Events = nil
	for i := range events {
		if err := visit(&events[i]); err != nil {
			b.Next, b.Closed = events[i].Seq-1, false
			return b, err
		}
	}
	return b, err
}

// readArchived reads what the log has trimmed of a shard, and goes on with what it
// keeps.
func (t *tier) readArchived(ctx context.Context, r *archivedRead, trimmed *leat.TrimmedError) (leat.Batch, error) {
	if r.options.Filter.Where != "" {
		return leat.Batch{}, fmt.Errorf("evaluate the filter %q: %w", r.options.Filter.Where, leat.ErrUnsupported)
	}
	r.matcher, r.through = r.options.Filter.Matcher(), trimmed.Oldest-1
	tail, err := t.tail(ctx, r.shard, r.through)
	if err != nil {
		return leat.Batch{}, err
	}
	if tail.Total.Events < r.through {
		return leat.Batch{}, trimmed
	}
	b, closed, err := t.emptyBatch(ctx, r.shard)
	if err != nil {
		return leat.Batch{}, err
	}
	if r.after < r.through {
		if err := r.run(ctx, t.archive.Load(), &t.replays, tail); err != nil && r.stopped == nil {
			return leat.Batch{}, t.failed(ctx, fmt.Sprintf("read %s after %d from the archive", r.shard, r.after), err)
		}
	}
	if r.stopped == nil && (r.after > r.through || r.after == r.through && !r.full()) {
		err := t.readOn(ctx, r, b.Head)
		if err != nil && r.stopped == nil && r.after > r.through {
			return leat.Batch{}, err
		} // otherwise what was read is good, and the next read tells
	}
	b.Next, b.Closed = r.after, closed && r.after == b.Head && r.stopped == nil
	return b, r.stopped
}

// emptyBatch returns what the log says of a shard, and whether it is closed.
func (t *tier) emptyBatch(ctx context.Context, shard leat.ShardID) (leat.Batch, bool, error) {
	info, err := t.Info(ctx)
	if err != nil {
		return leat.Batch{}, false, err
	}
	shards, err := t.Log.Shards(ctx)
	if err != nil {
		return leat.Batch{}, false, err
	}
	for _, s := range shards {
		if s.ID == shard {
			return leat.Batch{Shard: shard, Epoch: info.Epoch, Head: s.Head}, s.Closed, nil
		}
	}
	return leat.Batch{}, false, fmt.Errorf("shard %s of log %s: %w", shard, info.ID, leat.ErrNotFound)
}

// readOn adds what the log keeps, up to a head.
func (t *tier) readOn(ctx context.Context, r *archivedRead, head uint64) error {
	if r.after == head {
		return nil
	}
	b, err := t.Log.ReadShard(ctx, r.shard, r.after, leat.ReadOptions{Filter: leat.Filter{System: true}})
	if err != nil {
		return err
	}
	for i := range b.Events {
		if b.Events[i].Seq > head {
			return nil
		}
		if took, err := r.take(&b.Events[i]); err != nil || !took {
			return err
		}
	}
	return nil
}

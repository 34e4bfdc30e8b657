package archive_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

// An archivingLog archives what it records, as it goes, and then shows only what
// is not archived: as if it was trimmed, but without the events in which a log
// records trimming. Those move sequences, and tests that count them know nothing
// of it.
type archivingLog struct {
	fullLog
	archiver *archive.Archiver
	store    archive.Store
	key      *archive.Key
	t        testing.TB
	seldom   int // it archives after one of so many changes

	mu      sync.Mutex
	rng     *rand.Rand
	last    leat.Checkpoint // head when it last archived
	oldest  map[leat.ShardID]uint64
	archive *archive.Archive
}

// A fullLog is what an archivingLog is made of. It is no Importer: what is imported
// into a closed shard that was archived, or into one without its beginning, the
// archive cannot have. Archives are begun when imports are done.
type fullLog interface {
	leat.Log
	leat.Splitter
	leat.Limiter
	io.Closer
}

func newArchiving(t testing.TB, log fullLog, store archive.Store, seldom int, rng *rand.Rand) *archivingLog {
	t.Helper()
	key := testKey(t)
	archiver, err := archive.NewArchiver(log, store, archive.Config{Key: key, SegmentBytes: int64(1 + rng.IntN(2000))})
	if err != nil {
		t.Fatal(err)
	}
	return &archivingLog{fullLog: log, archiver: archiver, store: store, key: key, t: t, seldom: seldom, rng: rng, oldest: make(map[leat.ShardID]uint64)}
}

// open opens the archive, for a LazyTier.
func (l *archivingLog) open(ctx context.Context) (*archive.Archive, error) {
	info, err := l.Info(ctx)
	if err != nil {
		return nil, err
	}
	return archive.Open(ctx, l.store, info.ID, l.key.Public())
}

// forget archives everything, compacts it now and then, and forgets all of it, or
// what was there when it did so before. Mostly it does nothing.
func (l *archivingLog) forget(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rng.IntN(l.seldom) > 0 {
		return
	}
	if err := l.archiveAll(ctx); err != nil && !errors.Is(err, leat.ErrClosed) && ctx.Err() == nil {
		l.t.Errorf("archive: %v", err)
	}
}

func (l *archivingLog) archiveAll(ctx context.Context) error {
	head, err := leat.Start(ctx, l.fullLog, leat.Now)
	if err != nil {
		return err
	}
	if err := l.archiver.Flush(ctx, head); err != nil {
		return err
	}
	if l.archive == nil {
		if l.archive, err = l.open(ctx); err != nil {
			return err
		}
	}
	if l.rng.IntN(10) == 0 {
		if _, err := l.archive.Compact(ctx, archive.CompactOptions{Key: l.key}); err != nil {
			return err
		}
	}
	archived, err := l.archive.Checkpoint(ctx)
	if err != nil {
		return err
	}
	if l.rng.IntN(2) == 0 {
		l.last, archived = archived, l.last
	} else {
		l.last = archived
	}
	return l.forgetUpTo(ctx, archived)
}

// forgetUpTo forgets what is archived up to a checkpoint, parents before children.
func (l *archivingLog) forgetUpTo(ctx context.Context, c leat.Checkpoint) error {
	shards, err := l.fullLog.Shards(ctx)
	if err != nil {
		return err
	}
	kept := make(map[leat.ShardID]bool) // shards of which something is shown
	for _, s := range shards {
		if !slices.ContainsFunc(s.Parents, func(p leat.ShardID) bool { return kept[p] }) {
			l.oldest[s.ID] = max(l.oldest[s.ID], c.Seqs[s.ID]+1)
		}
		kept[s.ID] = max(s.Oldest, l.oldest[s.ID]) <= s.Head || !s.Closed
	}
	return nil
}

// shown returns the first sequence of each shard that is shown.
func (l *archivingLog) shown() map[leat.ShardID]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.oldest)
}

func (l *archivingLog) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	r, err := l.fullLog.Append(ctx, events, conds...)
	if err == nil {
		l.forget(ctx)
	}
	return r, err
}

func (l *archivingLog) Split(ctx context.Context, shard leat.ShardID, at leat.HashKey) ([2]leat.Shard, error) {
	children, err := l.fullLog.Split(ctx, shard, at)
	if err == nil {
		l.forget(ctx)
	}
	return children, err
}

func (l *archivingLog) Shards(ctx context.Context) ([]leat.Shard, error) {
	oldest := l.shown() // before the heads, which are above it then
	shards, err := l.fullLog.Shards(ctx)
	for i := range shards {
		shards[i].Oldest = max(shards[i].Oldest, oldest[shards[i].ID])
	}
	return shards, err
}

func (l *archivingLog) ReadShard(ctx context.Context, shard leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	b, err := l.fullLog.ReadShard(ctx, shard, after, o)
	if oldest := l.shown()[shard]; err == nil && after+1 < oldest {
		return leat.Batch{}, &leat.TrimmedError{Shard: shard, Oldest: oldest}
	}
	return b, err
}

func (l *archivingLog) ReadStream(ctx context.Context, stream string, r leat.Range) iter.Seq2[leat.Recorded, error] {
	return func(yield func(leat.Recorded, error) bool) {
		events, err := eventsOf(l.fullLog.ReadStream(ctx, stream, leat.Range{}))
		if err != nil {
			for e, err := range l.fullLog.ReadStream(ctx, stream, r) {
				if !yield(e, err) {
					return
				}
			}
			return
		}
		through := uint64(len(events))
		if r.Through > 0 {
			through = min(through, r.Through)
		}
		if r.After >= through {
			return
		}
		shown := l.shown()
		kept := slices.IndexFunc(events, func(e leat.Recorded) bool { return e.Seq >= shown[e.Shard] })
		if kept < 0 {
			kept = len(events)
		}
		var trimmed error
		if r.After < uint64(kept) {
			trimmed = &leat.TrimmedError{Stream: stream, Oldest: uint64(kept) + 1}
		}
		wanted := events[min(max(r.After, uint64(kept)), through):through]
		if r.Reversed() {
			slices.Reverse(wanted)
		} else if trimmed != nil {
			wanted = nil
		}
		for _, e := range wanted {
			if !yield(e, ctx.Err()) || ctx.Err() != nil {
				return
			}
		}
		if trimmed != nil {
			yield(leat.Recorded{}, trimmed)
		}
	}
}

func eventsOf(events iter.Seq2[leat.Recorded, error]) (all []leat.Recorded, err error) {
	for e, err := range events {
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

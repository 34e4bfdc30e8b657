package archive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/leathq/leat"
)

// ArchiverStats are what an [Archiver] knows of itself without asking anybody.
// Counts are since it was made.
type ArchiverStats struct {
	Segments   uint64 // archived
	Events     uint64 // in them
	EventBytes int64  // sum of leat.Event.Size of the events
	Bytes      int64  // of the segments

	Errors  uint64 // attempts that failed, of Run and Flush
	Retries uint64 // attempts made again at once, because another archiver was faster

	// Archived is the last sequence of each shard that is archived, as far as is
	// known: nil before the archive was read for the first time.
	Archived map[leat.ShardID]uint64

	// Success is when the last attempt succeeded, or a part of it was archived:
	// zero before the first one.
	Success time.Time

	// Err is why the last attempt of Run failed, nil when it did not.
	Err error
}

// progress is what others may ask of an archiver at any time, also while it
// waits for a store.
type progress struct {
	mu       sync.Mutex
	stats    ArchiverStats
	archived map[leat.ShardID]uint64 // last sequences; nil before the archive was read
	waiting  map[leat.ShardID]commit // first events that are not archived, as far as known
	moved    chan struct{}           // closed when archived or ended change
	ended    error                   // why Run came to an end
}

// A commit is when an event was committed.
type commit struct {
	seq uint64
	at  time.Time
}

// Stats returns what the archiver has done. It asks neither the store nor the
// log.
func (a *Archiver) Stats() ArchiverStats {
	a.progress.mu.Lock()
	defer a.progress.mu.Unlock()
	s := a.progress.stats
	s.Archived = maps.Clone(a.progress.archived)
	return s
}

// Err returns why the last attempt of Run failed, nil when it did not.
func (a *Archiver) Err() error { return a.Stats().Err }

// Lag returns how many events the log holds that are not archived, and when the
// first of them was committed, zero when there is none. It asks the log and not
// the store: what another archiver has done is noticed a little later. Before
// the archiver has read the archive for the first time it is not known how far
// the log is archived, and the error is [leat.ErrUnavailable].
func (a *Archiver) Lag(ctx context.Context) (events uint64, oldest time.Time, err error) {
	archived := a.Stats().Archived
	if archived == nil {
		return 0, time.Time{}, fmt.Errorf("lag of the archive: it has not been read yet: %w", leat.ErrUnavailable)
	}
	shards, err := a.log.Shards(ctx)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("lag of the archive: %w", err)
	}
	for _, s := range shards {
		done := archived[s.ID]
		if s.Head <= done {
			continue
		}
		events += s.Head - done
		at, err := a.committed(ctx, s.ID, done+1)
		if err != nil {
			return 0, time.Time{}, fmt.Errorf("lag of the archive: %w", err)
		}
		if oldest.IsZero() || at.Before(oldest) {
			oldest = at
		}
	}
	return events, oldest, nil
}

// committed returns when an event of the log was committed.
func (a *Archiver) committed(ctx context.Context, shard leat.ShardID, seq uint64) (time.Time, error) {
	p := &a.progress
	p.mu.Lock()
	known := p.waiting[shard]
	p.mu.Unlock()
	if known.seq == seq {
		return known.at, nil
	}
	e, err := readOne(ctx, a.log, shard, seq)
	if err != nil {
		return time.Time{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == nil {
		p.waiting = make(map[leat.ShardID]commit)
	}
	p.waiting[shard] = commit{seq, e.At}
	return e.At, nil
}

// readOne returns one event of a log, which has it unless it was trimmed.
func readOne(ctx context.Context, log leat.Log, shard leat.ShardID, seq uint64) (leat.Recorded, error) {
	b, err := log.ReadShard(ctx, shard, seq-1, leat.ReadOptions{Filter: leat.Filter{System: true}, Limit: 1})
	if err == nil && (len(b.Events) == 0 || b.Events[0].Seq != seq) {
		err = fmt.Errorf("read %s after %d: the log is %w: it did not return the next event", shard, seq-1, leat.ErrCorrupt)
	}
	if err != nil {
		return leat.Recorded{}, err
	}
	return b.Events[0], nil
}

// WaitArchived returns when a shard is archived up to a sequence: for a producer
// that has to know its events in the archive before it answers, with Shard and
// Last of its Receipt. The archive then outlives all servers with them.
//
// It does not hurry anybody: Run archives an event as soon as there are
// Config.SegmentBytes, and after Config.MaxAge at the latest, so let that be as
// short as producers can wait. A Flush up to the event cuts a segment at once.
// When Run ends before, the error is what Run returned, or [leat.ErrClosed] when
// it was its context that ended.
func (a *Archiver) WaitArchived(ctx context.Context, shard leat.ShardID, seq uint64) error {
	p := &a.progress
	for {
		p.mu.Lock()
		archived, ended := p.archived[shard], p.ended
		if p.moved == nil {
			p.moved = make(chan struct{})
		}
		moved := p.moved
		p.mu.Unlock()
		switch {
		case archived >= seq:
			return nil
		case ended != nil:
			return fmt.Errorf("wait until %s is archived up to %d: %w", shard, seq, ended)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-moved:
		}
	}
}

// reached records up to where a shard is archived, which another archiver may
// have done.
func (p *progress) reached(shard leat.ShardID, seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.archived == nil {
		p.archived = make(map[leat.ShardID]uint64)
	}
	p.archived[shard] = seq
	p.wake()
}

// added records that a segment was archived.
func (p *progress) added(s segment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Segments++
	p.stats.Events += s.Events
	p.stats.EventBytes += s.EventBytes
	p.stats.Bytes += s.Size
	p.stats.Success = time.Now()
}

// tried records the outcome of an attempt.
func (p *progress) tried(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil:
		p.stats.Success = time.Now()
	case errors.Is(err, errMoved):
		p.stats.Retries++
	default:
		p.stats.Errors++
	}
}

// running records that Run has begun, or made another attempt.
func (p *progress) running(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Err, p.ended = err, nil
}

// stopped records that Run has come to an end.
func (p *progress) stopped(err error) {
	if err == nil {
		err = fmt.Errorf("the archiver was stopped: %w", leat.ErrClosed)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = err
	p.wake()
}

// wake wakes who waits. Its caller holds mu.
func (p *progress) wake() {
	if p.moved != nil {
		close(p.moved)
		p.moved = nil
	}
}

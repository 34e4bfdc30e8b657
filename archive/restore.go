package archive

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/leathq/leat"
)

// A Target is a log that takes what an archive holds.
type Target interface {
	leat.Log
	leat.Importer
}

// A Restored says what a restore made.
type Restored struct {
	Events   uint64 // that the log holds
	Imported uint64 // of these by this Restore, when another was interrupted

	// Checkpoints are those whose events and roots the log has, one for each
	// shard that is archived, in the order of their numbers.
	Checkpoints []Checkpoint
}

// Restore makes an empty log that was created with Config hold what the archive
// held then: each event with its sequence, commit, version, ID and At. All of it
// is durable when Restore returns. Nobody else may use the log meanwhile.
//
// A Restore that was interrupted is gone on with by calling it again. It then
// compares the last event of each shard with the archive's, so that a log to
// which somebody has appended is a [leat.ErrDiverged].
//
// The manifests and the SHA-256 of each segment are verified before anything of
// it is imported. Behind the import, Restore reads all of the log again, from the
// first event on, computes the leaf hash of each event, and compares the root of
// their tree with that of each signed manifest. So what the log returns is what was
// archived, whoever made a mistake in between. What is damaged in the archive is
// a [leat.ErrCorrupt] that names the object; put it back and call Restore again.
// Progress, unless it is nil, is told how much is done, of the events to import
// and the events to read again, by one goroutine at a time.
func (a *Archive) Restore(ctx context.Context, log Target, progress func(done, total uint64)) (Restored, error) {
	r := &restore{archive: a, log: log, progress: progress}
	done, err := r.run(ctx)
	if err != nil {
		return Restored{}, fmt.Errorf("restore log %s: %w", a.desc.Log, err)
	}
	return done, nil
}

type restore struct {
	archive  *Archive
	log      Target
	progress func(done, total uint64)
	total    uint64
	shards   []restoredShard

	mu   sync.Mutex // of progress
	done uint64
}

// A restoredShard is a shard on its way.
type restoredShard struct {
	leat.Shard      // as it was when the restore began
	last       link // adds the last segment; the zero link when there is none
}

func (r *restore) run(ctx context.Context) (Restored, error) {
	if err := r.begin(ctx); err != nil {
		return Restored{}, err
	}
	var d Restored
	for _, s := range r.shards {
		d.Events += s.last.Total.Events
		d.Imported += s.last.Total.Events - s.Head
		if s.last.Number > 0 {
			c, err := s.last.verify(r.archive.object(manifestName(s.ID, s.last.Number)), r.archive.keys)
			if err != nil {
				return Restored{}, err
			}
			d.Checkpoints = append(d.Checkpoints, *c)
		}
	}
	r.total = d.Imported + d.Events
	return d, r.fill(ctx)
}

func (r *restore) advance(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done += uint64(n)
	if r.progress != nil {
		r.progress(r.done, r.total)
	}
}

// begin finds out what is to be restored and what is restored already.
func (r *restore) begin(ctx context.Context) error {
	info, err := r.log.Info(ctx)
	if err != nil {
		return err
	}
	if info.ID != r.archive.desc.Log || info.Single != r.archive.desc.Single || len(info.Ended) == 0 {
		return &leat.InvalidError{Field: "log to restore into", Limit: "one created with Archive.Config", Got: info.ID}
	}
	kept := info.Ended[len(info.Ended)-1].Heads
	shards, err := r.log.Shards(ctx)
	if err != nil {
		return err
	}
	for _, s := range shards {
		restored, err := r.beginShard(ctx, s, kept[s.ID])
		if err != nil {
			return err
		}
		r.shards = append(r.shards, restored)
	}
	return nil
}

func (r *restore) beginShard(ctx context.Context, s leat.Shard, kept uint64) (restoredShard, error) {
	restored := restoredShard{Shard: s}
	switch {
	case s.Oldest != 1:
		return restored, &leat.InvalidError{Field: "log to restore into", Limit: "not trimmed", Got: fmt.Sprintf("%s from %d on", s.ID, s.Oldest)}
	case s.Head > kept:
		return restored, &leat.DivergedError{Reason: fmt.Sprintf("%s holds %d events, the restore was to end at %d: somebody has appended to it", s.ID, s.Head, kept)}
	}
	tail, err := r.archive.tail(ctx, s.ID)
	if err != nil {
		return restored, err
	}
	if tail.Total.Events < kept {
		return restored, corrupt(r.archive.object(manifestFolder(s.ID)), "ends at %d, and held events up to %d when the restore began", tail.Total.Events, kept)
	}
	if kept == 0 {
		return restored, nil
	}
	restored.last, err = r.archive.find(ctx, s.ID, kept, tail)
	if err == nil && restored.last.Total.Events != kept {
		err = corrupt(r.archive.object(manifestName(s.ID, restored.last.Number)), "ends at %d, and one ended at %d when the restore began", restored.last.Total.Events, kept)
	}
	return restored, err
}

// readBehind is how many portions may be imported and not yet read again. It is few,
// so that what is read is still in memory.
const readBehind = 4

// fill imports what the log does not hold, and reads the log again. One goroutine
// fetches a segment while another decodes the one before it, a third imports, and
// a fourth reads what is imported.
func (r *restore) fill(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	segments, portions, imported := make(chan fetched), make(chan portion, 2), make(chan portion, readBehind)
	g.Go(func() error {
		defer close(segments)
		return r.fetch(ctx, segments)
	})
	g.Go(func() error {
		defer close(portions)
		for s := range segments {
			err := r.decode(ctx, s, portions)
			s.reader.close()
			if err != nil {
				for s := range segments {
					s.reader.close()
				}
				return err
			}
		}
		return nil
	})
	g.Go(func() error {
		defer close(imported)
		return r.importPortions(ctx, portions, imported)
	})
	g.Go(func() error { return r.readBack(ctx, imported) })
	return g.Wait()
}

func send[T any](ctx context.Context, to chan<- T, v T) error {
	select {
	case to <- v:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

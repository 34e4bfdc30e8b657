package archive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leathq/leat"
)

// A Status says how far a log is archived, and how far behind the archive is.
type Status struct {
	Archived   leat.Checkpoint
	Segments   uint64
	Events     uint64
	EventBytes int64 // sum of leat.Event.Size of the events
	Bytes      int64 // of the segments

	// Lag is the number of events in the log that are not archived, and Oldest
	// when the first of them was committed, zero when there are none.
	Lag    uint64
	Oldest time.Time

	// Err is why the last attempt of Run failed, nil when it did not.
	Err error
}

// Status compares the store with the log. It does not wait for Run or Flush.
func (a *Archiver) Status(ctx context.Context) (Status, error) {
	st, err := a.status(ctx)
	if err != nil {
		return Status{}, fmt.Errorf("status of the archive: %w", err)
	}
	st.Err = a.Err()
	return st, nil
}

func (a *Archiver) status(ctx context.Context) (Status, error) {
	info, err := a.log.Info(ctx)
	if err != nil {
		return Status{}, err
	}
	shards, err := a.log.Shards(ctx)
	if err != nil {
		return Status{}, err
	}
	var tails map[leat.ShardID]link
	archive, err := Open(ctx, a.store, info.ID, a.config.Key.Public())
	switch {
	case err == nil:
		tails, err = archive.tails(ctx)
	case errors.Is(err, leat.ErrNotFound):
		err = nil // nothing is archived yet
	}
	if err != nil {
		return Status{}, err
	}
	st := Status{Archived: checkpoint(info.ID, tails)}
	for _, tail := range tails {
		st.Segments += tail.Total.Segments
		st.Events += tail.Total.Events
		st.EventBytes += tail.Total.EventBytes
		st.Bytes += tail.Total.Size
	}
	for _, s := range shards {
		done := tails[s.ID].Total.Events
		if s.Head <= done {
			continue
		}
		st.Lag += s.Head - done
		first, err := readOne(ctx, a.log, s.ID, done+1)
		if err != nil {
			return Status{}, err
		}
		if st.Oldest.IsZero() || first.At.Before(st.Oldest) {
			st.Oldest = first.At
		}
	}
	return st, nil
}

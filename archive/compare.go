package archive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leathq/leat"
)

// compare returns a [leat.ErrDiverged] unless what is archived lies on the
// history of the log. Each chain is compared under its own epoch, because an
// archiver may have been killed when it had begun a new epoch in some only.
func compare(ctx context.Context, log leat.Log, info leat.Info, shards []leat.Shard, tails map[leat.ShardID]link) error {
	if c := checkpoint(info.ID, tails); c.Epoch > info.Epoch {
		return fmt.Errorf("the archive is of epoch %d, the log of epoch %d: the log was restored since, and this is the one from before; put it away and serve the restored one (%w)",
			c.Epoch, info.Epoch, leat.ErrDiverged)
	}
	for id, tail := range tails {
		c := leat.Checkpoint{Log: info.ID, Epoch: tail.Epoch}
		c.Set(id, tail.Total.Events)
		if err := c.Verify(info, shards); err != nil {
			return err
		}
	}
	for _, s := range shards {
		tail := tails[s.ID]
		if tail.Kind == kindClose && (!s.Closed || s.Head > tail.Total.Events) {
			return &leat.DivergedError{Reason: fmt.Sprintf("%s ends at %d in the archive, and goes on in the log", s.ID, tail.Total.Events)}
		}
		if err := compareLast(ctx, log, tail); err != nil {
			return err
		}
	}
	return nil
}

// compareLast returns a [*leat.DivergedError] when the last event of an archived
// segment is not the log's, as after the log was set back to a copy and went on.
// The log may have trimmed it.
func compareLast(ctx context.Context, log leat.Log, l link) error {
	if l.Segment == nil {
		return nil
	}
	e, err := readOne(ctx, log, l.Shard, l.Segment.Last)
	switch {
	case errors.Is(err, leat.ErrTrimmed):
		return nil
	case err != nil:
		return err
	case !e.At.Equal(l.Segment.MaxAt):
		return &leat.DivergedError{Reason: fmt.Sprintf("event %d of %s was committed at %s in the log, at %s in the archive",
			e.Seq, l.Shard, e.At.Format(time.RFC3339Nano), l.Segment.MaxAt.Format(time.RFC3339Nano))}
	}
	return nil
}

package service

import (
	"context"
	"fmt"

	"github.com/leathq/leat"
)

// Reset lets a projection start over from a checkpoint, the zero one for the
// beginning of the log. In one transaction it moves the stored checkpoint there,
// takes what is parked beyond it off the list, and calls empty, which has to
// remove from the read model what the events beyond the checkpoint have written:
// all of it, when starting from the beginning. Entries of discarded events stay.
//
// What the projection had passed before it then handles quietly, as a rebuild
// does: see Projection.Rebuild. That goes for parked events, too: let them be
// tried again first if Then is to act on them.
//
// Nobody may run the projection meanwhile: stop the processes that do, or pause
// it for all of them (leat apps pause). Should one run it nevertheless, either
// Reset fails with leat.ErrFenced and nothing has happened, or that process is
// fenced when it moves on.
//
// To look at the new state before the old one is gone, give the projection a new
// Name and other tables instead, and let it rebuild beside.
func (p Projection[Tx]) Reset(ctx context.Context, to leat.Checkpoint, empty func(ctx context.Context, tx Tx) error) error {
	if err := p.validate(); err != nil {
		return err
	}
	if empty == nil {
		return unset("Projection", p.Name, "Reset: empty")
	}
	s, err := resetTo(ctx, p.Into, p.Name, to)
	if err == nil {
		s.And, err = quietUpTo(ctx, p.Into, p.Name, s.From)
	}
	if err == nil {
		err = p.Into.Commit(ctx, s, empty)
	}
	return resetFailed(p.Name, err)
}

// Reset lets a reactor start over from a checkpoint, the zero one for the
// beginning of the log, and takes what is parked beyond it off the list. It
// answers the events beyond the checkpoint again: that is harmless when the
// commands have IDs (CausedBy). A checkpoint further on than where it stands
// makes it pass over what is between. Who else may run it: as with
// Projection.Reset.
func (r Reactor) Reset(ctx context.Context, to leat.Checkpoint) error {
	if err := r.validate(); err != nil {
		return err
	}
	return reset(ctx, r.Checkpoints, r.Name, to)
}

// Reset lets a forwarder start over from a checkpoint, as Reactor.Reset does. It
// sends the events beyond it again.
func (f Forwarder) Reset(ctx context.Context, to leat.Checkpoint) error {
	if err := f.validate(); err != nil {
		return err
	}
	return reset(ctx, f.Checkpoints, f.Name, to)
}

func reset(ctx context.Context, store CheckpointStore, name string, to leat.Checkpoint) error {
	s, err := resetTo(ctx, store, name, to)
	if err == nil {
		err = store.Save(ctx, s)
	}
	return resetFailed(name, err)
}

func resetFailed(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("reset %q: %w", name, err)
}

// resetTo returns the step from where an application stands to a checkpoint. It
// has all shards, so that whoever works on one of them is fenced.
func resetTo(ctx context.Context, store CheckpointStore, name string, to leat.Checkpoint) (Step, error) {
	at, err := store.Checkpoint(ctx, name)
	if err != nil {
		return Step{}, err
	}
	if at.Log != "" && to.Log != "" && at.Log != to.Log {
		return Step{}, &leat.InvalidError{Field: "checkpoint", Limit: "of log " + at.Log + ", which it follows", Got: "log " + to.Log}
	}
	if at.Log == "" && to.Log == "" && len(to.Seqs) > 0 {
		return Step{}, &leat.InvalidError{Field: "checkpoint", Limit: "with the ID of its log, as leat.Start makes it", Got: to.String()}
	}
	parked, err := store.Parked(ctx, name, "")
	if err != nil {
		return Step{}, err
	}
	s := Step{Name: name, From: at, To: to.Clone(), Whole: true}
	if s.To.Log == "" {
		s.To.Log = at.Log
	}
	if s.To.Epoch == 0 {
		s.To.Epoch = at.Epoch
	}
	for shard := range at.Seqs {
		s.To.Set(shard, to.Seqs[shard])
	}
	for _, p := range parked {
		if p.Waits() && p.Seq > s.To.Seqs[p.Shard] {
			s.Done = append(s.Done, p)
		}
	}
	return s, nil
}

// quietUpTo returns the step that lets an application handle quietly what it has
// handled before, or was to handle quietly.
func quietUpTo(ctx context.Context, store CheckpointStore, name string, at leat.Checkpoint) ([]Step, error) {
	if at.IsZero() {
		return nil, nil
	}
	was, err := store.Checkpoint(ctx, replayName(name))
	if err != nil {
		return nil, err
	}
	to := at.Clone()
	for shard, seq := range was.Seqs {
		if was.Epoch != at.Epoch {
			seq = 0 // it may not be there any more
		}
		to.Set(shard, max(to.Seqs[shard], seq))
	}
	return []Step{{Name: replayName(name), From: was, To: to}}, nil
}

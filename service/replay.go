package service

import (
	"context"
	"errors"
	"fmt"

	"github.com/leathq/leat"
)

// A rebuild goes quietly through what there was when it began. Up to where that
// is, is kept in the store as the checkpoint of an application of the SDK's own,
// so that every process knows it, and the same one after a restart.

// own begins the names of what the SDK keeps in a store for itself.
const own = "$"

func replayName(name string) string { return own + "replay/" + name }

// Replaying reports whether the event that a Projection's Apply was given is a
// part of a rebuild (Projection.Rebuild, Projection.Reset), so that another
// application, or this one before, has done already what is to be done about it.
// Apply then writes what the event changes, and nothing that Projection.Then
// would act on. The answer for an event is the same in every process and after
// every restart.
func Replaying(ctx context.Context) bool {
	replaying, _ := ctx.Value(replayKey{}).(bool)
	return replaying
}

type replayKey struct{}

// replaying returns the context that a handler gets for an event that is a part
// of a rebuild.
func replaying(ctx context.Context) context.Context {
	return context.WithValue(ctx, replayKey{}, true)
}

// replays reports whether an event is a part of a rebuild. One that was parked
// may be of a shard that was split since.
func (a *application) replays(r *leat.Recorded) bool { return r.Seq <= a.replay.Seqs[r.Shard] }

// beginReplay keeps where a rebuild ends: at the heads of the log when it begins.
// Whoever is first decides.
func (f *fleet) beginReplay(ctx context.Context, info leat.Info, shards []leat.Shard) error {
	to := leat.Checkpoint{Log: info.ID, Epoch: info.Epoch}
	for _, s := range shards {
		to.Set(s.ID, s.Head)
	}
	err := f.store.Save(ctx, Step{Name: replayName(f.name), To: to})
	if errors.Is(err, leat.ErrFenced) {
		return nil // another process was faster, or this one in an earlier life
	}
	return err
}

// loadReplay reads up to where the application, which follows a log in an epoch,
// is a rebuild.
func (w worker) loadReplay(ctx context.Context, store CheckpointStore, at leat.Checkpoint) (leat.Checkpoint, error) {
	to, err := store.Checkpoint(ctx, replayName(w.name))
	if err != nil {
		return to, err
	}
	if to.Log != at.Log {
		to = leat.Checkpoint{}
	}
	if len(to.Seqs) > 0 && to.Epoch != at.Epoch {
		info, err := w.log.Info(ctx)
		if err != nil {
			return to, err
		}
		for _, ended := range info.Ended { // what a restore did not keep is to come
			for shard, seq := range to.Seqs {
				if ended.Number >= to.Epoch {
					to.Seqs[shard] = min(seq, ended.Heads[shard])
				}
			}
		}
	}
	w.setReplay(to)
	return to, nil
}

// setReplay tells up to where the application is a rebuild.
func (l *ledger) setReplay(to leat.Checkpoint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.replay, l.replayKnown = to, true
	l.wake()
}

// rebuilds reports whether a rebuild still has something to go through. Of one
// shard it is known to be done with what is up to a sequence.
func (l *ledger) rebuilds(shard leat.ShardID, upTo uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.replayKnown {
		return true
	}
	for id, seq := range l.replay.Seqs {
		if l.done.Seqs[id] < seq && (id != shard || upTo < seq) {
			return true
		}
	}
	return false
}

// WaitRebuilt waits until an application that rebuilds is done with what there
// was when it began, wherever that is worked on. If it does not rebuild, or has
// caught up before, it returns as soon as that is known. It returns the error of
// ctx, saying where the application is, or an error when Run has ended. An
// application that the App does not run is leat.ErrNotFound.
func (a *App) WaitRebuilt(ctx context.Context, name string) error {
	f, err := a.fleet(name)
	if err != nil {
		return err
	}
	for {
		to, known, changed := f.replayTo()
		if known {
			return f.wait(ctx, to, a.ended)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for the rebuild of %q: it has not begun: %w", name, ctx.Err())
		case <-a.ended:
			return fmt.Errorf("wait for the rebuild of %q: %w", name, errEnded)
		}
	}
}

// replayTo returns up to where the application is a rebuild, once that is known,
// and a channel that is closed when it may be.
func (l *ledger) replayTo() (to leat.Checkpoint, known bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.replayKnown {
		l.waiters++
	}
	return l.replay, l.replayKnown, l.changed
}

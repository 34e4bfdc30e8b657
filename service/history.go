package service

import (
	"context"
	"fmt"
	"time"

	"github.com/leathq/leat"
)

// LoadAt returns the state of an entity as it was at a moment: after the events
// that were recorded by then, by the log's clock (Recorded.At). An entity that
// had none has the zero State and Version 0.
//
// LoadAt and LoadVersion read the past from the log, also what only its archive
// still has. Of what is kept nowhere any more they return a
// [*leat.TrimmedError].
func (a *Aggregate[S, E]) LoadAt(ctx context.Context, log leat.Log, id string, t time.Time) (Loaded[S], error) {
	return a.past(ctx, log, id, until{at: t, timed: true})
}

// LoadVersion returns the state of an entity after the event of a version; 0 is
// before the first. A version that the stream does not have yet is
// leat.ErrNotFound.
func (a *Aggregate[S, E]) LoadVersion(ctx context.Context, log leat.Log, id string, version uint64) (Loaded[S], error) {
	if version == 0 {
		return Loaded[S]{}, a.check(log, id)
	}
	l, err := a.past(ctx, log, id, until{version: version})
	if err == nil && l.Version != version {
		return Loaded[S]{}, fmt.Errorf("load version %d of %s, which is at version %d: %w", version, a.Stream(id), l.Version, leat.ErrNotFound)
	}
	return l, err
}

func (a *Aggregate[S, E]) past(ctx context.Context, log leat.Log, id string, u until) (Loaded[S], error) {
	if err := a.check(log, id); err != nil {
		return Loaded[S]{}, err
	}
	e := &entry[S]{cacheKey: cacheKey{log, a.Stream(id)}}
	if err := a.read(ctx, e, u); err != nil {
		return Loaded[S]{}, err
	}
	return Loaded[S]{e.state, e.version}, nil
}

// until says where the history of a stream is to end. The zero value is its end.
type until struct {
	version uint64 // unless 0
	at      time.Time
	timed   bool // at counts
}

// passed reports whether an event is beyond the end.
func (u until) passed(version uint64, at time.Time) bool {
	return u.version != 0 && version > u.version || u.timed && at.After(u.at)
}

// read folds the events that e lacks onto its state. When e holds nothing it
// begins with a snapshot, if there is one that can be used.
func (a *Aggregate[S, E]) read(ctx context.Context, e *entry[S], u until) error {
	if e.version == 0 {
		if snap := a.snapshots.load(ctx, e.cacheKey, u); snap != nil {
			used, err := a.resume(ctx, e, snap, u)
			if used || err != nil {
				return err
			}
		}
	}
	for r, err := range e.log.ReadStream(ctx, e.stream, leat.Range{After: e.version, Through: u.version}) {
		if err != nil {
			return fmt.Errorf("load %s: %w", e.stream, err)
		}
		if u.passed(r.Version, r.At) {
			return nil
		}
		if err := a.fold(e, r); err != nil {
			return err
		}
	}
	return nil
}

// fold folds an event onto the state of e.
func (a *Aggregate[S, E]) fold(e *entry[S], r leat.Recorded) error {
	event, err := a.Types.Decode(r)
	if err != nil {
		return fmt.Errorf("load %s: %w", e.stream, err)
	}
	s := e.state
	e.forget()
	e.state = a.next(s, event, &r.Event)
	e.version, e.last = r.Version, mark{r.ID, r.At}
	return nil
}

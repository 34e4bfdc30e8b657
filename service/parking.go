package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/leathq/leat"
)

// parked returns the entry of an event that is parked, behind another when err
// is nil.
func parked(r leat.Recorded, err error, attempts int) Parked {
	p := Parked{
		Stream: r.Stream, Version: r.Version, Shard: r.Shard, Seq: r.Seq, ID: r.ID, Type: r.Type,
		Attempts: attempts, At: time.Now().UTC(),
	}
	if err != nil {
		p.Error = reason(err)
	}
	return p
}

// reason is what a parked event keeps of its error: never empty, because that
// stands for an event that only waits.
func reason(err error) string { return cmp.Or(err.Error(), fmt.Sprintf("%T without a message", err)) }

func (a *application) tellParked(r leat.Recorded, err error, attempts int) {
	a.logger.Error("event is parked, and what follows in its stream", "application", a.name,
		"stream", r.Stream, "version", r.Version, "type", r.Type, "attempts", attempts, "error", err)
}

// describe names an event in messages.
func describe(r leat.Recorded) string {
	return fmt.Sprintf("%s %s, version %d", r.Type, r.Stream, r.Version)
}

// retryDue lets handle try the parked events that are due, in order. After an
// event fails its stream waits again. One whose event fails without being to
// blame stays due and rests, and the others go on. clear is called for a stream
// when none of its events was left.
func (a *application) retryDue(stop, work context.Context, handle func(context.Context, leat.Recorded, Parked) error, clear func(stream string) error) error {
	streams, err := a.store.Due(work, a.name)
	if err != nil {
		return err
	}
	streams = slices.DeleteFunc(streams, func(stream string) bool {
		return !a.shard.Owns(leat.RouteHash(stream)) // another shard's run will
	})
	a.resting.now()
	for _, stream := range a.resting.turns(streams) {
		events, err := a.store.Parked(work, a.name, stream)
		if err != nil {
			return err
		}
		left, err := a.retryStream(stop, work, events, handle)
		if err != nil && fatal(err) || stop.Err() != nil {
			return err
		}
		if err != nil {
			a.tell(stop, "try parked events of "+stream+" again", a.resting.failed(stream, a.retry, err), err)
			continue
		}
		a.resting.succeeded(stream)
		if left {
			continue
		}
		if err := clear(stream); err != nil {
			return err
		}
	}
	return nil
}

// retryStream tries the parked events of one stream. It reports whether any is
// left.
func (a *application) retryStream(stop, work context.Context, events []Parked, handle func(context.Context, leat.Recorded, Parked) error) (left bool, err error) {
	for _, p := range events {
		if !p.Waits() {
			continue
		}
		if stop.Err() != nil {
			return true, nil //nolint:nilerr // to be stopped is no error; the rest stays due
		}
		r, err := a.read(work, p)
		if err != nil && passing(err) {
			return true, err // the log is away; the event stays due
		}
		if err == nil {
			err = handle(work, r, p)
		}
		switch {
		case err == nil:
			a.unparked()
		case errors.Is(err, ErrNotParked):
			return true, nil // it was handled or discarded meanwhile, and what is left will be due
		case fatal(err), blameless(err):
			return true, err // and the event stays due
		default:
			a.failed(err)
			a.logger.Error("parked event failed again", "application", a.name, "stream", p.Stream, "version", p.Version, "error", err)
			again := p
			again.Error, again.Attempts, again.At = reason(err), p.Attempts+1, time.Now().UTC()
			err = a.store.Save(work, Step{Name: a.name, Done: []Parked{p}, Park: []Parked{again}})
			if errors.Is(err, ErrNotParked) {
				err = nil // as when handling it succeeded, but the answer of the database was lost
			}
			return true, err
		}
	}
	return false, nil
}

// read returns a parked event from the log.
func (a *application) read(ctx context.Context, p Parked) (leat.Recorded, error) {
	for r, err := range a.log.ReadStream(ctx, p.Stream, leat.Range{After: p.Version - 1, Through: p.Version}) {
		if err == nil && r.ID != p.ID {
			return r, fmt.Errorf("event %d of stream %q is %q in the log, not %q: %w", p.Version, p.Stream, r.ID, p.ID, leat.ErrNotFound)
		}
		return r, err
	}
	return leat.Recorded{}, fmt.Errorf("event %d of stream %q in the log: %w", p.Version, p.Stream, leat.ErrNotFound)
}

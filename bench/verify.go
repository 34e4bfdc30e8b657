package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/leathq/leat"
)

// checks is what was found about a system after a load. What every system must
// do is an error when it does not.
type checks struct {
	RefusesAhead   bool `json:"refuses_version_ahead"` // an expected version that the stream has not reached
	RefusesKnownID bool `json:"refuses_known_id"`      // at once; for how long is not tried
}

// and returns what holds of both; c is nil before the first.
func (c *checks) and(other checks) *checks {
	if c != nil {
		other.RefusesAhead = other.RefusesAhead && c.RefusesAhead
		other.RefusesKnownID = other.RefusesKnownID && c.RefusesKnownID
	}
	return &other
}

// verify reads everything back, which must be the events that were acknowledged
// and no other. Then it appends where it should be refused.
func (l load) verify(ctx context.Context, s store, heads map[string]head) (checks, error) {
	versions, last, err := readBack(ctx, s, l.bytes)
	if err != nil {
		return checks{}, err
	}
	if len(versions) != len(heads) {
		return checks{}, fmt.Errorf("there are %d streams, want %d", len(versions), len(heads))
	}
	for stream, h := range heads {
		if versions[stream] != h.version {
			return checks{}, fmt.Errorf("%s has %d events, want the %d that were acknowledged", stream, versions[stream], h.version)
		}
	}
	return l.provoke(ctx, s, last, heads[last.Stream])
}

// readBack replays everything, which must be events as newEvent makes them with
// so many bytes, each stream's versions 1, 2, 3 … It returns the streams'
// versions and the last event.
func readBack(ctx context.Context, s store, size int) (map[string]uint64, leat.Recorded, error) {
	versions := make(map[string]uint64)
	var last leat.Recorded
	err := s.replay(ctx, func(r *leat.Recorded) error {
		if want := versions[r.Stream] + 1; r.Version != want {
			return fmt.Errorf("%s has version %d where %d should be", r.Stream, r.Version, want)
		}
		versions[r.Stream] = r.Version
		last = *r
		return intact(r, size)
	})
	if err != nil {
		return nil, last, fmt.Errorf("read everything back: %w", err)
	}
	return versions, last, nil
}

// provoke appends what should be refused to the stream of a recorded event.
func (l load) provoke(ctx context.Context, s store, known leat.Recorded, at head) (c checks, err error) {
	events := func() []leat.Event {
		events := make([]leat.Event, l.batch)
		for i := range events {
			events[i] = newEvent(known.Stream, l.bytes)
		}
		return events
	}
	if _, err := s.append(ctx, head{at.version - 1, at.place - 1}, events()); !errors.Is(err, errConflict) {
		return c, fmt.Errorf("append to %s at version %d, which has %d: got %w, want a conflict", known.Stream, at.version-1, at.version, orNil(err))
	}
	kept := uint64(0)
	if err := s.load(ctx, known.Stream, func(*leat.Recorded) error { kept++; return nil }); err != nil {
		return c, fmt.Errorf("load %s: %w", known.Stream, err)
	}
	if kept != at.version {
		return c, fmt.Errorf("%s has %d events after an append was refused, want %d", known.Stream, kept, at.version)
	}

	again := events()
	again[0].ID = known.ID
	now, err := s.append(ctx, at, again)
	if c.RefusesKnownID = errors.Is(err, errDuplicate); !c.RefusesKnownID && err != nil {
		return c, fmt.Errorf("append an ID again: %w", err)
	}
	_, err = s.append(ctx, head{now.version + 1, now.place + 1}, events())
	if c.RefusesAhead = errors.Is(err, errConflict); !c.RefusesAhead && err != nil {
		return c, fmt.Errorf("append at a version ahead: %w", err)
	}
	return c, nil
}

var errNone = errors.New("no error")

// orNil makes a missing error one that can be wrapped and printed.
func orNil(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

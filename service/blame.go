package service

import (
	"errors"

	"github.com/leathq/leat"
)

// Transient marks an error that the event is not to blame for, as of a database
// that is away. The event is tried again until it succeeds, however often that
// fails. It returns nil for nil.
func Transient(err error) error {
	if err == nil {
		return nil
	}
	return &transientError{err}
}

type transientError struct{ error }

func (e *transientError) Unwrap() error { return e.error }

func isTransient(err error) bool {
	_, ok := errors.AsType[*transientError](err)
	return ok
}

// blameless reports whether an error says nothing about the event that was
// handled. Such is also that the log, or who called it, has no room or is away:
// any other event would have met it, too.
func blameless(err error) bool {
	away := errors.Is(err, leat.ErrFull) || errors.Is(err, leat.ErrUncertain) || errors.Is(err, leat.ErrUnavailable)
	return isTransient(err) || away && !isPermanent(err)
}

// Refused reports whether the error of an Append says that the log will never
// take one of its events. It is for those who write a Destination.
func Refused(err error) bool {
	return (errors.Is(err, leat.ErrInvalid) || errors.Is(err, leat.ErrIDReused)) && !errors.Is(err, leat.ErrUncertain)
}

// Late marks the error of a ReadModel's Commit that was rolled back because of
// what f wrote, though f did not return it: as when a database is told of many
// writes at once, or checks them at the end. A Projection finds the event to
// blame by committing the events by halves. It returns nil for nil. It is for
// those who write a ReadModel.
func Late(err error) error {
	if err == nil {
		return nil
	}
	return &lateError{err}
}

type lateError struct{ error }

func (e *lateError) Unwrap() error { return e.error }

func isLate(err error) bool {
	_, ok := errors.AsType[*lateError](err)
	return ok
}

package service

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/leathq/leat"
)

// A Runner is what an App runs: a [Projection], a [Reactor], a [Process], a
// [Forwarder] or a [Relay].
type Runner interface {
	// validate returns an error that names the field which is wrong.
	validate() error
	// start returns what runs, applications and relays, each with a name of its
	// own.
	start(env env) ([]*fleet, []*relayRun)
}

// A Retry says how often and when something that failed is tried again. The
// pauses double from First to Most, each shortened at random by up to half.
type Retry struct {
	Attempts int           // in all, before an event is parked; 10 when 0
	First    time.Duration // pause after the first failure; 50 ms when 0
	Most     time.Duration // longest pause; 10 s when 0
}

func (r Retry) withDefaults() Retry {
	return Retry{
		Attempts: cmp.Or(r.Attempts, 10),
		First:    cmp.Or(r.First, 50*time.Millisecond),
		Most:     cmp.Or(r.Most, 10*time.Second),
	}
}

func (r Retry) pause(failures int) time.Duration { return backoff(failures, r.First, r.Most) }

// Permanent marks an error that another attempt will not mend: the event is
// parked at once. It returns nil for nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

func isPermanent(err error) bool {
	_, ok := errors.AsType[*permanentError](err)
	return ok
}

// RetryAfter says of an error that there is no use in another attempt before
// some time has passed, as the one who was asked has told. It returns nil for
// nil.
func RetryAfter(err error, wait time.Duration) error {
	if err == nil {
		return nil
	}
	return &laterError{err, wait}
}

type laterError struct {
	error
	wait time.Duration
}

func (e *laterError) Unwrap() error { return e.error }

// retryAfter returns how long to wait at least, 0 when nobody said.
func retryAfter(err error) time.Duration {
	if later, ok := errors.AsType[*laterError](err); ok {
		return later.wait
	}
	return 0
}

// ErrSkipped is what a handler returns for an event that it passes over. It
// counts as skipped, not as handled; what the handler wrote stays.
var ErrSkipped = errors.New("event skipped")

// Apply returns a Projection's Apply that decodes events for f. An event whose
// type is not declared, or that cannot be decoded, is parked, so that none is
// missed; a Filter with Types.Names() keeps those out that do not concern f.
func Apply[Tx, E any](types *Types[E], f func(ctx context.Context, tx Tx, e E, r leat.Recorded) error) func(context.Context, Tx, leat.Recorded) error {
	return func(ctx context.Context, tx Tx, r leat.Recorded) error {
		e, err := types.Decode(r)
		if err != nil {
			return Permanent(err)
		}
		return f(ctx, tx, e, r)
	}
}

// React returns a Reactor's React that decodes events for f, as Apply does.
func React[E any](types *Types[E], f func(ctx context.Context, e E, r leat.Recorded) error) func(context.Context, leat.Recorded) error {
	return func(ctx context.Context, r leat.Recorded) error {
		e, err := types.Decode(r)
		if err != nil {
			return Permanent(err)
		}
		return f(ctx, e, r)
	}
}

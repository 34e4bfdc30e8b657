package s3

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Limits bound how long a call waits for a store. Zero fields stand for the
// defaults.
type Limits struct {
	// Attempt is how long one attempt may take, its bytes apart.
	Attempt time.Duration

	// Rate is the least number of bytes that have to pass in a second, on
	// average: an attempt that moves n bytes may take n/Rate longer.
	Rate int64

	// Attempts is how often something is attempted.
	Attempts int

	// Pause is the wait after the first failed attempt, MaxPause the longest:
	// it doubles from one to the next. What is waited is a random part of it, at
	// least half.
	Pause, MaxPause time.Duration
}

// Defaults of Limits. A store that answers nothing costs a call without many
// bytes a little more than a minute.
const (
	DefaultAttempt  = 10 * time.Second
	DefaultRate     = 1 << 20
	DefaultAttempts = 6
	DefaultPause    = 200 * time.Millisecond
	DefaultMaxPause = 5 * time.Second
)

func (l Limits) withDefaults() Limits {
	if l.Attempt == 0 {
		l.Attempt = DefaultAttempt
	}
	if l.Rate == 0 {
		l.Rate = DefaultRate
	}
	if l.Attempts == 0 {
		l.Attempts = DefaultAttempts
	}
	if l.Pause == 0 {
		l.Pause = DefaultPause
	}
	if l.MaxPause == 0 {
		l.MaxPause = DefaultMaxPause
	}
	return l
}

// bytes returns how much longer an attempt may take that moves n bytes.
func (l Limits) bytes(n int64) time.Duration {
	return time.Duration(float64(n) / float64(l.Rate) * float64(time.Second))
}

// pause waits after the n-th failed attempt.
func (l Limits) pause(ctx context.Context, n int) error {
	wait := l.Pause
	for range n - 1 {
		wait = min(2*wait, l.MaxPause)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait/2 + rand.N(wait/2+1)):
		return nil
	}
}

// A slowError says that an attempt took too long.
type slowError struct{ limit time.Duration }

func (e *slowError) Error() string {
	return fmt.Sprintf("the store did not answer within %s", e.limit.Round(time.Millisecond))
}

// A watch ends the context of an attempt that takes too long.
type watch struct {
	limits Limits
	timer  *time.Timer
}

// watched calls f with a context that ends when the attempt takes longer than
// one may that moves n bytes. The error is then a *slowError.
func (l Limits) watched(ctx context.Context, n int64, f func(context.Context, *watch) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := l.Attempt + l.bytes(n)
	w := &watch{limits: l, timer: time.AfterFunc(limit, func() { cancel(&slowError{limit}) })}
	defer w.timer.Stop()
	err := f(ctx, w)
	var slow *slowError
	if err != nil && errors.As(context.Cause(ctx), &slow) {
		return slow
	}
	return err
}

// more gives the attempt the time for n bytes from now on.
func (w *watch) more(n int64) {
	if w.timer.Stop() {
		w.timer.Reset(w.limits.Attempt + w.limits.bytes(n))
	}
}

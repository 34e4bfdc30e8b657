package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/wire"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ErrUnreachable says that no server answers, or none did for as long as
// Options.Retry says.
var ErrUnreachable = fmt.Errorf("the server cannot be reached: %w", leat.ErrUnavailable)

// Pauses between attempts.
const (
	firstPause   = 20 * time.Millisecond
	longestPause = time.Second
)

// call calls f, again when the transport fails, until the budget for retries is
// used up. f must be safe to repeat.
func (c *conn) call(ctx context.Context, f func(context.Context) error) error {
	r := c.retrying()
	for {
		err := c.callOnce(ctx, f)
		if !errors.Is(err, ErrUnreachable) {
			return err
		}
		if err := r.pause(ctx, err); err != nil {
			return err
		}
	}
}

// callOnce calls f once. Its error is the server's answer, that of ctx,
// leat.ErrClosed, or ErrUnreachable.
func (c *conn) callOnce(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	err := f(ctx)
	if err == nil {
		return nil
	}
	return c.explain(ctx, err)
}

// explain says what an error of gRPC is: the server's answer, the end of ctx or
// of the connection, or ErrUnreachable when it may pass.
func (c *conn) explain(ctx context.Context, err error) error {
	if answer := wire.FromStatus(err); answer != nil {
		if errors.Is(answer, leat.ErrClosed) { // by a server that is stopping
			return fmt.Errorf("%w at %s: %v", ErrUnreachable, c.address, answer) //nolint:errorlint // the log is not closed for good
		}
		return answer
	}
	if c.ctx.Err() != nil {
		return fmt.Errorf("the connection to %s: %w", c.address, leat.ErrClosed)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch code := status.Code(err); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
	case code == codes.Unavailable, code == codes.Internal, code == codes.Unknown, code == codes.Canceled, code == codes.DeadlineExceeded:
	case code == codes.PermissionDenied, code == codes.Unauthenticated:
		return fmt.Errorf("%w: %s", leat.ErrDenied, status.Convert(err).Message())
	case code == codes.Unimplemented:
		return fmt.Errorf("%w by the server at %s: %s", leat.ErrUnsupported, c.address, status.Convert(err).Message())
	default:
		return fmt.Errorf("the server at %s: %w", c.address, err)
	}
	return fmt.Errorf("%w at %s: %s; is it running (leat serve), and is the address right?",
		ErrUnreachable, c.address, status.Convert(err).Message())
}

// A retrying is what one call may spend on trying again. It belongs to one
// goroutine.
type retrying struct {
	conn  *conn
	first time.Time // when the first failure was; zero when there was none
	next  time.Duration
}

func (c *conn) retrying() *retrying { return &retrying{conn: c, next: firstPause} }

// progress makes the budget whole again.
func (r *retrying) progress() { *r = *r.conn.retrying() }

// pause waits before the next attempt. It returns an error when there is none:
// err, that of ctx, or leat.ErrClosed.
func (r *retrying) pause(ctx context.Context, err error) error {
	now := time.Now()
	if r.first.IsZero() {
		r.first = now
	}
	if now.Sub(r.first) >= r.conn.retry {
		return err
	}
	return r.rest(ctx)
}

// rest waits, each time longer. It returns the error of ctx, or leat.ErrClosed.
func (r *retrying) rest(ctx context.Context) error {
	timer := time.NewTimer(time.Duration((0.5 + rand.Float64()/2) * float64(r.next)))
	defer timer.Stop()
	r.next = min(2*r.next, longestPause)
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-r.conn.ctx.Done():
		return fmt.Errorf("the connection to %s: %w", r.conn.address, leat.ErrClosed)
	}
}

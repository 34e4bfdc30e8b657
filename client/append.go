package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/wire"
)

// Append implements leat.Log. It checks bounds and route before anything is
// sent.
func (l *Log) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	return l.Submit(ctx, events, conds...).Wait()
}

// Submit implements leat.Submitter.
func (l *Log) Submit(ctx context.Context, events []leat.Event, conds ...leat.Condition) leat.Pending {
	key, err := leat.PrepareAppend(events, conds, l.limits, l.single)
	if err != nil {
		return leat.Refuse(err)
	}
	if err := ctx.Err(); err != nil {
		return leat.Refuse(err)
	}
	size := wire.EncodedSize(events, conds)
	if err := checkBytes("events", size); err != nil {
		return leat.Refuse(err)
	}
	a := pendings.Get().(*pending)
	a.log, a.ctx, a.events, a.place = l, ctx, len(events), l.known.place(key)
	a.encoded = wire.EncodeAppend(slices.Grow(a.encoded[:0], size), events, conds)
	if err := l.pipe.push(a); err != nil {
		a.release()
		return leat.Refuse(l.appendFailed(err))
	}
	return a
}

// Wait implements leat.Pending.
func (a *pending) Wait() (leat.Receipt, error) {
	o := a.wait()
	l := a.log
	a.release()
	if o.err != nil {
		return leat.Receipt{}, l.appendFailed(o.err)
	}
	return o.receipt, nil
}

func (a *pending) wait() outcome {
	select {
	case o := <-a.outcome:
		return o
	default:
	}
	select {
	case o := <-a.outcome:
		return o
	case <-a.ctx.Done():
		return a.log.pipe.abandon(a, a.ctx.Err())
	}
}

func (l *Log) appendFailed(err error) error {
	if errors.Is(err, leat.ErrUncertain) || errors.Is(err, ErrUnreachable) || errors.Is(err, leat.ErrClosed) {
		return fmt.Errorf("append to %s://%s/%s: %w", Scheme, l.conn.address, l.name, err)
	}
	return err
}

// A pending is an Append that waits for its outcome. Its fields below belong to
// the pipe, and are guarded by its mutex.
type pending struct {
	log     *Log
	ctx     context.Context
	encoded []byte // see wire.EncodeAppend; it may be sent several times
	events  int
	place   place
	outcome chan outcome // takes one

	queued bool      // in the pipe's queue, otherwise in flight
	at     uint64    // place in the queue, or number in flight
	lost   bool      // it was sent, and the connection was lost before an answer
	failed time.Time // when it failed to be sent or answered first
}

var pendings = sync.Pool{New: func() any { return &pending{outcome: make(chan outcome, 1)} }}

// release gives a back for another Append. The pipe has no use for it any more.
func (a *pending) release() {
	const mostPooled = 64 << 10
	if cap(a.encoded) <= mostPooled {
		*a = pending{encoded: a.encoded, outcome: a.outcome}
		pendings.Put(a)
	}
}

// An outcome is what became of an Append.
type outcome struct {
	receipt leat.Receipt
	err     error
}

// answered returns the outcome that a server's answer stands for. Answers are
// given in the order in which they came.
func (a *pending) answered(r *wire.Result, k *known) outcome {
	if r.Receipt != nil {
		receipt := *r.Receipt
		if n := len(receipt.Versions); n != a.events {
			return outcome{err: fmt.Errorf("%w: the server answered with the versions of %d events to %d", leat.ErrUncertain, n, a.events)}
		}
		if receipt.Duplicate && a.lost {
			receipt.Duplicate = !k.claim(a.place, receipt, a.events)
		} else if !receipt.Duplicate {
			receipt.Duplicate = !k.record(receipt)
		}
		k.see(receipt.Shard, receipt.Last)
		return outcome{receipt: receipt}
	}
	if r.Err == nil {
		return outcome{err: fmt.Errorf("%w: the server answered neither with a receipt nor with an error", leat.ErrUncertain)}
	}
	err := wire.Error(r.Err)
	if a.lost && !final(err) {
		err = fmt.Errorf("%w: what was sent before may still be recorded: %w", leat.ErrUncertain, err)
	}
	return outcome{err: err}
}

// final reports whether an error that one sending got holds for every other,
// earlier or later: none can be recorded.
func final(err error) bool {
	var conflict *leat.ConflictError
	if errors.As(err, &conflict) {
		// A version only grows, so one that is past never comes.
		return !conflict.Condition.Exists && conflict.Actual > conflict.Condition.Version
	}
	for _, is := range []error{leat.ErrInvalid, leat.ErrCrossKey, leat.ErrIDReused, leat.ErrPartial, leat.ErrNotFound, leat.ErrUncertain} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

// givenUp returns the outcome of an Append that is not sent again because of
// err.
func (a *pending) givenUp(sent bool, err error) outcome {
	if sent || a.lost {
		err = fmt.Errorf("%w: %w", leat.ErrUncertain, err)
	}
	return outcome{err: err}
}

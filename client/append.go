package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/wire"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
)

// Append implements leat.Log. It checks bounds and route before anything is
// sent.
func (l *Log) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	key, err := leat.PrepareAppend(events, conds, l.limits, l.single)
	if err != nil {
		return leat.Receipt{}, err
	}
	if err := ctx.Err(); err != nil {
		return leat.Receipt{}, err
	}
	a := &pending{
		message: &leatv1.NumberedAppend{Events: wire.FromEvents(own(events)), Conditions: wire.FromConditions(conds)},
		place:   l.known.place(key),
		outcome: make(chan outcome, 1),
	}
	if a.bytes, err = checkSize("events", a.message); err != nil {
		return leat.Receipt{}, err
	}
	if err := l.pipe.push(a); err != nil {
		return leat.Receipt{}, l.appendFailed(err)
	}
	var o outcome
	select {
	case o = <-a.outcome:
	case <-ctx.Done():
		o = l.pipe.abandon(a, ctx.Err())
	}
	if o.err != nil {
		return leat.Receipt{}, l.appendFailed(o.err)
	}
	return o.receipt, nil
}

func (l *Log) appendFailed(err error) error {
	if errors.Is(err, leat.ErrUncertain) || errors.Is(err, ErrUnreachable) || errors.Is(err, leat.ErrClosed) {
		return fmt.Errorf("append to %s://%s/%s: %w", Scheme, l.conn.address, l.name, err)
	}
	return err
}

// own returns events whose data is the client's: it may be sent after Append has
// returned, when the caller uses its memory for other things.
func own(events []leat.Event) []leat.Event {
	size := 0
	for i := range events {
		size += len(events[i].Data)
	}
	memory := make([]byte, 0, size)
	owned := make([]leat.Event, len(events))
	for i, e := range events {
		memory = append(memory, e.Data...)
		e.Data = memory[len(memory)-len(e.Data) : len(memory) : len(memory)]
		owned[i] = e
	}
	return owned
}

// A pending is an Append that waits for its outcome. Its fields below belong to
// the pipe, and are guarded by its mutex.
type pending struct {
	message *leatv1.NumberedAppend
	bytes   int
	place   place
	outcome chan outcome // takes one

	lost   bool      // it was sent, and the connection was lost before an answer
	failed time.Time // when it failed to be sent or answered first
}

// An outcome is what became of an Append.
type outcome struct {
	receipt leat.Receipt
	err     error
}

// answered returns the outcome that a server's answer stands for. Answers are
// given in the order in which they came.
func (a *pending) answered(r *leatv1.AppendResult, k *known) outcome {
	if m := r.GetReceipt(); m != nil {
		receipt := wire.Receipt(m)
		if receipt.Duplicate && a.lost {
			receipt.Duplicate = !k.own(a.place, receipt, len(a.message.GetEvents()))
		}
		k.record(receipt)
		return outcome{receipt: receipt}
	}
	m := r.GetError()
	if m == nil {
		return outcome{err: fmt.Errorf("%w: the server answered neither with a receipt nor with an error", leat.ErrUncertain)}
	}
	err := wire.Error(m)
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

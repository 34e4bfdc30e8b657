package leat

import (
	"context"
	"fmt"
	"runtime/debug"
)

type (
	// A Submitter can have many Appends under way without a goroutine for each.
	// It is an optional capability of a Log; see [Submit].
	Submitter interface {
		// Submit begins what Log.Append does and returns without waiting for it.
		// Events, what they refer to, and conditions are the log's until Wait of
		// what it returns has returned. Appends that are under way at the same
		// time are carried out in any order. Only the caller bounds how many
		// there are, and with them the memory they take. It is safe for
		// concurrent use.
		Submit(ctx context.Context, events []Event, conds ...Condition) Pending
	}

	// A Pending is an Append under way.
	Pending interface {
		// Wait waits for the outcome, and returns what Log.Append returns. It is
		// called exactly once, by any goroutine. When the context of Submit ends
		// first, it returns soon.
		Wait() (Receipt, error)
	}
)

// Submit begins an Append and returns without waiting for it: as Submitter says
// if the log is one, otherwise in a goroutine, which ends before Wait returns.
func Submit(ctx context.Context, log Log, events []Event, conds ...Condition) Pending {
	if s, ok := log.(Submitter); ok {
		return s.Submit(ctx, events, conds...)
	}
	p := make(pendingCall, 1)
	go p.call(ctx, log, events, conds)
	return p
}

// Refuse returns what Submit returns of an Append that is not begun because of an
// error, which is its outcome.
func Refuse(err error) Pending { return refused{err} }

type refused struct{ err error }

// Wait implements Pending.
func (r refused) Wait() (Receipt, error) { return Receipt{}, r.err }

// A pendingCall gets the outcome of a call of Append.
type pendingCall chan appended

type appended struct {
	receipt  Receipt
	err      error
	panicked string // why Append did not return
}

func (p pendingCall) call(ctx context.Context, log Log, events []Event, conds []Condition) {
	o := appended{err: ErrUncertain} // unless Append returns
	defer func() {
		if r := recover(); r != nil {
			o.panicked = fmt.Sprintf("%v\n\n%s", r, debug.Stack())
		}
		p <- o
	}()
	o.receipt, o.err = log.Append(ctx, events, conds...)
}

// Wait implements Pending. It panics when Append did.
func (p pendingCall) Wait() (Receipt, error) {
	o := <-p
	if o.panicked != "" {
		panic(o.panicked)
	}
	return o.receipt, o.err
}

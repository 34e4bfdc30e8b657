package servicetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

// A faultPlace is where a failure can strike.
type faultPlace int

const (
	atCommit faultPlace = iota
	atHandler
	atRead
)

// A failure is one way in which an application can be hit.
type failure struct {
	what   string // for people; takes the number of the call
	at     faultPlace
	after  bool // once the call has succeeded
	effect effect
}

type effect int

const (
	fails  effect = iota // the call returns an error
	panics               // it panics
	kills                // the process is gone: nothing that it does has an effect any more
)

// failures are all there are. What a handler wrote when it fails has to be rolled
// back, so handlers are hit when they are done.
var failures = []failure{
	{"commit %d fails", atCommit, false, fails},
	{"the answer to commit %d is lost", atCommit, true, fails},
	{"the process is killed before commit %d", atCommit, false, kills},
	{"the process is killed after commit %d", atCommit, true, kills},
	{"call %d of the handler fails", atHandler, true, fails},
	{"call %d of the handler panics, and what is parked is tried again", atHandler, true, panics},
	{"the process is killed in call %d of the handler", atHandler, true, kills},
	{"read %d of the log fails", atRead, false, fails},
}

var (
	errInjected = errors.New("injected by the test")
	errKilled   = errors.New("the process was killed by the test")
)

// A fault is a failure that strikes at one call. A nil fault never does. It is
// safe for concurrent use.
type fault struct {
	failure
	call   int           // the first is 1
	killed chan struct{} // closed when the process is killed

	mu     sync.Mutex
	calls  int
	struck bool
	dead   bool
}

func (f failure) on(call int) *fault {
	return &fault{failure: f, call: call, killed: make(chan struct{})}
}

func (f *fault) String() string {
	if f == nil {
		return "nothing fails"
	}
	return fmt.Sprintf(f.what, f.call)
}

// pass is called where a failure can strike.
func (f *fault) pass(at faultPlace, after bool) error {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return errKilled
	}
	if f.struck || at != f.at || after != f.after {
		return nil
	}
	if f.calls++; f.calls < f.call {
		return nil
	}
	f.struck = true
	switch f.effect {
	case panics:
		panic(errInjected)
	case kills:
		f.dead = true
		close(f.killed)
		return errKilled
	}
	return errInjected
}

// around calls f where a failure can strike before it and after it.
func (f *fault) around(at faultPlace, do func() error) error {
	if err := f.pass(at, false); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return f.pass(at, true)
}

// revive lets another process take the place of the one that was killed.
func (f *fault) revive() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead, f.killed = false, nil
}

func (f *fault) hasStruck() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.struck
}

// faultyStore, faultyModel and faultyLog are what an application reaches others
// through.
type faultyStore struct {
	service.CheckpointStore
	f *fault
}

func (s faultyStore) Save(ctx context.Context, step service.Step) error {
	return s.f.around(atCommit, func() error { return s.CheckpointStore.Save(ctx, step) })
}

type faultyModel[Tx any] struct {
	service.ReadModel[Tx]
	f *fault
}

func (m faultyModel[Tx]) Save(ctx context.Context, step service.Step) error {
	return m.f.around(atCommit, func() error { return m.ReadModel.Save(ctx, step) })
}

func (m faultyModel[Tx]) Commit(ctx context.Context, step service.Step, do func(context.Context, Tx) error) error {
	return m.f.around(atCommit, func() error { return m.ReadModel.Commit(ctx, step, do) })
}

type faultyLog struct {
	leat.Log
	f *fault
}

// eventsAtOnce is how many events are read at once, and so committed together: few,
// so that there are many places to fail in a short history.
const eventsAtOnce = 2

func (l faultyLog) ReadShard(ctx context.Context, shard leat.ShardID, after uint64, o leat.ReadOptions) (b leat.Batch, err error) {
	o.Limit = eventsAtOnce
	err = l.f.around(atRead, func() error {
		b, err = l.Log.ReadShard(ctx, shard, after, o)
		return err
	})
	return b, err
}

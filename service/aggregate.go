package service

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leathq/leat"
)

// DefaultCache is how many states an Aggregate keeps when Aggregate.Cache is 0.
const DefaultCache = 10_000

const (
	conflictAttempts  = 10 // decisions of one Do that may lose against another process
	uncertainAttempts = 5  // appends of the same events whose outcome stays unknown
)

// An Aggregate carries out commands on the streams of one category. S is the
// state of a stream, E what its events are. The zero S is the state of a stream
// without events. Set the fields before the first use and do not copy it after;
// it is safe for concurrent use then.
type Aggregate[S, E any] struct {
	// Category is what the names of the streams begin with: no "-" in it.
	Category string

	// Source is the service that records the events; Category when empty.
	Source string

	Types *Types[E]

	// Evolve returns the state after an event. States are shared, with the cache
	// and with callers of Load and Do, so it must not change what s refers to:
	// it clones a map or slice before it writes to one. Unless Clone is set.
	Evolve func(s S, e E) S

	// Clone returns a copy of a state that shares nothing with it. When it is
	// set, Evolve may change what its argument refers to, and each Load and Do
	// makes one clone, which it returns: less than a clone for each event.
	Clone func(S) S

	// Cache is how many states are kept in memory, those used last;
	// DefaultCache when 0, none when negative. A kept state is brought up to
	// date by the commands this process carries out, and by reading what it
	// lacks when others wrote. It belongs to the Log value that it was read
	// through: open a log anew after it was restored.
	Cache int

	// Snapshots keeps states outside of memory, so that a process that starts
	// does not read long streams again.
	Snapshots Snapshots

	// evolve takes the place of Evolve for a Process, which also looks at what
	// else was recorded of an event.
	evolve func(s S, e E, of *leat.Event) S

	once      sync.Once
	invalid   error
	cache     *cache[S]
	snapshots *snapshots[S] // nil without Snapshots
}

// Loaded is the state of a stream.
type Loaded[S any] struct {
	State   S
	Version uint64 // of the stream; 0 when it has no events
}

// errNothingLeft is how a decider says that its command needs no decision any
// more. It is returned as it is, whatever the state.
var errNothingLeft = errors.New("there is nothing left to decide on")

// A Result is what became of a command.
type Result[S any] struct {
	// State and Version of the stream, after the command.
	State   S
	Version uint64

	// Receipt of the events. The zero Receipt when none were decided, or when
	// the command was carried out before.
	Receipt leat.Receipt

	// Duplicate says that a command with this CommandID was carried out before,
	// and nothing was recorded now.
	Duplicate bool
}

// Stream returns the name of the stream of an entity: Category, "-", id.
func (a *Aggregate[S, E]) Stream(id string) string { return a.Category + "-" + id }

// Load returns the state of an entity as it is now in the log.
func (a *Aggregate[S, E]) Load(ctx context.Context, log leat.Log, id string) (Loaded[S], error) {
	e, err := a.acquire(ctx, log, id)
	if err != nil {
		return Loaded[S]{}, err
	}
	defer a.cache.release(e)
	if _, err := a.refresh(ctx, e); err != nil {
		return Loaded[S]{}, err
	}
	return Loaded[S]{a.shared(e.state), e.version}, nil
}

// Do carries out a command on an entity: it loads the state, lets decide say
// which events follow, and appends them, provided that nobody else has written
// to the stream meanwhile; otherwise it decides again on the new state, up to 10
// times, and then returns a [*leat.ConflictError]. Commands of one process on
// one stream wait for each other and do not conflict.
//
// decide may be called more than once and must not change the state. Its errors
// are returned as they are, and nothing is appended then, nor when it returns no
// events. Such an answer is never given on a stale state. The events become part
// of states, so what they refer to must not change any more.
//
// With a [CommandID] the command is carried out once: when its first event is
// recorded already, the Result says Duplicate and there is no error, whatever
// decide says now. Without one, a command may be carried out twice if its
// caller repeats it after an error that wraps leat.ErrUncertain; Do itself
// retries those with the same events a few times, which is safe.
func (a *Aggregate[S, E]) Do(ctx context.Context, log leat.Log, id string, decide func(S) ([]E, error), opts ...Option) (Result[S], error) {
	var c command
	for _, o := range opts {
		o(&c)
	}
	e, err := a.acquire(ctx, log, id)
	if err != nil {
		return Result[S]{}, err
	}
	defer a.cache.release(e)

	fresh := e.version == 0 // whether the state is what the log had during this call
	if fresh {
		if _, err := a.refresh(ctx, e); err != nil {
			return Result[S]{}, err
		}
	}
	for attempt := 1; ; attempt++ {
		events, refused := decide(e.state)
		if errors.Is(refused, errNothingLeft) {
			return Result[S]{}, refused
		}
		if refused != nil || len(events) == 0 {
			if !fresh {
				fresh = true
				changed, err := a.refresh(ctx, e)
				if err != nil {
					return Result[S]{}, err
				}
				if changed {
					continue
				}
			}
			return a.nothing(ctx, e, &c, refused)
		}
		r, err := a.append(ctx, e, &c, events)
		if err == nil {
			return r, nil
		}
		conflict, ok := errors.AsType[*leat.ConflictError](err)
		if !ok {
			return Result[S]{}, fmt.Errorf("append to %s: %w", e.stream, err)
		}
		if attempt == conflictAttempts {
			return Result[S]{}, fmt.Errorf("append to %s: others were faster %d times: %w", e.stream, attempt, err)
		}
		if attempt > 1 {
			if err := pause(ctx, backoff(attempt, time.Millisecond, 100*time.Millisecond)); err != nil {
				return Result[S]{}, err
			}
		}
		if conflict.Actual < e.version { // the log was restored to before what was kept
			e.forget()
			a.snapshots.forget(log)
		}
		if _, err := a.refresh(ctx, e); err != nil {
			return Result[S]{}, err
		}
		fresh = true
	}
}

// nothing is the result of a decision without events.
func (a *Aggregate[S, E]) nothing(ctx context.Context, e *entry[S], c *command, refused error) (Result[S], error) {
	if c.id != "" && (refused != nil || !c.unasked) {
		known, err := a.known(ctx, e, c)
		if err != nil {
			return Result[S]{}, errors.Join(refused, err)
		}
		if known {
			return a.duplicate(ctx, e)
		}
	}
	if refused != nil {
		return Result[S]{}, refused
	}
	return Result[S]{State: a.shared(e.state), Version: e.version}, nil
}

// append records what was decided on the state of e.
func (a *Aggregate[S, E]) append(ctx context.Context, e *entry[S], c *command, events []E) (Result[S], error) {
	batch, err := a.encode(e.stream, c, events)
	if err != nil {
		return Result[S]{}, err
	}
	receipt, uncertain, err := appendCertain(ctx, e.log, batch, leat.ExpectVersion(e.stream, e.version))
	switch {
	case err != nil && c.id != "":
		known, err := a.knownBy(ctx, e, c, err)
		if err != nil || !known {
			return Result[S]{}, err
		}
		return a.duplicate(ctx, e)
	case err != nil:
		return Result[S]{}, err
	case receipt.Duplicate && !uncertain, !follows(receipt, e.version):
		return a.duplicate(ctx, e)
	}
	s, version := e.state, e.version
	e.forget()
	for i, event := range events {
		s = a.next(s, event, &batch[i])
	}
	e.state, e.version = s, version+uint64(len(events))
	e.last = mark{batch[len(batch)-1].ID, receipt.At}
	a.keep(ctx, e)
	return Result[S]{State: a.shared(s), Version: e.version, Receipt: receipt}, nil
}

// follows reports whether the events of a receipt are the next after a version.
// Those that are recorded anywhere else were recorded before, on another state,
// whatever the receipt says of that: a client that had to send them again cannot
// always tell.
func follows(r leat.Receipt, version uint64) bool {
	for i, v := range r.Versions {
		if v != version+1+uint64(i) {
			return false
		}
	}
	return true
}

// appendCertain appends until the outcome is known. It reports whether it was
// unknown at first: a duplicate may then be our own.
func appendCertain(ctx context.Context, log leat.Log, batch []leat.Event, cond leat.Condition) (r leat.Receipt, uncertain bool, err error) {
	for attempt := 1; ; attempt++ {
		r, err = log.Append(ctx, batch, cond)
		if !errors.Is(err, leat.ErrUncertain) {
			return r, uncertain, err
		}
		uncertain = true
		if attempt == uncertainAttempts || pause(ctx, backoff(attempt, 10*time.Millisecond, time.Second)) != nil {
			return r, uncertain, err
		}
	}
}

// knownBy reports whether the error of an append means that the command's first
// event is recorded. If not, it returns the error.
func (a *Aggregate[S, E]) knownBy(ctx context.Context, e *entry[S], c *command, failed error) (bool, error) {
	if partial, ok := errors.AsType[*leat.PartialError](failed); ok && slices.Contains(partial.Known, 0) {
		return true, nil
	}
	if reused, ok := errors.AsType[*leat.IDReusedError](failed); ok {
		if reused.Index == 0 {
			return true, nil
		}
		if known, err := a.known(ctx, e, c); known || err != nil {
			return known, err
		}
	}
	return false, failed
}

// known asks the log whether the stream has the command's first event. IDs are
// looked up before conditions, so an append on a condition that no stream meets
// tells without writing anything.
func (a *Aggregate[S, E]) known(ctx context.Context, e *entry[S], c *command) (bool, error) {
	probe := []leat.Event{{ID: c.id, Stream: e.stream, Type: "probe", Source: a.source()}}
	_, _, err := appendCertain(ctx, e.log, probe, leat.ExpectVersion(e.stream, math.MaxUint64))
	switch {
	case err == nil, errors.Is(err, leat.ErrIDReused):
		return true, nil
	case errors.Is(err, leat.ErrConflict):
		return false, nil
	}
	return false, fmt.Errorf("look up command %q in %s: %w", c.id, e.stream, err)
}

func (a *Aggregate[S, E]) duplicate(ctx context.Context, e *entry[S]) (Result[S], error) {
	if _, err := a.refresh(ctx, e); err != nil {
		return Result[S]{}, err
	}
	return Result[S]{State: a.shared(e.state), Version: e.version, Duplicate: true}, nil
}

func (a *Aggregate[S, E]) encode(stream string, c *command, events []E) ([]leat.Event, error) {
	batch := make([]leat.Event, len(events))
	for i, event := range events {
		typ, data, err := a.Types.Encode(event)
		if err != nil {
			return nil, err
		}
		c, n := c.of(i)
		batch[i] = leat.Event{
			ID: c.eventID(n), Stream: stream, Type: typ, Source: a.source(), Time: c.time, Data: data, Meta: c.meta,
		}
	}
	return batch, nil
}

// refresh folds the events that e lacks onto its state and reports whether
// there were any. After an error e holds what was folded before it.
func (a *Aggregate[S, E]) refresh(ctx context.Context, e *entry[S]) (changed bool, err error) {
	before := e.version
	if err := a.read(ctx, e, until{}); err != nil {
		return e.version != before, err
	}
	if e.version == before {
		return false, nil
	}
	a.keep(ctx, e)
	return true, nil
}

// next returns the state after an event.
func (a *Aggregate[S, E]) next(s S, e E, of *leat.Event) S {
	if a.evolve != nil {
		return a.evolve(s, e, of)
	}
	return a.Evolve(s, e)
}

// shared returns a state as it may be given to others.
func (a *Aggregate[S, E]) shared(s S) S {
	if a.Clone == nil {
		return s
	}
	return a.Clone(s)
}

func (a *Aggregate[S, E]) source() string {
	if a.Source == "" {
		return a.Category
	}
	return a.Source
}

// acquire returns what is kept of a stream, for this caller alone until it is
// released.
func (a *Aggregate[S, E]) acquire(ctx context.Context, log leat.Log, id string) (*entry[S], error) {
	if err := a.check(log, id); err != nil {
		return nil, err
	}
	return a.cache.acquire(ctx, log, a.Stream(id))
}

// check returns the error of an aggregate or an argument that is not what it has
// to be.
func (a *Aggregate[S, E]) check(log leat.Log, id string) error {
	a.once.Do(a.init)
	if a.invalid != nil {
		return a.invalid
	}
	if id == "" {
		return &leat.InvalidError{Field: "id of " + a.Category, Limit: "not empty"}
	}
	if log == nil || !reflect.TypeOf(log).Comparable() {
		return &leat.InvalidError{Field: "log", Limit: "of a type that can be compared, such as a pointer", Got: fmt.Sprintf("%T", log)}
	}
	return nil
}

func (a *Aggregate[S, E]) init() {
	field := ""
	switch {
	case a.Category == "" || strings.Contains(a.Category, "-") || strings.HasPrefix(a.Category, "$"):
		a.invalid = &leat.InvalidError{Field: "Aggregate.Category", Limit: `a name without "-" that does not start with "$"`, Got: fmt.Sprintf("%q", a.Category)}
		return
	case a.Types == nil:
		field = "Types"
	case a.Evolve == nil && a.evolve == nil:
		field = "Evolve"
	}
	if field != "" {
		a.invalid = &leat.InvalidError{Field: "Aggregate." + field, Limit: "set", Got: "nil"}
		return
	}
	if a.snapshots, a.invalid = newSnapshots[S](a.Snapshots, a.Category); a.invalid != nil {
		return
	}
	size := a.Cache
	if size == 0 {
		size = DefaultCache
	}
	a.cache = newCache[S](max(size, 0))
}

// backoff returns a random pause before the attempt after the n-th: between half
// and all of first doubled n-1 times, at most most.
func backoff(n int, first, most time.Duration) time.Duration {
	d := first
	for ; n > 1 && d <= most/2; n-- {
		d *= 2
	}
	if n > 1 || d > most {
		d = most
	}
	return d/2 + rand.N(d/2+1)
}

// pause waits, or returns the error of ctx.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

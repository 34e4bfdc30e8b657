package leattest

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
)

// TestMutants shows that the suite can fail: each of these logs breaks one
// promise, and the check named must notice.
func TestMutants(t *testing.T) {
	for name, m := range map[string]struct {
		noticed string // check that must fail
		model   bool   // the model must fail too
		broken  func(*Log) leat.Log
	}{
		"swaps events": {"sequences and versions have no holes", true, func(l *Log) leat.Log { return swapping{l} }},
		"ends a batch inside an append": {"a batch never ends inside an append", true,
			func(l *Log) leat.Log { return cutting{l} }},
		"reads without end":                   {"a batch ends once it has examined enough bytes", false, func(l *Log) leat.Log { return endless{l} }},
		"forgets IDs with the trimmed events": {"IDs outlive trimming", true, func(l *Log) leat.Log { return forgetting{l} }},
		"begins trimmed shards late":          {"what is trimmed is gone, and told", true, func(l *Log) leat.Log { return lateShard{l} }},
		"begins trimmed streams late":         {"a stream never starts late in silence", true, func(l *Log) leat.Log { return lateStream{l} }},
		"trims without a record":              {"trimming is recorded", true, func(l *Log) leat.Log { return secretive{l} }},
		"divides appends when it trims":       {"an append is never divided", true, func(l *Log) leat.Log { return dividing{l} }},
		"checks conditions too early":         {"of those racing for a version exactly one wins", false, func(l *Log) leat.Log { return racing{l} }},
		"checks conditions before IDs":        {"IDs are looked up before conditions", true, func(l *Log) leat.Log { return eager{l} }},
		"writes some of a refused append":     {"all conditions must hold", true, func(l *Log) leat.Log { return halfway{l} }},
		"compares no content":                 {"other content under a known ID is refused", true, func(l *Log) leat.Log { return careless{l} }},
		"answers duplicates anew":             {"known events get the first receipt", true, func(l *Log) leat.Log { return renumbering{l} }},
		"follows the clock back":              {"a clock that jumps back breaks nothing", true, func(l *Log) leat.Log { return clockbound{l} }},
		"trims spaces off data":               {"any data", false, func(l *Log) leat.Log { return tidying{l} }},
		"shares its memory":                   {"what was yielded is the caller's", false, func(l *Log) leat.Log { return sharing{l} }},
		"shows what is not durable":           {"what was acknowledged is there to be read", false, func(l *Log) leat.Log { return lagging{l} }},
		"ignores the filter":                  {"a filter selects what matches it", true, func(l *Log) leat.Log { return unfiltered{l} }},
		"never wakes":                         {"waiting ends with an event", false, func(l *Log) leat.Log { return sleeping{l} }},
		"waits on beyond the head":            {"reading beyond the head has diverged", true, func(l *Log) leat.Log { return patient{l} }},
		"forgets its epochs":                  {"a restored log tells its epochs", false, func(l *Log) leat.Log { return forgetful{l} }},
		"imports anything":                    {"what does not fit is refused whole", true, func(l *Log) leat.Log { return swallowing{l} }},
		"takes system streams":                {"what is out of bounds is named", false, func(l *Log) leat.Log { return renaming{l} }},
		"shows one memory for all": {"a Scanner shows what ReadShard gives", false,
			func(l *Log) leat.Log { return reshowing{showing{l}} }},
		"passes what it has not shown": {"a Scanner ends with its visitor's error", false,
			func(l *Log) leat.Log { return passing{showing{l}} }},
		"wraps what its visitor says": {"a Scanner ends with its visitor's error", false,
			func(l *Log) leat.Log { return wrapping{showing{l}} }},
		"never ends a closed shard": {"a Scanner tells what ReadShard tells", false,
			func(l *Log) leat.Log { return unending{showing{l}} }},
		"mixes up what is submitted": {"each of many that are submitted has its own outcome", false,
			func(l *Log) leat.Log { return &mixing{Log: l} }},
		"ignores its end": {"a closed log says so", false, func(l *Log) leat.Log { return undying{l} }},
	} {
		t.Run(name, func(t *testing.T) {
			open := func(t testing.TB, s Setup) Instance {
				log := openReference(t, s).Log.(*Log)
				return Instance{Log: m.broken(log)}
			}
			c := findCheck(t, m.noticed)
			if failure := failureOf(t, func(t testing.TB) { c.run(t, open) }); failure == "" {
				t.Errorf("the check %q did not fail", m.noticed)
			}
			if failure := failureOf(t, func(t testing.TB) { c.run(t, openReference) }); failure != "" {
				t.Errorf("the check %q fails on the reference too: %s", m.noticed, failure)
			}
			if !m.model {
				return
			}
			if failure := failureOf(t, func(t testing.TB) { testModel(t, open) }); failure == "" {
				t.Error("the model did not fail")
			}
		})
	}
}

// A log that loses its last append when it is closed is not durable.
func TestMutantThatIsNotDurable(t *testing.T) {
	open := func(t testing.TB, s Setup) Instance {
		in := openReference(t, s)
		reopen := in.Reopen
		in.Reopen = func() leat.Log {
			log := reopen().(*Log)
			for _, s := range log.shards {
				if n := len(s.events); n > 0 && !s.Closed {
					s.events, s.Head = s.events[:n-1], s.Head-1
				}
			}
			return log
		}
		return in
	}
	for _, c := range durable {
		if failureOf(t, func(t testing.TB) { c.run(t, open) }) == "" {
			t.Errorf("the check %q did not fail", c.name)
		}
	}
}

func findCheck(t *testing.T, name string) check {
	t.Helper()
	for _, p := range promises {
		for _, c := range p.checks {
			if c.name == name {
				return c
			}
		}
	}
	t.Fatalf("there is no check %q", name)
	return check{}
}

// failureOf returns with what a test fails, empty when it does not.
func failureOf(t *testing.T, test func(testing.TB)) (failure string) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	for name, value := range map[string]string{"rapid.nofailfile": "true", "rapid.shrinktime": "0s"} {
		f := flag.Lookup(name)
		old := f.Value.String()
		defer func() { _ = f.Value.Set(old) }()
		_ = f.Value.Set(value)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r := recorder{trial: &trial{TB: t}, ctx: ctx}
		r.fail = func(text string) {
			failure = text
			runtime.Goexit()
		}
		defer r.end()
		test(r)
	}()
	<-done
	return failure
}

// A recorder is a trial whose calls end with ctx.
type recorder struct {
	*trial
	ctx context.Context
}

func (r recorder) Context() context.Context { return r.ctx }
func (r recorder) Logf(string, ...any)      {}

type swapping struct{ *Log }

func (l swapping) ReadShard(ctx context.Context, id leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	b, err := l.Log.ReadShard(ctx, id, after, o)
	if n := len(b.Events); n > 1 {
		b.Events[n-1], b.Events[n-2] = b.Events[n-2], b.Events[n-1]
	}
	return b, err
}

type cutting struct{ *Log }

func (l cutting) ReadShard(ctx context.Context, id leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	b, err := l.Log.ReadShard(ctx, id, after, o)
	if o.Limit > 0 && len(b.Events) > o.Limit {
		b.Events = b.Events[:o.Limit]
		b.Next, b.Closed = b.Events[o.Limit-1].Seq, false
	}
	return b, err
}

type endless struct{ *Log }

func (l endless) ReadShard(ctx context.Context, id leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	b, err := l.Log.ReadShard(ctx, id, after, o)
	for err == nil && b.Next < b.Head {
		var more leat.Batch
		more, err = l.Log.ReadShard(ctx, id, b.Next, o)
		more.Events = append(b.Events, more.Events...)
		b = more
	}
	return b, err
}

type forgetting struct{ *Log }

func (l forgetting) Trim(ctx context.Context, id leat.ShardID, below uint64) (uint64, error) {
	oldest, err := l.Log.Trim(ctx, id, below)
	for _, st := range l.streams {
		for eventID, i := range st.byID {
			if p := st.places[i]; p.shard == id && p.seq < oldest {
				delete(st.byID, eventID)
			}
		}
	}
	return oldest, err
}

type lateShard struct{ *Log }

func (l lateShard) ReadShard(ctx context.Context, id leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	b, err := l.Log.ReadShard(ctx, id, after, o)
	var trimmed *leat.TrimmedError
	if errors.As(err, &trimmed) {
		return l.Log.ReadShard(ctx, id, trimmed.Oldest-1, o)
	}
	return b, err
}

type lateStream struct{ *Log }

func (l lateStream) ReadStream(ctx context.Context, name string, r leat.Range) iter.Seq2[leat.Recorded, error] {
	return func(yield func(leat.Recorded, error) bool) {
		events, err := l.readStream(ctx, name, r)
		var trimmed *leat.TrimmedError
		if errors.As(err, &trimmed) {
			r.After = trimmed.Oldest - 1
			events, _ = l.readStream(ctx, name, r)
		}
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
	}
}

type secretive struct{ *Log }

func (l secretive) Trim(ctx context.Context, id leat.ShardID, below uint64) (uint64, error) {
	s := l.shard(id)
	if s == nil || below <= s.Oldest || below > s.Head+1 {
		return l.Log.Trim(ctx, id, below)
	}
	s.events = s.events[below-s.Oldest:]
	s.Oldest = below
	return below, nil
}

type dividing struct{ *Log }

func (l dividing) Trim(ctx context.Context, id leat.ShardID, below uint64) (uint64, error) {
	s := l.shard(id)
	if s != nil && below > s.Oldest && below <= s.Head {
		s.events[below-s.Oldest].Commit = below
	}
	return l.Log.Trim(ctx, id, below)
}

type racing struct{ *Log }

func (l racing) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	l.mu.Lock()
	for _, c := range conds {
		if err := c.Check(l.stream(c.Stream).version()); err != nil {
			l.mu.Unlock()
			return leat.Receipt{}, err
		}
	}
	l.mu.Unlock()
	runtime.Gosched()
	return l.Log.Append(ctx, events)
}

type eager struct{ *Log }

func (l eager) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	for _, c := range conds {
		if err := c.Check(l.stream(c.Stream).version()); err != nil {
			return leat.Receipt{}, err
		}
	}
	return l.Log.Append(ctx, events, conds...)
}

type halfway struct{ *Log }

func (l halfway) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	r, err := l.Log.Append(ctx, events, conds...)
	if errors.Is(err, leat.ErrConflict) {
		_, _ = l.Log.Append(ctx, events[:1])
	}
	return r, err
}

type careless struct{ *Log }

func (l careless) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	events = slices.Clone(events)
	for i := range events {
		if p, ok := l.stream(events[i].Stream).find(events[i].ID); ok {
			events[i] = l.shard(p.shard).events[p.seq-l.shard(p.shard).Oldest].Event
		}
	}
	return l.Log.Append(ctx, events, conds...)
}

type renumbering struct{ *Log }

func (l renumbering) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	r, err := l.Log.Append(ctx, events, conds...)
	if r.Duplicate {
		r.At = l.clock()
	}
	return r, err
}

type clockbound struct{ *Log }

func (l clockbound) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	l.mu.Lock()
	for _, s := range l.shards {
		s.lastAt = time.Time{}
	}
	l.mu.Unlock()
	return l.Log.Append(ctx, events, conds...)
}

type tidying struct{ *Log }

func (l tidying) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	for i := range events {
		events[i].Data = bytes.TrimSpace(events[i].Data)
	}
	return l.Log.Append(ctx, events, conds...)
}

type sharing struct{ *Log }

func (l sharing) ReadShard(ctx context.Context, id leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	b, err := l.Log.ReadShard(ctx, id, after, o)
	for i := range b.Events {
		s := l.shard(id)
		b.Events[i] = s.events[b.Events[i].Seq-s.Oldest]
	}
	return b, err
}

type lagging struct{ *Log }

func (l lagging) ReadShard(ctx context.Context, id leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	b, err := l.Log.ReadShard(ctx, id, after, o)
	if n := len(b.Events); n > 0 && b.Next == b.Head {
		b.Events = b.Events[:n-1]
		b.Next--
		b.Head--
	}
	return b, err
}

type unfiltered struct{ *Log }

func (l unfiltered) ReadShard(ctx context.Context, id leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	o.Filter = leat.Filter{}
	return l.Log.ReadShard(ctx, id, after, o)
}

type sleeping struct{ *Log }

func (l sleeping) ReadShard(ctx context.Context, id leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	wait := o.Wait
	o.Wait = 0
	b, err := l.Log.ReadShard(ctx, id, after, o)
	if err != nil || wait == 0 || b.Next > after {
		return b, err
	}
	<-ctx.Done()
	return b, ctx.Err()
}

type patient struct{ *Log }

func (l patient) ReadShard(ctx context.Context, id leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	b, err := l.Log.ReadShard(ctx, id, after, o)
	if errors.Is(err, leat.ErrDiverged) {
		return leat.Batch{Shard: id, Next: after, Head: after}, nil
	}
	return b, err
}

type forgetful struct{ *Log }

func (l forgetful) Info(ctx context.Context) (leat.Info, error) {
	info, err := l.Log.Info(ctx)
	info.Ended = nil
	return info, err
}

type swallowing struct{ *Log }

func (l swallowing) Import(_ context.Context, id leat.ShardID, events []leat.Recorded) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range events {
		l.add(l.shard(id), e)
	}
	return nil
}

type renaming struct{ *Log }

func (l renaming) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	for i := range events {
		if strings.HasPrefix(events[i].Stream, "$") {
			events[i].Stream = fmt.Sprintf("system-{%s}", events[0].Stream)
		}
	}
	return l.Log.Append(ctx, events, conds...)
}

type undying struct{ *Log }

func (l undying) Close() error { return nil }

// showing is a Scanner as it should be.
type showing struct{ *Log }

func (l showing) ScanShard(
	ctx context.Context, id leat.ShardID, after uint64, o leat.ReadOptions, visit func(*leat.Recorded) error,
) (leat.Batch, error) {
	b, err := l.ReadShard(ctx, id, after, o)
	events := b.Events
	b.Events = nil
	for i := range events {
		if err := visit(&events[i]); err != nil {
			b.Next, b.Closed = events[i].Seq-1, false
			return b, err
		}
	}
	return b, err
}

type reshowing struct{ showing }

func (l reshowing) ScanShard(
	ctx context.Context, id leat.ShardID, after uint64, o leat.ReadOptions, visit func(*leat.Recorded) error,
) (leat.Batch, error) {
	var first *leat.Recorded
	return l.showing.ScanShard(ctx, id, after, o, func(e *leat.Recorded) error {
		if first == nil {
			first = e
		}
		return visit(first)
	})
}

type passing struct{ showing }

func (l passing) ScanShard(
	ctx context.Context, id leat.ShardID, after uint64, o leat.ReadOptions, visit func(*leat.Recorded) error,
) (leat.Batch, error) {
	b, err := l.showing.ScanShard(ctx, id, after, o, visit)
	if err != nil {
		b.Next++
	}
	return b, err
}

type wrapping struct{ showing }

func (l wrapping) ScanShard(
	ctx context.Context, id leat.ShardID, after uint64, o leat.ReadOptions, visit func(*leat.Recorded) error,
) (leat.Batch, error) {
	b, err := l.showing.ScanShard(ctx, id, after, o, visit)
	if err != nil {
		err = fmt.Errorf("scan %s: %w", id, err)
	}
	return b, err
}

type unending struct{ showing }

func (l unending) ScanShard(
	ctx context.Context, id leat.ShardID, after uint64, o leat.ReadOptions, visit func(*leat.Recorded) error,
) (leat.Batch, error) {
	b, err := l.showing.ScanShard(ctx, id, after, o, visit)
	b.Closed = false
	return b, err
}

// TestScannerAsItShouldBe shows that the suite takes a right one.
func TestScannerAsItShouldBe(t *testing.T) {
	for _, c := range scanning {
		t.Run(c.name, func(t *testing.T) {
			c.run(t, func(t testing.TB, s Setup) Instance {
				in := openReference(t, s)
				return Instance{Log: showing{in.Log.(*Log)}}
			})
		})
	}
}

// mixing answers those who submit in the order in which they wait.
type mixing struct {
	*Log
	outcomes []func() (leat.Receipt, error)
}

func (l *mixing) Submit(ctx context.Context, events []leat.Event, conds ...leat.Condition) leat.Pending {
	r, err := l.Append(ctx, events, conds...)
	l.outcomes = append(l.outcomes, func() (leat.Receipt, error) { return r, err })
	return l
}

func (l *mixing) Wait() (leat.Receipt, error) {
	outcome := l.outcomes[0]
	l.outcomes = l.outcomes[1:]
	return outcome()
}

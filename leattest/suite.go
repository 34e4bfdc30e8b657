package leattest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/leathq/leat"
)

// Open creates a new, empty log for a test and registers with t.Cleanup what
// ends it. It fails the test when it cannot.
type Open func(t testing.TB, s Setup) Instance

// A Setup says what log to create.
type Setup struct {
	leat.Config

	// Clock is the log's clock. It is safe for concurrent use.
	Clock func() time.Time
}

// An Instance is a log under test.
type Instance struct {
	Log leat.Log

	// Reopen closes the log and returns it as it is opened again. It is nil when
	// the log does not outlive its end.
	Reopen func() leat.Log
}

// TestLog proves, as far as that is possible without pulling a plug, that the
// logs open creates keep the promises of package leat. Optional capabilities
// are tested of logs that have them. It ends with [TestModel].
func TestLog(t *testing.T, open Open) {
	for _, p := range promises {
		t.Run(p.name, func(t *testing.T) {
			for _, c := range p.checks {
				t.Run(c.name, func(t *testing.T) { c.run(t, open) })
			}
		})
	}
	t.Run("as the reference", func(t *testing.T) { TestModel(t, open) })
}

// promises holds all checks, in the order of package leat's comment.
var promises = []promise{
	{"durable", durable},
	{"all or nothing", atomic},
	{"conditions", conditions},
	{"submitting", submitting},
	{"idempotent", idempotent},
	{"stable prefix", stable},
	{"order", order},
	{"exact bytes", exact},
	{"bounds", bounds},
	{"splits", splits},
	{"trimming", trimming},
	{"epochs", epochs},
	{"import", imports},
	{"filters", filters},
	{"reading", reading},
	{"scanning", scanning},
	{"following", following},
	{"manners", manners},
}

type promise struct {
	name   string
	checks []check
}

// A check proves one thing. It gets a log created with config.
type check struct {
	name   string
	config leat.Config
	prove  func(t *lab)
}

// checkTime is how long a check may take before its calls are given up, so that
// a log that hangs fails the check.
const checkTime = 5 * time.Minute

// run runs a check, and then audits the log it leaves behind.
func (c check) run(t testing.TB, open Open) {
	ctx, cancel := context.WithTimeout(t.Context(), checkTime)
	defer cancel()
	lab := &lab{TB: t, ctx: ctx, open: open, clock: newClock()}
	lab.create(c.config)
	c.prove(lab)
	if !t.Failed() {
		lab.audit()
	}
}

// A lab is where a check works: a log, its clock, and calls that fail the test
// when the log returns an error.
type lab struct {
	testing.TB
	ctx   context.Context
	open  Open
	clock *clock
	log   leat.Log
	inst  Instance
	ids   int
}

// create makes the lab's log a new one.
func (t *lab) create(c leat.Config) {
	t.Helper()
	t.inst = t.open(t.TB, Setup{Config: c, Clock: t.clock.Now})
	t.log = t.inst.Log
}

// reopen closes the lab's log and opens it again, where it can be.
func (t *lab) reopen() {
	t.Helper()
	if t.inst.Reopen != nil {
		t.log = t.inst.Reopen()
	}
}

func (t *lab) trimmer() leat.Trimmer   { return capability[leat.Trimmer](t) }
func (t *lab) splitter() leat.Splitter { return capability[leat.Splitter](t) }
func (t *lab) importer() leat.Importer { return capability[leat.Importer](t) }

// capability returns the lab's log as a C and skips the test if it is none.
func capability[C any](t *lab) C {
	t.Helper()
	c, ok := t.log.(C)
	if !ok {
		t.Skipf("%T is no %T", t.log, (*C)(nil))
	}
	return c
}

// event returns an event that was not appended before.
func (t *lab) event(stream string) leat.Event {
	t.ids++
	id := fmt.Sprintf("id-%d", t.ids)
	return leat.Event{ID: id, Stream: stream, Type: "Tested", Source: "leattest", Data: []byte("data of " + id)}
}

// events returns events, one for each stream named.
func (t *lab) events(streams ...string) []leat.Event {
	events := make([]leat.Event, len(streams))
	for i, s := range streams {
		events[i] = t.event(s)
	}
	return events
}

func (t *lab) append(events []leat.Event, conds ...leat.Condition) leat.Receipt {
	t.Helper()
	r, err := t.log.Append(t.ctx, events, conds...)
	t.ok(err, "append")
	return r
}

// appendTo appends one new event to each stream named, in one Append.
func (t *lab) appendTo(streams ...string) leat.Receipt {
	t.Helper()
	return t.append(t.events(streams...))
}

// refused appends events that must be refused with an error that is want.
func (t *lab) refused(want error, events []leat.Event, conds ...leat.Condition) {
	t.Helper()
	_ = t.refusal(want, events, conds...)
}

// refusal returns the error with which events are refused.
func (t *lab) refusal(want error, events []leat.Event, conds ...leat.Condition) error {
	t.Helper()
	before := t.heads()
	_, err := t.log.Append(t.ctx, events, conds...)
	t.is(err, want, "append")
	if after := t.heads(); !slices.Equal(before, after) {
		t.Fatalf("an Append that failed (%v) moved the heads from %v to %v", err, before, after)
	}
	return err
}

func (t *lab) heads() (heads []uint64) {
	t.Helper()
	for _, s := range t.shards() {
		heads = append(heads, s.Head)
	}
	return heads
}

func (t *lab) shards() []leat.Shard {
	t.Helper()
	shards, err := t.log.Shards(t.ctx)
	t.ok(err, "shards")
	return shards
}

// shard returns one shard.
func (t *lab) shard(id leat.ShardID) leat.Shard {
	t.Helper()
	shards := t.shards()
	i := slices.IndexFunc(shards, func(s leat.Shard) bool { return s.ID == id })
	if i < 0 {
		t.Fatalf("the log has no shard %s", id)
	}
	return shards[i]
}

// owner returns the open shard of a stream.
func (t *lab) owner(stream string) leat.Shard {
	t.Helper()
	shards := t.shards()
	i := leat.OpenShard(shards, leat.RouteHash(stream))
	if i < 0 {
		t.Fatalf("no open shard owns stream %q", stream)
	}
	return shards[i]
}

func (t *lab) info() leat.Info {
	t.Helper()
	info, err := t.log.Info(t.ctx)
	t.ok(err, "info")
	return info
}

func (t *lab) readShard(id leat.ShardID, after uint64, o leat.ReadOptions) leat.Batch {
	t.Helper()
	b, err := t.log.ReadShard(t.ctx, id, after, o)
	t.ok(err, fmt.Sprintf("read %s after %d", id, after))
	return b
}

// everything selects all events.
var everything = leat.ReadOptions{Filter: leat.Filter{System: true}}

// drain reads a shard after a sequence to its head, batch by batch.
func (t *lab) drain(id leat.ShardID, after uint64, o leat.ReadOptions) (events []leat.Recorded) {
	t.Helper()
	for {
		b := t.readShard(id, after, o)
		events = append(events, b.Events...)
		switch {
		case b.Next == b.Head:
			return events
		case b.Next <= after || b.Next > b.Head:
			t.Fatalf("read %s after %d of %d: Next is %d", id, after, b.Head, b.Next)
		}
		after = b.Next
	}
}

// kept returns all events that a shard keeps.
func (t *lab) kept(id leat.ShardID) []leat.Recorded {
	t.Helper()
	return t.drain(id, t.shard(id).Oldest-1, everything)
}

// stream returns the events of a stream.
func (t *lab) stream(name string) []leat.Recorded {
	t.Helper()
	events, err := t.tryStream(name, leat.Range{})
	t.ok(err, fmt.Sprintf("read stream %q", name))
	return events
}

// tryStream returns what ReadStream yields, and sees that an error is last.
func (t *lab) tryStream(name string, r leat.Range) (events []leat.Recorded, err error) {
	t.Helper()
	for e, e2 := range t.log.ReadStream(t.ctx, name, r) {
		if err != nil {
			t.Fatalf("read stream %q: a pair follows the error %v", name, err)
		}
		if err = e2; err == nil {
			events = append(events, e)
		}
	}
	return events, err
}

func (t *lab) split(id leat.ShardID) [2]leat.Shard {
	t.Helper()
	children, err := t.splitter().Split(t.ctx, id, t.shard(id).Middle())
	t.ok(err, "split "+string(id))
	return children
}

func (t *lab) trim(id leat.ShardID, below uint64) uint64 {
	t.Helper()
	oldest, err := t.trimmer().Trim(t.ctx, id, below)
	t.ok(err, fmt.Sprintf("trim %s below %d", id, below))
	return oldest
}

func (t *lab) ok(err error, doing string) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", doing, err)
	}
}

func (t *lab) is(err, want error, doing string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: got error %v, want one that is %q", doing, err, want)
	}
}

// as returns err as an E.
func as[E error](t *lab, err error, doing string) E {
	t.Helper()
	var e E
	if !errors.As(err, &e) {
		t.Fatalf("%s: got error %v (%T), want a %T", doing, err, err, e)
	}
	return e
}

// equal fails the test unless got is want.
func equal[V comparable](t *lab, what string, got, want V) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// versions returns the versions of events.
func versions(events []leat.Recorded) (vs []uint64) {
	for _, e := range events {
		vs = append(vs, e.Version)
	}
	return vs
}

// seqs returns the sequences of events.
func seqs(events []leat.Recorded) (ns []uint64) {
	for _, e := range events {
		ns = append(ns, e.Seq)
	}
	return ns
}

// span returns first, first+1, …, last.
func span(first, last uint64) (ns []uint64) {
	for n := first; n <= last; n++ {
		ns = append(ns, n)
	}
	return ns
}

func same(t *lab, what string, got, want []uint64) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// sameEvents fails the test unless got are exactly the events want.
func sameEvents(t *lab, what string, got, want []leat.Recorded) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if d := difference(got[i], want[i]); d != "" {
			t.Fatalf("%s: event %d of %d differs: %s", what, i+1, len(want), d)
		}
	}
	equal(t, what+": number of events", len(got), len(want))
}

// difference tells how a differs from b, empty when it does not.
func difference(a, b leat.Recorded) string {
	for _, f := range []struct {
		name string
		a, b any
	}{
		{"ID", a.ID, b.ID},
		{"Stream", a.Stream, b.Stream},
		{"Type", a.Type, b.Type},
		{"Source", a.Source, b.Source},
		{"Time", a.Time.UnixNano(), b.Time.UnixNano()},
		{"ContentType", a.ContentType, b.ContentType},
		{"Data", string(a.Data), string(b.Data)},
		{"Meta", fmt.Sprintf("%q", a.Meta), fmt.Sprintf("%q", b.Meta)},
		{"Shard", a.Shard, b.Shard},
		{"Seq", a.Seq, b.Seq},
		{"Commit", a.Commit, b.Commit},
		{"Version", a.Version, b.Version},
		{"At", a.At.UnixNano(), b.At.UnixNano()},
	} {
		if f.a != f.b {
			return fmt.Sprintf("%s is %.200v, want %.200v", f.name, f.a, f.b)
		}
	}
	return ""
}

// end closes the lab's log and skips the test if it cannot be closed.
func (t *lab) end() {
	t.Helper()
	t.ok(capability[io.Closer](t).Close(), "close")
}

// A clock is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock {
	return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)}
}

// Now returns the clock's time, in a zone that is not UTC.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now.In(time.FixedZone("UTC+2", 2*60*60))
}

// move sets the clock forward, or back if d is negative.
func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

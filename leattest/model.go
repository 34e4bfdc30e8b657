package leattest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/leathq/leat"
)

// TestModel does the same random things to logs that open creates and to the
// reference [Log], and fails when they differ. Package rapid's flags say how
// much it does: -rapid.checks and -rapid.steps.
func TestModel(t *testing.T, open Open) { testModel(t, open) }

func testModel(t testing.TB, open Open) {
	rapid.Check(t, func(r *rapid.T) {
		tr := &trial{TB: t, fail: func(text string) { r.Fatal(text) }}
		defer tr.end()
		ctx, cancel := context.WithTimeout(t.Context(), checkTime)
		defer cancel()
		m := &model{lab: &lab{TB: tr, ctx: ctx, open: open, clock: newClock()}, r: r}
		m.start()
		r.Repeat(map[string]func(*rapid.T){
			"append":       m.appendNew,
			"append again": m.appendAgain,
			"split":        m.splitShard,
			"trim":         m.trimShard,
			"import":       m.importEvents,
			"read shard":   m.readOneShard,
			"read stream":  m.readOneStream,
			"move clock":   m.moveClock,
			"reopen":       func(*rapid.T) { m.reopen() },
			"":             func(*rapid.T) { m.compareShards() },
		})
		m.compareEvents()
		m.audit()
	})
}

// A model is a lab whose log is compared with a reference.
type model struct {
	*lab
	r    *rapid.T
	ref  *Log
	sent map[string][]leat.Event // by route key, in the order sent
}

// routeKeys are those of the streams a model writes, each with two streams.
var routeKeys = []string{"k1", "k2", "k3"}

func (m *model) start() {
	c := leat.Config{ID: "model", Single: rapid.Bool().Draw(m.r, "single")}
	if !c.Single {
		c.Shards = leat.EvenShards(rapid.IntRange(1, 3).Draw(m.r, "shards"))
	}
	m.create(c)
	var err error
	m.ref, err = New(c, m.clock.Now)
	m.ok(err, "create the reference log")
	m.sent = make(map[string][]leat.Event)
}

func (m *model) appendNew(r *rapid.T) {
	key := rapid.SampledFrom(routeKeys).Draw(r, "key")
	m.appendBoth(r, key, m.drawEvents(r, key, 1))
}

// appendAgain appends events that were sent before, in any order, some of them
// changed or new.
func (m *model) appendAgain(r *rapid.T) {
	key := rapid.SampledFrom(routeKeys).Draw(r, "key")
	sent := m.sent[key]
	if len(sent) == 0 {
		r.Skip("nothing was sent")
	}
	first := rapid.IntRange(0, len(sent)-1).Draw(r, "first")
	events := slices.Clone(sent[first:min(len(sent), first+rapid.IntRange(1, 4).Draw(r, "count"))])
	switch rapid.IntRange(0, 5).Draw(r, "how") {
	case 0:
		events = rapid.Permutation(events).Draw(r, "order")
	case 1:
		events[0].Type = "Changed"
	case 2:
		events[len(events)-1].Time = m.clock.Now()
	case 3:
		events = rapid.Permutation(append(events, m.drawEvents(r, key, 0)...)).Draw(r, "order")
	case 4: // the IDs under another stream are other IDs
		for i := range events {
			events[i].Stream = rapid.SampledFrom(streamsOf(key)).Draw(r, "stream")
		}
	}
	m.appendBoth(r, key, events)
}

// streamsOf returns the streams of a route key that a model writes.
func streamsOf(key string) []string { return []string{key, "s-{" + key + "}"} }

// moveClock moves the clock by up to a quarter of an hour, or by days.
func (m *model) moveClock(r *rapid.T) {
	by := time.Duration(rapid.Int64Range(-1e12, 1e12).Draw(r, "by"))
	if rapid.IntRange(0, 3).Draw(r, "far") == 0 {
		by *= 1000
	}
	m.clock.move(by)
}

// drawID draws an ID that was not drawn before: a text, or a UUIDv7 that was
// made now, long ago, or by a clock that is fast.
func (m *model) drawID(r *rapid.T) string {
	m.ids++
	made := m.clock.Now()
	switch rapid.IntRange(0, 5).Draw(r, "kind of ID") {
	case 0:
		return fmt.Sprintf("id-%d", m.ids)
	case 1:
		made = made.Add(-time.Duration(rapid.Int64Range(0, 1e17).Draw(r, "ago")))
	case 2:
		made = made.Add(time.Duration(rapid.Int64Range(0, 1e15).Draw(r, "fast")))
	}
	ms := uint64(made.UnixMilli())
	return fmt.Sprintf("%08x-%04x-7%03x-8000-%012x", uint32(ms>>16), uint16(ms), rapid.IntRange(0, 0xfff).Draw(r, "random"), m.ids)
}

// drawEvents draws at least n new events for streams of one route key.
func (m *model) drawEvents(r *rapid.T, key string, n int) []leat.Event {
	streams := rapid.SliceOfN(rapid.SampledFrom(streamsOf(key)), n, 4).Draw(r, "streams")
	events := m.events(streams...)
	for i := range events {
		events[i].ID = m.drawID(r)
		events[i].Type = rapid.SampledFrom([]string{"A", "B"}).Draw(r, "type")
	}
	return events
}

func (m *model) appendBoth(r *rapid.T, key string, events []leat.Event) {
	var conds []leat.Condition
	for range rapid.IntRange(0, 2).Draw(r, "conditions") {
		stream := rapid.SampledFrom(streamsOf(key)).Draw(r, "condition")
		conds = append(conds, rapid.SampledFrom([]leat.Condition{
			leat.ExpectNew(stream), leat.ExpectExists(stream), leat.ExpectVersion(stream, 2),
			leat.ExpectVersion(stream, m.ref.stream(stream).version()), leat.ExpectVersion(stream, m.ref.stream(stream).version()),
		}).Draw(r, "expected"))
	}
	want, wantErr := m.ref.Append(m.ctx, events, conds...)
	got, err := m.log.Append(m.ctx, events, conds...)
	m.sameError("append", err, wantErr)
	if err != nil {
		return
	}
	sameReceipt(m.lab, "append", got, want)
	if !got.Duplicate {
		m.sent[key] = append(m.sent[key], events...)
	}
}

func (m *model) splitShard(r *rapid.T) {
	s, ok := m.log.(leat.Splitter)
	if !ok || len(m.ref.shards) > 12 {
		r.Skip("not split")
	}
	shard := m.drawShard(r)
	at := rapid.SampledFrom([]leat.HashKey{
		shard.Middle(), leat.RouteHash("k1"), leat.RouteHash("k2"), leat.RouteHash(leat.SystemStream), shard.From,
	}).Draw(r, "at")
	want, wantErr := m.ref.Split(m.ctx, shard.ID, at)
	got, err := s.Split(m.ctx, shard.ID, at)
	m.sameError("split", err, wantErr)
	equal(m.lab, "children", fmt.Sprint(got), fmt.Sprint(want))
}

func (m *model) trimShard(r *rapid.T) {
	t, ok := m.log.(leat.Trimmer)
	if !ok {
		r.Skip("no Trimmer")
	}
	shard := m.drawShard(r)
	below := rapid.Uint64Range(0, shard.Head+2).Draw(r, "below")
	want, wantErr := m.ref.Trim(m.ctx, shard.ID, below)
	got, err := t.Trim(m.ctx, shard.ID, below)
	m.sameError("trim", err, wantErr)
	equal(m.lab, "oldest", got, want)
}

// importEvents imports an Append that continues a shard, or does not fit.
func (m *model) importEvents(r *rapid.T) {
	log, ok := m.log.(leat.Importer)
	if !ok {
		r.Skip("no Importer")
	}
	shard := m.drawShard(r)
	key := rapid.SampledFrom(routeKeys).Draw(r, "key")
	events := m.drawImport(r, m.ref.shard(shard.ID), key)
	want := m.ref.Import(m.ctx, shard.ID, events)
	err := log.Import(m.ctx, shard.ID, events)
	m.sameError("import", err, want)
	if err != nil {
		return
	}
	for _, e := range events {
		m.sent[key] = append(m.sent[key], e.Event)
	}
}

// drawImport draws an Append that continues a shard, mostly.
func (m *model) drawImport(r *rapid.T, s *shard, key string) []leat.Recorded {
	seq, at := s.Head+1, m.ref.lastAt(s)
	if at.Before(m.clock.Now()) {
		at = m.clock.Now()
	}
	skipped := uint64(0) // versions, where a log may start trimmed
	switch rapid.IntRange(0, 6).Draw(r, "fits") {
	case 0:
		seq += rapid.Uint64Range(1, 5).Draw(r, "seq")
		skipped = rapid.Uint64Range(0, 2).Draw(r, "version")
	case 1:
		at = at.Add(-time.Hour)
	}
	versions := make(map[string]uint64)
	var events []leat.Recorded
	for i, e := range m.drawEvents(r, key, 1) {
		if versions[e.Stream] == 0 {
			versions[e.Stream] = m.ref.stream(e.Stream).version() + skipped
		}
		versions[e.Stream]++
		at = at.Add(time.Duration(rapid.Int64Range(1, 1e12).Draw(r, "later")))
		if sent := m.sent[key]; len(sent) > 0 && rapid.IntRange(0, 12).Draw(r, "known") == 0 {
			e.ID = sent[0].ID
		}
		e.Time, e.ContentType = at, leat.DefaultContentType
		events = append(events, leat.Recorded{
			Event: e, Shard: s.ID, Seq: seq + uint64(i), Commit: seq, Version: versions[e.Stream], At: at,
		})
	}
	return events
}

func (m *model) drawShard(r *rapid.T) leat.Shard {
	return m.ref.shards[rapid.IntRange(0, len(m.ref.shards)-1).Draw(r, "shard")].Shard
}

func (m *model) readOneShard(r *rapid.T) {
	shard := m.drawShard(r)
	after := rapid.Uint64Range(0, shard.Head+1).Draw(r, "after")
	o := leat.ReadOptions{
		Limit: rapid.IntRange(0, 5).Draw(r, "limit"),
		Filter: leat.Filter{
			System:     rapid.Bool().Draw(r, "system"),
			Types:      rapid.SliceOfN(rapid.SampledFrom([]string{"A", "B"}), 0, 1).Draw(r, "types"),
			Categories: rapid.SliceOfN(rapid.SampledFrom([]string{"k1", "k2", "s", leat.SystemStream}), 0, 2).Draw(r, "categories"),
		},
	}
	_, wantErr := m.ref.ReadShard(m.ctx, shard.ID, after, o)
	_, err := m.log.ReadShard(m.ctx, shard.ID, after, o)
	m.sameError(fmt.Sprintf("read %s after %d", shard.ID, after), err, wantErr)
	if err == nil {
		m.sameShard(shard.ID, after, o)
	}
}

// sameShard compares what both logs hold in a shard after a sequence.
func (m *model) sameShard(id leat.ShardID, after uint64, o leat.ReadOptions) {
	reference := *m.lab
	reference.log = m.ref
	got, want := m.drain(id, after, o), reference.drain(id, after, o)
	for i := range min(len(got), len(want)) {
		if want[i].Stream == leat.SystemStream {
			want[i].ID = got[i].ID // made by each log
		}
	}
	sameEvents(m.lab, string(id), got, want)
}

func (m *model) readOneStream(r *rapid.T) {
	key := rapid.SampledFrom(routeKeys).Draw(r, "key")
	name := rapid.SampledFrom(streamsOf(key)).Draw(r, "stream")
	version := m.ref.stream(name).version()
	rng := leat.Range{After: rapid.Uint64Range(0, version+1).Draw(r, "after"), Through: rapid.Uint64Range(0, version+1).Draw(r, "through")}
	if rapid.Bool().Draw(r, "reverse") {
		rng = rng.Reverse()
	}
	want, wantErr := m.ref.readStream(m.ctx, name, rng)
	got, err := m.tryStream(name, rng)
	what := fmt.Sprintf("read stream %q, %+v", name, rng)
	m.sameError(what, err, wantErr)
	sameEvents(m.lab, what, got, want)
}

func (m *model) compareShards() {
	want, err := m.ref.Shards(m.ctx)
	m.ok(err, "shards of the reference log")
	equal(m.lab, "shards", fmt.Sprint(m.shards()), fmt.Sprint(want))
}

func (m *model) compareEvents() {
	for _, s := range m.shards() {
		m.sameShard(s.ID, s.Oldest-1, everything)
	}
}

// sameError fails the test unless got says what want says.
func (m *model) sameError(what string, got, want error) {
	m.Helper()
	if saying(got) != saying(want) {
		m.Fatalf("%s: got error %v, want %v", what, got, want)
	}
}

// saying returns what a caller can learn from an error.
func saying(err error) string {
	var (
		conflict *leat.ConflictError
		reused   *leat.IDReusedError
		partial  *leat.PartialError
		trimmed  *leat.TrimmedError
		invalid  *leat.InvalidError
		diverged *leat.DivergedError
	)
	switch {
	case err == nil:
		return "success"
	case errors.As(err, &conflict):
		return fmt.Sprintf("conflict %+v", *conflict)
	case errors.As(err, &reused):
		return fmt.Sprintf("reused %d %q %q", reused.Index, reused.Stream, reused.ID)
	case errors.As(err, &partial):
		return fmt.Sprintf("partial %+v", *partial)
	case errors.As(err, &trimmed):
		return fmt.Sprintf("trimmed %+v", *trimmed)
	case errors.As(err, &invalid):
		return "invalid " + invalid.Field
	case errors.As(err, &diverged):
		return "diverged"
	case errors.Is(err, leat.ErrUnsupported):
		return "unsupported"
	}
	return err.Error()
}

// A trial is a part of a test that fails and ends on its own.
type trial struct {
	testing.TB
	fail     func(text string) // does not return
	failed   bool
	cleanups []func()
}

func (t *trial) Fatal(args ...any) { t.failed = true; t.fail(fmt.Sprint(args...)) }

func (t *trial) Fatalf(format string, args ...any) { t.Fatal(fmt.Sprintf(format, args...)) }

func (t *trial) FailNow() { t.Fatal("failed") }

func (t *trial) Error(args ...any) { t.Fatal(args...) }

func (t *trial) Errorf(format string, args ...any) { t.Fatalf(format, args...) }

func (t *trial) Fail() { t.FailNow() }

func (t *trial) Failed() bool { return t.failed }

func (t *trial) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

// end does what was to be done at the end.
func (t *trial) end() {
	for _, f := range slices.Backward(t.cleanups) {
		f()
	}
}

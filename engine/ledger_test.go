package engine_test

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/leathq/leat"
)

// A ledger notes what was asked of a log and what it promised, from the outside,
// in the order of notes. An Append is known by the Type of its events, which no
// other has.
type ledger struct {
	mu    sync.Mutex
	notes []any
	out   *gob.Encoder // where notes go as well, unless it is nil
}

// Notes of a ledger. Those of what was asked come before the call, those of
// promises after it.
type (
	given struct {
		Name   string
		Events []leat.Event
	}
	acked struct {
		Name    string
		Receipt leat.Receipt
	}
	refused struct{ Name, Why string } // nothing of it was written
	seen    []leat.Recorded
	told    struct { // by an answer that says which version a stream has
		Stream  string
		Version uint64
	}
	trimming struct { // asked
		Shard leat.ShardID
		Below uint64
	}
	trimmed struct {
		Shard  leat.ShardID
		Oldest uint64
	}
	split leat.ShardID
)

func (g *ledger) note(n any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.notes = append(g.notes, n)
	if g.out != nil {
		if err := g.out.Encode(&n); err != nil {
			panic(err) // who wanted to know is gone
		}
	}
}

// mark returns the number of notes up to now.
func (g *ledger) mark() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.notes)
}

// cut returns what is known once the power was cut: the promises noted before,
// and what was asked until after.
func (g *ledger) cut(before, after int) *ledger {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := &ledger{notes: slices.Clone(g.notes[:before])}
	for _, n := range g.notes[before:after] {
		switch n.(type) {
		case given, trimming:
			c.notes = append(c.notes, n)
		}
	}
	return c
}

// A tally is a ledger's notes, sorted.
type tally struct {
	given    map[string][]leat.Event
	names    []string // of given, in order
	acked    map[string]leat.Receipt
	refused  map[string]string // why
	seen     map[leat.ShardID]map[uint64]leat.Recorded
	versions map[string]uint64       // the highest each stream was told to have
	trimming map[leat.ShardID]uint64 // the highest that was asked for
	oldest   map[leat.ShardID]uint64 // the highest that was promised
	split    map[leat.ShardID]bool
}

func (g *ledger) tally() tally {
	g.mu.Lock()
	notes := g.notes[:len(g.notes):len(g.notes)]
	g.mu.Unlock()
	y := tally{
		given: make(map[string][]leat.Event), acked: make(map[string]leat.Receipt), refused: make(map[string]string),
		seen: make(map[leat.ShardID]map[uint64]leat.Recorded), versions: make(map[string]uint64),
		trimming: make(map[leat.ShardID]uint64), oldest: make(map[leat.ShardID]uint64), split: make(map[leat.ShardID]bool),
	}
	for _, n := range notes {
		switch n := n.(type) {
		case given:
			if y.given[n.Name] == nil {
				y.names = append(y.names, n.Name)
			}
			y.given[n.Name] = n.Events
			delete(y.refused, n.Name)
		case acked:
			y.acked[n.Name] = n.Receipt
		case refused:
			y.refused[n.Name] = n.Why
		case seen:
			for _, e := range n {
				if y.seen[e.Shard] == nil {
					y.seen[e.Shard] = make(map[uint64]leat.Recorded)
				}
				y.seen[e.Shard][e.Seq] = e
			}
		case told:
			y.versions[n.Stream] = max(y.versions[n.Stream], n.Version)
		case trimming:
			y.trimming[n.Shard] = max(y.trimming[n.Shard], n.Below)
		case trimmed:
			y.oldest[n.Shard] = max(y.oldest[n.Shard], n.Oldest)
		case split:
			y.split[leat.ShardID(n)] = true
		}
	}
	return y
}

// append gives events to a log and notes what it answers. The error is the
// log's.
func (g *ledger) append(ctx context.Context, log leat.Log, name string, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	g.note(given{name, slices.Clone(events)})
	r, err := log.Append(ctx, events, conds...)
	var conflict *leat.ConflictError
	switch {
	case err == nil:
		g.note(acked{name, r})
	case errors.As(err, &conflict):
		g.note(told{conflict.Condition.Stream, conflict.Actual})
		g.note(refused{name, err.Error()})
	}
	return r, err
}

// audit returns an error unless a log holds what was promised, whole, and of
// what was given nothing in part.
func (g *ledger) audit(ctx context.Context, log leat.Log) error {
	y := g.tally()
	c, err := readContents(ctx, log)
	if err != nil {
		return err
	}
	if err := y.auditShards(c); err != nil {
		return err
	}
	byName := make(map[string][]leat.Recorded)
	for _, s := range c.shards {
		for _, e := range c.events[s.ID] {
			byName[e.Type] = append(byName[e.Type], e)
		}
	}
	for name, events := range y.given {
		if err := y.auditAppend(c, name, events, byName[name]); err != nil {
			return err
		}
		delete(byName, name)
	}
	delete(byName, leat.TypeTrimmed)
	for name, events := range byName {
		return fmt.Errorf("%s was never given, and is there with %d events", name, len(events))
	}
	return y.auditStreams(ctx, log, c)
}

// auditShards checks what readers were shown, and what was promised of shards.
func (y *tally) auditShards(c *contents) error {
	for shard := range y.seen {
		s, ok := c.shard(shard)
		if !ok {
			return fmt.Errorf("a reader was shown events of %s, which is gone", shard)
		}
		for seq, want := range y.seen[shard] {
			if seq > s.Head {
				return fmt.Errorf("a reader was shown sequence %d of %s, which now ends at %d", seq, shard, s.Head)
			}
			if seq < s.Oldest {
				continue
			}
			if got := c.events[shard][seq-s.Oldest]; !same(got, want) {
				return fmt.Errorf("a reader was shown\n%+v\nand now it is\n%+v", want, got)
			}
		}
	}
	for shard := range y.split {
		if s, ok := c.shard(shard); !ok || !s.Closed {
			return fmt.Errorf("%s was split, and is %+v", shard, s)
		}
	}
	for _, s := range c.shards {
		if s.Oldest < y.oldest[s.ID] || s.Oldest > max(1, y.trimming[s.ID]) {
			return fmt.Errorf("%s keeps events from %d on; it was trimmed to %d, and to be trimmed below %d",
				s.ID, s.Oldest, y.oldest[s.ID], y.trimming[s.ID])
		}
	}
	return nil
}

// auditAppend checks what there is of one Append.
func (y *tally) auditAppend(c *contents, name string, events []leat.Event, recorded []leat.Recorded) error {
	r, acked := y.acked[name]
	if why := y.refused[name]; why != "" && len(recorded) > 0 {
		return fmt.Errorf("%s was refused (%s), and %d events of it are there", name, why, len(recorded))
	}
	if len(recorded) == 0 {
		if s, ok := c.shard(r.Shard); acked && (!ok || r.Last >= s.Oldest) {
			return fmt.Errorf("%s was acknowledged at %s %d to %d, and is gone", name, r.Shard, r.First, r.Last)
		}
		return nil
	}
	if err := isWhole(recorded, events); err != nil {
		return fmt.Errorf("%s (acknowledged: %v): %w", name, acked, err)
	}
	if acked && (recorded[0].Shard != r.Shard || recorded[0].Seq != r.First || !recorded[len(recorded)-1].At.Equal(r.At)) {
		return fmt.Errorf("%s was acknowledged as %+v and is at %s %d", name, r, recorded[0].Shard, recorded[0].Seq)
	}
	return nil
}

// auditStreams compares the streams, as they are read, with the shards.
func (y *tally) auditStreams(ctx context.Context, log leat.Log, c *contents) error {
	for stream, want := range c.streams {
		last := want[len(want)-1].Version
		if last < y.versions[stream] {
			return fmt.Errorf("stream %q was told to be at version %d, and now ends at %d", stream, y.versions[stream], last)
		}
		var got []leat.Recorded
		for e, err := range log.ReadStream(ctx, stream, leat.Range{After: want[0].Version - 1}) {
			if err != nil {
				return fmt.Errorf("read stream %q: %w", stream, err)
			}
			got = append(got, e)
		}
		if !reflect.DeepEqual(got, want) {
			return fmt.Errorf("stream %q reads as %d events, its shards have %d, or other ones", stream, len(got), len(want))
		}
	}
	return nil
}

// isWhole returns an error unless the recorded events are those of one Append,
// as given.
func isWhole(recorded []leat.Recorded, events []leat.Event) error {
	if len(recorded) != len(events) {
		return fmt.Errorf("%d of %d events are there", len(recorded), len(events))
	}
	for i, r := range recorded {
		e := events[i]
		e.ContentType = leat.DefaultContentType
		e.Time = r.At
		r.Time = r.At
		if want := r; r.Commit != recorded[0].Seq || r.Seq != recorded[0].Seq+uint64(i) || !same(r, with(want, e)) {
			return fmt.Errorf("event %d is\n%+v, given was\n%+v", i, r, e)
		}
	}
	return nil
}

// with returns r with another event.
func with(r leat.Recorded, e leat.Event) leat.Recorded {
	r.Event = e
	return r
}

// same reports whether two events are the same. No Data and no Meta are the same
// as empty ones.
func same(a, b leat.Recorded) bool {
	for _, r := range []*leat.Recorded{&a, &b} {
		if len(r.Data) == 0 {
			r.Data = nil
		}
		if len(r.Meta) == 0 {
			r.Meta = nil
		}
	}
	return reflect.DeepEqual(a, b)
}

// settle appends once more what was given, unless it was refused: each Append is
// recorded after it, once, and those that were acknowledged get their receipt.
func (g *ledger) settle(ctx context.Context, log leat.Log) error {
	y := g.tally()
	names := make(chan string)
	errs := make(chan error, settlers)
	for range settlers {
		go func() {
			var err error
			for name := range names {
				if err == nil && y.refused[name] == "" {
					err = g.settleOne(ctx, log, name, &y)
				}
			}
			errs <- err
		}()
	}
	for _, name := range y.names {
		names <- name
	}
	close(names)
	var err error
	for range settlers {
		err = errors.Join(err, <-errs)
	}
	if err != nil {
		return err
	}
	return g.audit(ctx, log)
}

// settlers is how many goroutines settle a ledger, so that they share groups.
const settlers = 8

func (g *ledger) settleOne(ctx context.Context, log leat.Log, name string, y *tally) error {
	r, err := log.Append(ctx, slices.Clone(y.given[name]))
	if err != nil {
		return fmt.Errorf("append %s again: %w", name, err)
	}
	if first, acked := y.acked[name]; acked {
		if first.Duplicate = true; !reflect.DeepEqual(r, first) {
			return fmt.Errorf("appended again, %s gets\n%+v, want\n%+v", name, r, first)
		}
	}
	g.note(acked{name, r})
	return nil
}

// contents are what a log keeps, as read shard by shard.
type contents struct {
	shards  []leat.Shard
	events  map[leat.ShardID][]leat.Recorded
	streams map[string][]leat.Recorded
}

func (c *contents) shard(id leat.ShardID) (leat.Shard, bool) {
	i := slices.IndexFunc(c.shards, func(s leat.Shard) bool { return s.ID == id })
	if i < 0 {
		return leat.Shard{}, false
	}
	return c.shards[i], true
}

// readContents reads a log to which nothing is written meanwhile, and checks
// that sequences, versions and times have neither hole nor disorder.
func readContents(ctx context.Context, log leat.Log) (*contents, error) {
	shards, err := log.Shards(ctx)
	if err != nil {
		return nil, fmt.Errorf("shards: %w", err)
	}
	c := &contents{shards: shards, events: make(map[leat.ShardID][]leat.Recorded), streams: make(map[string][]leat.Recorded)}
	for _, s := range shards {
		for after := s.Oldest - 1; after < s.Head; {
			b, err := log.ReadShard(ctx, s.ID, after, leat.ReadOptions{Filter: leat.Filter{System: true}})
			if err != nil {
				return nil, fmt.Errorf("read %s after %d: %w", s.ID, after, err)
			}
			for _, e := range b.Events {
				if err := c.add(s, e); err != nil {
					return nil, err
				}
			}
			if b.Next <= after || b.Next != s.Oldest-1+uint64(len(c.events[s.ID])) {
				return nil, fmt.Errorf("read %s after %d: %d events, Next %d", s.ID, after, len(b.Events), b.Next)
			}
			after = b.Next
		}
	}
	return c, nil
}

// add adds the next event of a shard.
func (c *contents) add(s leat.Shard, e leat.Recorded) error {
	before := c.events[s.ID]
	if want := s.Oldest + uint64(len(before)); e.Seq != want || e.Shard != s.ID {
		return fmt.Errorf("%s goes on with sequence %d of %s, want %d", s.ID, e.Seq, e.Shard, want)
	}
	if n := len(before); n > 0 && !e.At.After(before[n-1].At) {
		return fmt.Errorf("sequence %d of %s is of %v, the one before it of %v", e.Seq, s.ID, e.At, before[n-1].At)
	}
	stream := c.streams[e.Stream]
	if n := len(stream); n > 0 && (e.Version != stream[n-1].Version+1 || !e.At.After(stream[n-1].At)) {
		return fmt.Errorf("stream %q goes on with version %d of %v after %d of %v",
			e.Stream, e.Version, e.At, stream[n-1].Version, stream[n-1].At)
	}
	c.events[s.ID] = append(before, e)
	c.streams[e.Stream] = append(stream, e)
	return nil
}

// readAll returns all events of a log that is not trimmed.
func readAll(t *testing.T, log leat.Log) map[leat.ShardID][]leat.Recorded {
	t.Helper()
	c, err := readContents(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	for stream, events := range c.streams {
		if events[0].Version != 1 {
			t.Fatalf("stream %q begins with version %d", stream, events[0].Version)
		}
	}
	return c.events
}

// ended reports whether an error is how those who work on a log end well.
func ended(err error) bool {
	return err == nil || errors.Is(err, context.Canceled) || errors.Is(err, leat.ErrClosed)
}

// drawID draws an ID: a text, a random UUID, or a UUIDv7 of now, the past or the
// future. It is not drawn twice.
func drawID(rng *rand.Rand, text string) string {
	const hour = 3600_000 // milliseconds
	now := nowMillis()
	switch rng.IntN(8) {
	case 0:
		return text
	case 1:
		return uuid(rng.Uint64(), 4, rng)
	case 2:
		return uuid(now-uint64(rng.IntN(10_000*hour)), 7, rng)
	case 3:
		return uuid(now+uint64(rng.IntN(48*hour)), 7, rng)
	}
	return uuid(now, 7, rng)
}

// uuid returns a UUID of a version whose first 48 bits are given.
func uuid(first uint64, version byte, rng *rand.Rand) string {
	return fmt.Sprintf("%08x-%04x-%x%03x-%x%03x-%012x", uint32(first>>16), uint16(first), version,
		rng.Uint32()&0xfff, 8|rng.Uint32()&3, rng.Uint32()&0xfff, rng.Uint64()>>16)
}

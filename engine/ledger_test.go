package engine_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/leathq/leat"
)

// A ledger notes what a log promised, from the outside: what was given to it,
// what it acknowledged and what it showed to readers. An Append is known by the
// Type of its events, which no other has.
type ledger struct {
	mu    sync.Mutex
	given map[string][]leat.Event
	acked map[string]leat.Receipt
	seen  map[leat.ShardID]map[uint64]leat.Recorded
}

func newLedger() *ledger {
	return &ledger{
		given: make(map[string][]leat.Event), acked: make(map[string]leat.Receipt),
		seen: make(map[leat.ShardID]map[uint64]leat.Recorded),
	}
}

// promised returns what was acknowledged and shown up to now.
func (g *ledger) promised() *ledger {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := newLedger()
	maps.Copy(p.acked, g.acked)
	for shard, events := range g.seen {
		p.seen[shard] = maps.Clone(events)
	}
	return p
}

// givenCopy returns what was given up to now.
func (g *ledger) givenCopy() map[string][]leat.Event {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.given)
}

func (g *ledger) give(name string, events []leat.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.given[name] = slices.Clone(events)
}

func (g *ledger) ack(name string, r leat.Receipt) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.acked[name] = r
}

func (g *ledger) see(b leat.Batch) {
	g.mu.Lock()
	defer g.mu.Unlock()
	events := g.seen[b.Shard]
	if events == nil {
		events = make(map[uint64]leat.Recorded)
		g.seen[b.Shard] = events
	}
	for _, e := range b.Events {
		events[e.Seq] = e
	}
}

// produce appends to streams of its own and to shared ones until ctx ends or
// the log takes no more, and returns the error that ended it.
func (g *ledger) produce(ctx context.Context, log leat.Log, producer string, rng *rand.Rand) error {
	for n := 0; ; n++ {
		name := fmt.Sprintf("Append-%s-%d", producer, n)
		key := fmt.Sprintf("{%s-%d}", producer, rng.IntN(4))
		if rng.IntN(3) == 0 {
			key = fmt.Sprintf("{shared-%d}", rng.IntN(3))
		}
		events := make([]leat.Event, 1+rng.IntN(5))
		if rng.IntN(30) == 0 {
			events = make([]leat.Event, 100)
		}
		for i := range events {
			data := make([]byte, rng.IntN(600))
			for j := range data {
				data[j] = byte(rng.Uint32())
			}
			events[i] = leat.Event{
				ID: fmt.Sprintf("%s-%d", name, i), Stream: fmt.Sprintf("s%d-%s", rng.IntN(2), key), Type: name,
				Source: "ledger", Data: data, Meta: leat.NewMeta("producer", producer),
			}
		}
		g.give(name, events)
		r, err := log.Append(ctx, events)
		if err != nil {
			return err
		}
		g.ack(name, r)
	}
}

// consume reads all shards until ctx ends.
func (g *ledger) consume(ctx context.Context, log leat.Log) error {
	for b, err := range leat.Follow(ctx, log, leat.Filter{System: true}, leat.Checkpoint{}) {
		if err != nil {
			return err
		}
		g.see(b)
	}
	return nil
}

// audit checks that a log holds what was promised, whole, and of what was given
// nothing in part.
func (g *ledger) audit(t *testing.T, log leat.Log, given map[string][]leat.Event) {
	t.Helper()
	all := readAll(t, log)
	byName := make(map[string][]leat.Recorded)
	for shard, events := range all {
		for _, e := range events {
			byName[e.Type] = append(byName[e.Type], e)
		}
		for seq, want := range g.seen[shard] {
			if seq > uint64(len(events)) {
				t.Errorf("a reader was shown sequence %d of %s, which now ends at %d", seq, shard, len(events))
				break
			}
			if got := events[seq-1]; !reflect.DeepEqual(got, want) {
				t.Errorf("a reader was shown\n%+v\nand now it is\n%+v", want, got)
				break
			}
		}
	}
	for name, events := range given {
		recorded := byName[name]
		r, acked := g.acked[name]
		if len(recorded) == 0 && !acked {
			continue
		}
		if err := isWhole(recorded, events); err != nil {
			t.Errorf("%s (acknowledged: %v): %v", name, acked, err)
		} else if acked && (recorded[0].Shard != r.Shard || recorded[0].Seq != r.First || !recorded[len(recorded)-1].At.Equal(r.At)) {
			t.Errorf("%s was acknowledged as %+v and is at %s %d", name, r, recorded[0].Shard, recorded[0].Seq)
		}
	}
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
		if r.Time = r.At; len(e.Data) == 0 {
			r.Data, e.Data = nil, nil
		}
		if r.Commit != recorded[0].Seq || r.Seq != recorded[0].Seq+uint64(i) || !reflect.DeepEqual(r.Event, e) {
			return fmt.Errorf("event %d is\n%+v, given was\n%+v", i, r, e)
		}
	}
	return nil
}

// readAll returns all events of an untrimmed log, and checks that sequences and
// versions have no hole.
func readAll(t *testing.T, log leat.Log) map[leat.ShardID][]leat.Recorded {
	t.Helper()
	all := make(map[leat.ShardID][]leat.Recorded)
	versions := make(map[string]uint64)
	for e, err := range leat.Read(t.Context(), log, leat.Filter{System: true}, leat.Checkpoint{}) {
		if err != nil {
			t.Fatalf("read the log: %v", err)
		}
		if want := uint64(len(all[e.Shard])) + 1; e.Seq != want {
			t.Fatalf("%s goes on with sequence %d, want %d", e.Shard, e.Seq, want)
		}
		if versions[e.Stream]++; e.Version != versions[e.Stream] {
			t.Fatalf("stream %q goes on with version %d, want %d", e.Stream, e.Version, versions[e.Stream])
		}
		all[e.Shard] = append(all[e.Shard], e)
	}
	return all
}

// settle appends everything given once more: each Append is recorded after it,
// once.
func (g *ledger) settle(t *testing.T, log leat.Log, given map[string][]leat.Event) {
	t.Helper()
	for name, events := range given {
		r, err := log.Append(t.Context(), slices.Clone(events))
		if err != nil {
			t.Fatalf("append %s again: %v", name, err)
		}
		if first, acked := g.acked[name]; acked {
			first.Duplicate = true
			if !reflect.DeepEqual(r, first) {
				t.Errorf("appended again, %s gets\n%+v, want\n%+v", name, r, first)
			}
		}
		g.ack(name, r)
	}
	g.audit(t, log, given)
}

// ended reports whether an error is how a producer or consumer ends well.
func ended(err error) bool {
	return err == nil || errors.Is(err, context.Canceled) || errors.Is(err, leat.ErrClosed)
}

// Package sample fills logs for the tests of archives, with events in which is what
// tends to get lost on the way, and compares archives with what logs hold.
package sample

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

// Event returns an event with what tends to get lost on the way.
func Event(rng *rand.Rand, stream string) leat.Event {
	pick := func(of ...string) string { return of[rng.IntN(len(of))] }
	e := leat.Event{
		Stream: stream, Type: pick("OrderPlaced", "Zeile\nzwei", "\"',;", "日本語"), Source: pick("orders", "billing"),
		ContentType: pick("", "application/octet-stream", "text/plain; charset=utf-8"),
	}
	switch rng.IntN(5) {
	case 0: // none
	case 1:
		e.Data = []byte{0, 0xff, 0, 0xfe, '\n'}
	case 2:
		e.Data = bytes.Repeat([]byte(`{"price":1.10}`), rng.IntN(2000))
	default:
		e.Data = fmt.Appendf(nil, `{"order":%d,"note":"%s"}`, rng.IntN(1e6), strings.Repeat("x", rng.IntN(100)))
	}
	for i := range rng.IntN(4) {
		e.Meta = e.Meta.With(fmt.Sprintf("k%d", i), pick("", "0", "a=b\x00c", "größer"))
	}
	switch rng.IntN(4) {
	case 0: // the log's clock
	case 1:
		e.Time = time.Unix(0, -1<<63).UTC()
	case 2:
		e.Time = time.Unix(0, 1<<63-1).UTC()
	default:
		e.Time = time.Date(2010, 12, 1, 8, 26, 0, rng.IntN(1e9), time.FixedZone("", 3600))
	}
	return e
}

// Append appends n such events in Appends of 1 to 5.
func Append(t testing.TB, log leat.Log, rng *rand.Rand, n int) {
	t.Helper()
	for n > 0 {
		k := min(n, 1+rng.IntN(5))
		n -= k
		tag := rng.IntN(40)
		events := make([]leat.Event, k)
		for i := range events {
			events[i] = Event(rng, fmt.Sprintf("order-{c%d}-%d", tag, rng.IntN(3)))
		}
		if _, err := log.Append(t.Context(), events); err != nil {
			t.Fatal(err)
		}
	}
}

// Read returns all events of a shard of a log, the system's included.
func Read(t testing.TB, log leat.Log, shard leat.ShardID) []leat.Recorded {
	t.Helper()
	var events []leat.Recorded
	after := uint64(0)
	for {
		b, err := log.ReadShard(t.Context(), shard, after, leat.ReadOptions{Filter: leat.Filter{System: true}})
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, b.Events...)
		if b.Next == b.Head {
			return events
		}
		after = b.Next
	}
}

// Normal returns an event as a log and its archive must agree on it: nil and
// empty Data or Meta are the same.
func Normal(e leat.Recorded) leat.Recorded {
	if len(e.Data) == 0 {
		e.Data = nil
	}
	if len(e.Meta) == 0 {
		e.Meta = nil
	}
	return e
}

// Compare checks that a shard is archived up to where the given events end, and
// holds just these.
func Compare(t testing.TB, a *archive.Archive, shard leat.ShardID, want []leat.Recorded) {
	t.Helper()
	i := 0
	for e, err := range a.Events(t.Context(), shard, 0) {
		if err != nil {
			t.Fatalf("%s after %d events: %v", shard, i, err)
		}
		if i >= len(want) {
			t.Fatalf("%s: sequence %d is archived, the log ends at %d", shard, e.Seq, len(want))
		}
		if e, w := Normal(e), Normal(want[i]); !reflect.DeepEqual(e, w) {
			t.Fatalf("%s: archived\n%+v, want\n%+v", shard, e, w)
		}
		i++
	}
	if i != len(want) {
		t.Fatalf("%s: %d events archived, want %d", shard, i, len(want))
	}
}

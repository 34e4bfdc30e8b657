package archive_test

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/leattest"
)

// twinOf returns a copy of a log, which nobody trims.
func twinOf(t testing.TB, log leat.Log) *leattest.Log {
	t.Helper()
	info, err := log.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	shards, err := log.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	twin := newLog(t, leat.Config{ID: info.ID, Single: info.Single, Shards: shards}, nil)
	for _, s := range shards {
		if err := twin.Import(t.Context(), s.ID, readLog(t, log, s.ID)); err != nil {
			t.Fatal(err)
		}
	}
	return twin
}

// asTwin checks that a log shows what its twin holds, and nothing before that is
// gone: its shards, batches of any size and filter from any place on, and some
// streams in ranges and both directions.
func asTwin(t testing.TB, log leat.Log, twin *leattest.Log) {
	t.Helper()
	auditSomeStreams(t, log.ReadStream, twin, 8)
	shards, err := log.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want, err := twin.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range shards {
		if s.Oldest != 1 || s.Head < want[i].Head {
			t.Fatalf("the tier has %s from %d to %d, want all up to %d at least", s.ID, s.Oldest, s.Head, want[i].Head)
		}
		all := readLog(t, twin, s.ID)
		for _, o := range []leat.ReadOptions{
			{Filter: leat.Filter{System: true}, Limit: 3},
			{Filter: leat.Filter{Types: []string{"OrderPlaced"}}, Limit: 5},
			{Filter: leat.Filter{Streams: []string{"order-{c1}-1", "order-{c2}-0"}}},
		} {
			asEvents(t, log, s.ID, o, all)
		}
	}
}

// asEvents checks that a shard begins with the given events, of which those that
// match are read, in batches that begin anywhere and end where an Append does.
func asEvents(t testing.TB, log leat.Log, shard leat.ShardID, o leat.ReadOptions, all []leat.Recorded) {
	t.Helper()
	matcher := o.Filter.Matcher()
	after := uint64(0)
	for after < uint64(len(all)) {
		b, err := log.ReadShard(t.Context(), shard, after, o)
		if err != nil {
			t.Fatalf("read %s after %d: %v", shard, after, err)
		}
		shown := scanned(t, log, shard, after, o)
		for seq := after + 1; seq <= min(b.Next, uint64(len(all))); seq++ {
			want := normal(all[seq-1])
			if !matcher.Match(want.Stream, want.Type) {
				continue
			}
			if len(b.Events) == 0 || !reflect.DeepEqual(normal(b.Events[0]), want) || !reflect.DeepEqual(normal(shown[0]), want) {
				t.Fatalf("read %s after %d with %+v:\n%+v, want\n%+v", shard, after, o, b.Events, want)
			}
			b.Events, shown = b.Events[1:], shown[1:]
		}
		if b.Next <= after || b.Next < uint64(len(all)) && all[b.Next].Commit != all[b.Next].Seq {
			t.Fatalf("read %s after %d with %+v: it ends at %d", shard, after, o, b.Next)
		}
		after = b.Next
	}
}

// scanned returns what a Scanner shows.
func scanned(t testing.TB, log leat.Log, shard leat.ShardID, after uint64, o leat.ReadOptions) (events []leat.Recorded) {
	t.Helper()
	_, err := log.(leat.Scanner).ScanShard(t.Context(), shard, after, o, func(e *leat.Recorded) error {
		events = append(events, cloned(e))
		return nil
	})
	if err != nil {
		t.Fatalf("scan %s after %d: %v", shard, after, err)
	}
	return events
}

// cloned returns a copy of an event that a Scanner shows.
func cloned(e *leat.Recorded) leat.Recorded {
	c := *e
	for _, s := range []*string{&c.ID, &c.Stream, &c.Type, &c.Source, &c.ContentType} {
		*s = strings.Clone(*s)
	}
	c.Shard, c.Data, c.Meta = leat.ShardID(strings.Clone(string(c.Shard))), bytes.Clone(c.Data), slices.Clone(c.Meta)
	for i, a := range c.Meta {
		c.Meta[i] = leat.Attr{Key: strings.Clone(a.Key), Value: strings.Clone(a.Value)}
	}
	return c
}

// TestTierAcrossTheSeam moves the seam through a log with split shards, which is
// archived in segments and, the older part, by day and month.
func TestTierAcrossTheSeam(t *testing.T) {
	rng := seeded(t)
	log, store := yearOf(t, rng, 12)
	compact(t, store, log)
	archived, err := log.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	appendSome(t, log, rng, 50) // not archived, so never trimmed
	twin := twinOf(t, log)
	tier := archive.Tier(log, openArchive(t, store, log))
	for _, s := range archived {
		for below := uint64(1); below < s.Head+1; {
			below = min(below+uint64(rng.IntN(100)), s.Head+1)
			if _, err := log.Trim(t.Context(), s.ID, below); err != nil {
				t.Fatal(err)
			}
			if rng.IntN(10) == 0 || below == s.Head+1 {
				asTwin(t, tier, twin)
			}
		}
	}
}

// A trimming log is one that trims a shard while it is read.
type trimming struct {
	*leattest.Log
	after int                       // events of a stream
	trim  func(ctx context.Context) // all that is archived
}

// ReadStream trims when some events have been yielded, and tells then that the
// next is gone, as a log does that reads piece by piece.
func (l *trimming) ReadStream(ctx context.Context, stream string, r leat.Range) iter.Seq2[leat.Recorded, error] {
	return func(yield func(leat.Recorded, error) bool) {
		for n := 0; ; n++ {
			if n == l.after {
				l.trim(ctx)
			}
			more := false
			for e, err := range l.Log.ReadStream(ctx, stream, r) {
				if !yield(e, err) || err != nil {
					return
				}
				if r.Reversed() {
					r.Through = e.Version - 1
				} else {
					r.After = e.Version
				}
				more = r.Through != r.After
				break
			}
			if !more {
				return
			}
		}
	}
}

// TestTierTrimmedMeanwhile trims a log in the middle of a read.
func TestTierTrimmedMeanwhile(t *testing.T) {
	for after := range 6 {
		for _, upTo := range []uint64{3, 7, 10} {
			log, store := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
			for range 10 {
				appendOne(t, log, "order-1")
			}
			want, err := readStream(log.ReadStream(t.Context(), "order-1", leat.Range{}))
			if err != nil {
				t.Fatal(err)
			}
			flush(t, newArchiver(t, log, store), log)
			for _, r := range []leat.Range{{}, {After: 2, Through: 9}, leat.Range{}.Reverse(), leat.Range{After: 1, Through: 9}.Reverse()} {
				name := fmt.Sprintf("%+v, trimmed below %d after %d events", r, upTo+1, after)
				trims := &trimming{Log: twinOf(t, log), after: after}
				trims.trim = func(ctx context.Context) {
					if _, err := trims.Trim(ctx, leat.ShardNumber(0), upTo+1); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
				got, err := readStream(archive.Tier(trims, openArchive(t, store, log)).ReadStream(t.Context(), "order-1", r))
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				part := want
				if r.Through > 0 {
					part = want[r.After:r.Through]
				}
				for i := range part {
					at := i
					if r.Reversed() {
						at = len(part) - 1 - i
					}
					if len(got) != len(part) || !reflect.DeepEqual(got[i], part[at]) {
						t.Fatalf("%s: %+v, want %+v", name, got, part)
					}
				}
			}
		}
	}
}

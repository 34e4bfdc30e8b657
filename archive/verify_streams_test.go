package archive_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

// A faulty log, or whoever has the key, wrote streams that no log would.
func TestVerifyStreams(t *testing.T) {
	at := time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)
	for what, c := range map[string]struct {
		versions []uint64 // of stream order-1
		ids      []string
		want     string
	}{
		"as they should be":    {[]uint64{1, 2, 3, 4}, []string{"a", "b", "c", "d"}, ""},
		"a hole":               {[]uint64{1, 2, 4, 5}, []string{"a", "b", "c", "d"}, "version 3 is missing"},
		"a late beginning":     {[]uint64{2, 3, 4, 5}, []string{"a", "b", "c", "d"}, "version 1 is missing"},
		"a version twice":      {[]uint64{1, 2, 2, 3}, []string{"a", "b", "c", "d"}, "version 2, which another"},
		"versions out of turn": {[]uint64{1, 3, 2, 4}, []string{"a", "b", "c", "d"}, "the version before it comes later"},
		"an ID twice":          {[]uint64{1, 2, 3, 4}, []string{"a", "b", "c", "b"}, "ID that the stream has already, at sequence 2"},
	} {
		events := make([]leat.Recorded, len(c.versions))
		for i := range events {
			seq := uint64(i + 1)
			events[i] = leat.Recorded{
				Event: leat.Event{ID: c.ids[i], Stream: "order-1", Type: "t", Source: "s", Time: at, ContentType: "text/plain"},
				Shard: first, Seq: seq, Commit: seq, Version: c.versions[i], At: at.Add(time.Duration(i)),
			}
		}
		log := fakeLog{newLog(t, leat.Config{ID: "shop"}, nil), events}
		store := newMemoryStore()
		a, err := archive.NewArchiver(log, store, archive.Config{Key: testKey(t), SegmentBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Flush(t.Context(), leat.Checkpoint{Log: "shop", Epoch: 1, Seqs: map[leat.ShardID]uint64{first: 4}}); err != nil {
			t.Fatal(err)
		}
		r := verify(t, store, archive.VerifyOptions{})
		if c.want == "" && len(r.Problems) > 0 || c.want != "" && (len(r.Problems) == 0 || !strings.Contains(fmt.Sprint(r.Problems), c.want)) {
			t.Errorf("%s: problems %v, want %q", what, r.Problems, c.want)
		}
	}
}

// A stream that is longer than what is looked at together, among more events than
// stay in memory.
func TestVerifyLongStream(t *testing.T) {
	const many, boundary = 300_000, 1 << 18
	at := time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)
	for what, c := range map[string]struct {
		change func(events []leat.Recorded)
		want   []string
	}{
		"as it should be": {func([]leat.Recorded) {}, nil},
		"a hole at the boundary": {func(events []leat.Recorded) {
			for i := boundary - 1; i < many; i++ {
				events[i].Version++
			}
		}, []string{"versions? .*missing"}},
		"out of turn at the boundary, and an ID twice, far apart": {func(events []leat.Recorded) {
			events[boundary-1].Version, events[boundary].Version = events[boundary].Version, events[boundary-1].Version
			events[many-1].ID = events[0].ID
		}, []string{"comes later", "at sequence 1 "}},
	} {
		events := make([]leat.Recorded, many)
		for i := range events {
			seq := uint64(i + 1)
			events[i] = leat.Recorded{
				Event: leat.Event{ID: fmt.Sprint(i), Stream: "order-1", Type: "t", Source: "s", Time: at, ContentType: "text/plain"},
				Shard: first, Seq: seq, Commit: seq, Version: seq, At: at.Add(time.Duration(i)),
			}
		}
		c.change(events)
		store := newMemoryStore()
		a := newDefaultArchiver(t, fakeLog{newLog(t, leat.Config{ID: "shop"}, nil), events}, store)
		if err := a.Flush(t.Context(), leat.Checkpoint{Log: "shop", Epoch: 1, Seqs: map[leat.ShardID]uint64{first: many}}); err != nil {
			t.Fatal(err)
		}
		r := verify(t, store, archive.VerifyOptions{})
		if len(r.Problems) > 2*len(c.want) {
			t.Errorf("%s: problems %v", what, r.Problems)
		}
		for _, want := range c.want {
			if !regexp.MustCompile(want).MatchString(fmt.Sprint(r.Problems)) {
				t.Errorf("%s: problems %v, want one with %q", what, r.Problems, want)
			}
		}
	}
}

// A fakeLog has the events that it is told to have.
type fakeLog struct {
	leat.Log
	events []leat.Recorded
}

func (l fakeLog) Shards(ctx context.Context) ([]leat.Shard, error) {
	shards, err := l.Log.Shards(ctx)
	shards[0].Head = uint64(len(l.events))
	return shards, err
}

func (l fakeLog) ReadShard(_ context.Context, shard leat.ShardID, after uint64, _ leat.ReadOptions) (leat.Batch, error) {
	head := uint64(len(l.events))
	return leat.Batch{Shard: shard, Epoch: 1, Events: slices.Clone(l.events[after:]), Next: head, Head: head}, nil
}

package leattest

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/leathq/leat"
)

var following = []check{
	{name: "the first batch comes at once, also when it is empty", config: leat.Config{Shards: leat.EvenShards(2)}, prove: func(t *lab) {
		seen := map[leat.ShardID]bool{}
		for b, err := range leat.Follow(t.ctx, t.log, leat.Filter{}, leat.Checkpoint{}) {
			t.ok(err, "follow")
			equal(t, "events", len(b.Events), 0)
			seen[b.Shard] = true
			if len(seen) == 2 {
				break
			}
		}
	}},
	{name: "what is appended later follows", prove: func(t *lab) {
		var got []leat.Recorded
		for b, err := range leat.Follow(t.ctx, t.log, leat.Filter{Types: []string{"Tested"}}, leat.Checkpoint{}) {
			t.ok(err, "follow")
			if got = append(got, b.Events...); len(got) == 40 {
				break
			}
			t.appendTo("a-1", "a-1")
		}
		same(t, "sequences", seqs(got), span(1, 40))
	}},
	{name: "a checkpoint resumes where it was taken", config: leat.Config{Shards: leat.EvenShards(3)}, prove: func(t *lab) {
		for i := range 30 {
			t.append(t.events(repeat(fmt.Sprintf("a-%d", i%9), 40)...))
		}
		seen := map[string]uint64{}
		count := 0
		var from leat.Checkpoint
		for count < 1200 {
			for b, err := range leat.Follow(t.ctx, t.log, leat.Filter{}, from) {
				t.ok(err, "follow")
				for _, e := range b.Events {
					equal(t, "version in "+e.Stream, e.Version, seen[e.Stream]+1)
					seen[e.Stream]++
					count++
				}
				from.Advance(b)
				if len(b.Events) > 0 {
					break
				}
			}
			text, err := from.MarshalText()
			t.ok(err, "write the checkpoint")
			t.ok(from.UnmarshalText(text), "read the checkpoint")
		}
		equal(t, "events", count, 1200)
	}},
	{name: "splits are followed, parents first", prove: func(t *lab) {
		seen, streams := map[string]uint64{}, []string{"a-1", "a-2", "a-3", "a-4"}
		finished := map[leat.ShardID]bool{}
		parents := map[leat.ShardID][]leat.ShardID{}
		count, splits := 0, 0
		for b, err := range leat.Follow(t.ctx, t.log, leat.Filter{}, leat.Checkpoint{}) {
			t.ok(err, "follow")
			for _, s := range t.shards() {
				parents[s.ID] = s.Parents
			}
			for _, p := range parents[b.Shard] {
				if !finished[p] {
					t.Fatalf("a batch of %s came before its parent %s was finished", b.Shard, p)
				}
			}
			finished[b.Shard] = b.Closed
			for _, e := range b.Events {
				equal(t, "version in "+e.Stream, e.Version, seen[e.Stream]+1)
				seen[e.Stream]++
				count++
			}
			if splits == 4 && count == 16 {
				break
			}
			if splits < 4 {
				for _, name := range streams {
					t.appendTo(name)
				}
				t.split(leat.ShardNumber(splits))
				splits++
			}
		}
	}},
	{name: "finished shards are not read again", prove: func(t *lab) {
		root := t.appendTo("a-1").Shard
		t.split(root)
		child := t.appendTo("a-1")
		from := leat.Checkpoint{Log: t.info().ID, Epoch: 1}
		from.Set(root, 1)
		for b, err := range leat.Follow(t.ctx, t.log, leat.Filter{}, from) {
			t.ok(err, "follow")
			if b.Shard == root {
				equal(t, "events of the finished shard", len(b.Events), 0)
			}
			if b.Shard == child.Shard && b.Next == child.Last {
				same(t, "versions", versions(b.Events), []uint64{2})
				break
			}
		}
	}},
	{name: "following ends with the context", config: leat.Config{Shards: leat.EvenShards(3)}, prove: func(t *lab) {
		ctx, cancel := context.WithCancel(t.ctx)
		var last error
		pairs := 0
		for _, err := range leat.Follow(ctx, t.log, leat.Filter{}, leat.Checkpoint{}) {
			if last != nil {
				t.Fatalf("a pair follows the error %v", last)
			}
			last = err
			if pairs++; pairs == 3 {
				cancel()
			}
		}
		cancel()
		t.is(last, context.Canceled, "follow")
	}},
	{name: "following ends with the log", prove: func(t *lab) {
		closer := capability[io.Closer](t)
		var last error
		for _, err := range leat.Follow(t.ctx, t.log, leat.Filter{}, leat.Checkpoint{}) {
			if last = err; err == nil {
				t.ok(closer.Close(), "close")
			}
		}
		t.is(last, leat.ErrClosed, "follow")
	}},
}

var manners = []check{
	{name: "what was yielded is the caller's", prove: func(t *lab) {
		e := t.event("a-1")
		e.Meta = leat.NewMeta("k", "v")
		r := t.append([]leat.Event{e, t.event("a-1")})
		r.Versions[0] = 99
		want := t.kept(r.Shard)
		for i := range want {
			want[i] = clone(want[i])
		}
		spoil := func(events []leat.Recorded) {
			for i := range events {
				for j := range events[i].Data {
					events[i].Data[j] = 'X'
				}
				for j := range events[i].Meta {
					events[i].Meta[j] = leat.Attr{Key: "x", Value: "X"}
				}
				events[i].Stream = "x"
			}
		}
		for range 2 {
			spoil(t.stream("a-1"))
			spoil(t.kept(r.Shard))
			sameEvents(t, "events read again", t.kept(r.Shard), want)
			sameEvents(t, "stream read again", t.stream("a-1"), want)
		}
	}},
	{name: "what was appended is the caller's", prove: func(t *lab) {
		e := t.event("a-1")
		e.Meta = leat.NewMeta("k", "v")
		events := []leat.Event{e, t.event("a-1")}
		again := []leat.Event{e, events[1]}
		again[0].Data, again[0].Meta = slices.Clone(e.Data), slices.Clone(e.Meta)
		r := t.append(events)
		want := t.kept(r.Shard)
		for i := range events[0].Data {
			events[0].Data[i] = 'X'
		}
		events[0].Meta[0].Value = "X"
		events[1].ID = "x"
		sameEvents(t, "events", t.kept(r.Shard), want)
		equal(t, "Data", string(t.stream("a-1")[0].Data), string(again[0].Data))
		equal(t, "Duplicate", t.append(again).Duplicate, true)
	}},
	{name: "what the log says of itself is the caller's", config: leat.Config{
		Shards: family(), Ended: []leat.Epoch{{Number: 1, Heads: map[leat.ShardID]uint64{"shardId-000000000000": 1}}},
	}, prove: func(t *lab) {
		shards, info := fmt.Sprint(t.shards()), fmt.Sprint(t.info())
		spoiled := t.shards()
		spoiled[1].Parents[0], spoiled[0].ID = "x", "x"
		t.info().Ended[0].Heads["shardId-000000000000"] = 7
		equal(t, "shards", fmt.Sprint(t.shards()), shards)
		equal(t, "info", fmt.Sprint(t.info()), info)
	}},
	{name: "nothing is done once the context has ended", prove: func(t *lab) {
		shard := t.appendTo("a-1", "a-1").Shard
		ctx, cancel := context.WithCancel(t.ctx)
		cancel()
		for name, err := range t.everyCall(ctx, shard) {
			t.is(err, context.Canceled, name)
		}
		equal(t, "head", t.shard(shard).Head, 2)
		equal(t, "shards", len(t.shards()), 1)
		equal(t, "oldest", t.shard(shard).Oldest, 1)
	}},
	{name: "a closed log says so", prove: func(t *lab) {
		shard := t.appendTo("a-1", "a-1").Shard
		waited := make(chan error, 1)
		go func() {
			_, err := t.log.ReadShard(t.ctx, shard, 2, leat.ReadOptions{Wait: checkTime})
			waited <- err
		}()
		t.end()
		t.is(<-waited, leat.ErrClosed, "wait")
		for name, err := range t.everyCall(t.ctx, shard) {
			t.is(err, leat.ErrClosed, name)
		}
	}},
}

// everyCall calls all that a log can do and returns the errors.
func (t *lab) everyCall(ctx context.Context, shard leat.ShardID) map[string]error {
	errs := map[string]error{}
	_, errs["Append"] = t.log.Append(ctx, t.events("a-1"))
	_, errs["Submit"] = leat.Submit(ctx, t.log, t.events("a-1")).Wait()
	_, errs["ReadShard"] = t.log.ReadShard(ctx, shard, 0, leat.ReadOptions{})
	_, errs["ReadShard at the head"] = t.log.ReadShard(ctx, shard, 2, leat.ReadOptions{})
	_, errs["Shards"] = t.log.Shards(ctx)
	_, errs["Info"] = t.log.Info(ctx)
	errs["ReadStream"] = nil
	for _, err := range t.log.ReadStream(ctx, "a-1", leat.Range{}) {
		errs["ReadStream"] = err
	}
	if s, ok := t.log.(leat.Splitter); ok {
		_, errs["Split"] = s.Split(ctx, shard, leat.HashKey{0x80})
	}
	if tr, ok := t.log.(leat.Trimmer); ok {
		_, errs["Trim"] = tr.Trim(ctx, shard, 3)
	}
	if im, ok := t.log.(leat.Importer); ok {
		next := leat.Recorded{Event: t.event("a-1"), Shard: shard, Seq: 3, Commit: 3, Version: 3, At: t.clock.Now().Add(1000)}
		next.Time, next.ContentType = next.At, leat.DefaultContentType
		errs["Import"] = im.Import(ctx, shard, []leat.Recorded{next})
	}
	return errs
}

package leattest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/leathq/leat"
)

var splits = []check{
	{name: "a log has the shards it was created with", config: leat.Config{Shards: leat.EvenShards(3)}, prove: func(t *lab) {
		equal(t, "shards", fmt.Sprint(t.shards()), fmt.Sprint(leat.EvenShards(3)))
		for i := range 20 {
			name := fmt.Sprintf("a-%d", i)
			owner := t.owner(name).ID
			equal(t, "shard of "+name, t.appendTo(name).Shard, owner)
		}
	}},
	{name: "a split closes a shard and opens two", prove: func(t *lab) {
		r := t.appendTo("a-1")
		parent := t.shard(r.Shard)
		at := leat.HashKey{0x40}
		want, err := parent.Children(at, 1)
		t.ok(err, "children")
		got, err := t.splitter().Split(t.ctx, parent.ID, at)
		t.ok(err, "split")
		equal(t, "children", fmt.Sprint(got), fmt.Sprint(want))
		parent.Closed = true
		equal(t, "shards", fmt.Sprint(t.shards()), fmt.Sprint([]leat.Shard{parent, want[0], want[1]}))
	}},
	{name: "a split that cannot be is refused", prove: func(t *lab) {
		s := t.splitter()
		root := t.shards()[0]
		_, err := s.Split(t.ctx, root.ID, root.From)
		t.is(err, leat.ErrInvalid, "split at the first key")
		_, err = s.Split(t.ctx, leat.ShardNumber(7), root.Middle())
		t.is(err, leat.ErrNotFound, "split of an unknown shard")
		children := t.split(root.ID)
		_, err = s.Split(t.ctx, root.ID, root.Middle())
		t.is(err, leat.ErrInvalid, "split of a closed shard")
		_, err = s.Split(t.ctx, children[0].ID, children[1].Middle())
		t.is(err, leat.ErrInvalid, "split at another shard's key")
		equal(t, "shards", len(t.shards()), 3)
	}},
	{name: "a single log is not split", config: leat.Config{Single: true}, prove: func(t *lab) {
		root := t.shards()[0]
		_, err := t.splitter().Split(t.ctx, root.ID, root.Middle())
		t.is(err, leat.ErrUnsupported, "split")
		equal(t, "shards", len(t.shards()), 1)
	}},
	{name: "a closed shard ends with Closed", prove: func(t *lab) {
		r := t.appendTo("a-1")
		t.appendTo("a-1")
		equal(t, "Closed before the split", t.readShard(r.Shard, 2, leat.ReadOptions{}).Closed, false)
		children := t.split(r.Shard)
		equal(t, "Closed before the end", t.readShard(r.Shard, 0, leat.ReadOptions{Limit: 1}).Closed, false)
		for after := range uint64(3) {
			b := t.readShard(r.Shard, after, leat.ReadOptions{Wait: time.Hour})
			equal(t, fmt.Sprintf("Closed after %d", after), b.Closed, true)
			equal(t, "events", len(b.Events), int(2-after))
		}
		none := t.readShard(r.Shard, 0, leat.ReadOptions{Filter: leat.Filter{Types: []string{"absent"}}})
		equal(t, "Closed without a match", none.Closed, true)
		equal(t, "Closed of a child", t.readShard(children[0].ID, 0, leat.ReadOptions{}).Closed, false)
	}},
	{name: "a shard without events can be split", prove: func(t *lab) {
		children := t.split(t.shards()[0].ID)
		equal(t, "Closed", t.readShard(leat.ShardNumber(0), 0, leat.ReadOptions{}).Closed, true)
		t.split(children[0].ID)
		t.split(children[1].ID)
		equal(t, "sequence", t.appendTo("a-1").First, 1)
	}},
	{name: "a stream's history goes on in the children", prove: func(t *lab) {
		names := []string{"a-1", "a-2", "a-3", "a-4", "a-5", "{a}1"}
		want := map[string][]uint64{}
		write := func() {
			for _, name := range names {
				r := t.append(t.events(name, name), leat.ExpectVersion(name, uint64(len(want[name]))))
				equal(t, "shard of "+name, r.Shard, t.owner(name).ID)
				want[name] = append(want[name], r.Versions...)
			}
		}
		write()
		for range 3 { // children of children of children
			for _, s := range t.shards() {
				if !s.Closed {
					t.split(s.ID)
				}
			}
			t.clock.move(-time.Minute)
			write()
		}
		equal(t, "shards", len(t.shards()), 15)
		for range 2 {
			for _, name := range names {
				same(t, "versions of "+name, versions(t.stream(name)), want[name])
				part, err := t.tryStream(name, leat.Range{After: 1, Through: 7}.Reverse())
				t.ok(err, "read stream")
				same(t, "versions of "+name+" in reverse", versions(part), []uint64{7, 6, 5, 4, 3, 2})
			}
			t.reopen()
		}
	}},
	{name: "a child's first At exceeds its parent's last", prove: func(t *lab) {
		last := t.appendTo("a-1", "a-1", "a-1")
		t.clock.move(-time.Hour)
		children := t.split(last.Shard)
		for _, c := range children {
			t.split(c.ID) // whose own children come after the first parent too
		}
		t.reopen()
		equal(t, "At", t.appendTo("a-1").At.UnixNano(), last.At.UnixNano()+1)
	}},
	{name: "a shard can be split while it is written to", prove: func(t *lab) {
		s := t.splitter()
		const writers, each = 4, 60
		events := make([][]leat.Event, writers)
		for i := range events {
			events[i] = t.events(repeat(fmt.Sprintf("w-%d", i), each)...)
		}
		errs := make([]error, writers+1)
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() { errs[i] = appendOneByOne(t, events[i]) })
		}
		wg.Go(func() {
			for n := 0; n < 6; n++ {
				shard := leat.ShardNumber(n)
				shards, err := t.log.Shards(t.ctx)
				if err == nil {
					_, err = s.Split(t.ctx, shard, shards[n].Middle())
				}
				errs[writers] = errors.Join(errs[writers], err)
			}
		})
		wg.Wait()
		t.ok(errors.Join(errs...), "append and split")
		equal(t, "shards", len(t.shards()), 13)
		for i := range writers {
			same(t, "versions", versions(t.stream(fmt.Sprintf("w-%d", i))), span(1, each))
		}
	}},
	{name: "reading yields a child after its parents", prove: func(t *lab) {
		t.appendTo("a-1")
		for n := range 3 {
			t.split(leat.ShardNumber(n))
			for i := range 8 {
				t.appendTo(fmt.Sprintf("a-%d", i))
			}
		}
		last := map[string]uint64{}
		count := 0
		for e, err := range leat.Read(t.ctx, t.log, leat.Filter{}, leat.Checkpoint{}) {
			t.ok(err, "read")
			equal(t, "version of "+e.Stream, e.Version, last[e.Stream]+1)
			last[e.Stream]++
			count++
		}
		equal(t, "events", count, 25)
	}},
}

var trimming = []check{
	{name: "what is trimmed is gone, and told", prove: func(t *lab) {
		for range 5 {
			t.appendTo("a-1", "b-{a-1}")
		}
		shard := t.owner("a-1").ID
		equal(t, "oldest", t.trim(shard, 5), 5)
		for range 2 {
			equal(t, "Oldest of the shard", t.shard(shard).Oldest, 5)
			for after := range uint64(4) {
				t.trimmedShard(shard, after, 5)
			}
			b := t.readShard(shard, 4, leat.ReadOptions{})
			same(t, "sequences", seqs(b.Events), span(5, 10))
			t.reopen()
		}
	}},
	{name: "a stream never starts late in silence", prove: func(t *lab) {
		for range 5 {
			t.appendTo("a-1", "b-{a-1}")
		}
		t.trim(t.owner("a-1").ID, 5)
		for range 2 {
			for _, c := range []struct {
				r      leat.Range
				want   []uint64
				oldest uint64
			}{
				{leat.Range{}, nil, 3},
				{leat.Range{After: 1}, nil, 3},
				{leat.Range{After: 2}, []uint64{3, 4, 5}, 0},
				{leat.Range{After: 3, Through: 4}, []uint64{4}, 0},
				{leat.Range{Through: 2}, nil, 3},
				{leat.Range{After: 1, Through: 1}, nil, 0},
				{leat.Range{After: 5}, nil, 0},
				{leat.Range{}.Reverse(), []uint64{5, 4, 3}, 3},
				{leat.Range{Through: 4}.Reverse(), []uint64{4, 3}, 3},
				{leat.Range{Through: 1}.Reverse(), nil, 3},
				{leat.Range{After: 2}.Reverse(), []uint64{5, 4, 3}, 0},
			} {
				what := fmt.Sprintf("read %+v", c.r)
				events, err := t.tryStream("a-1", c.r)
				same(t, what, versions(events), c.want)
				if c.oldest == 0 {
					t.ok(err, what)
					continue
				}
				trimmed := as[*leat.TrimmedError](t, err, what)
				equal(t, what+": Oldest", trimmed.Oldest, c.oldest)
				equal(t, what+": Stream", trimmed.Stream, "a-1")
			}
			t.reopen()
		}
	}},
	{name: "an append is never divided", prove: func(t *lab) {
		shard := t.appendTo("a-1", "a-1").Shard
		t.appendTo("a-1", "a-1", "a-1")
		equal(t, "oldest when trimmed inside the first append", t.trim(shard, 2), 1)
		equal(t, "events of the log itself", len(t.stream(leat.SystemStream)), 0)
		equal(t, "oldest when trimmed inside the second append", t.trim(shard, 5), 3)
		same(t, "versions", versions(t.kept(shard)[:3]), span(3, 5))
	}},
	{name: "everything can be trimmed", prove: func(t *lab) {
		events := t.events("a-1", "a-1")
		r := t.append(events)
		equal(t, "oldest", t.trim(r.Shard, 3), 3)
		for range 2 {
			t.trimmedShard(r.Shard, 0, 3)
			t.trimmedShard(r.Shard, 1, 3)
			_, err := t.tryStream("a-1", leat.Range{})
			equal(t, "Oldest of the stream", as[*leat.TrimmedError](t, err, "read").Oldest, 3)
			got, err := t.tryStream("a-1", leat.Range{After: 2})
			t.ok(err, "read the rest of a stream")
			equal(t, "events", len(got), 0)
			t.reopen()
		}
		t.refused(leat.ErrConflict, t.events("a-1"), leat.ExpectNew("a-1"))
		sameReceipt(t, "append again", t.append(events), duplicateOf(r))
		next := t.append(t.events("a-1"), leat.ExpectVersion("a-1", 2))
		equal(t, "version", next.Versions[0], 3)
	}},
	{name: "trimming twice goes on, trimming less does nothing", prove: func(t *lab) {
		for range 6 {
			t.appendTo("a-1")
		}
		shard := t.owner("a-1").ID
		for _, below := range []uint64{3, 3, 1, 0, 5, 4} {
			t.trim(shard, below)
		}
		equal(t, "Oldest", t.shard(shard).Oldest, 5)
		equal(t, "events of the log itself", len(t.stream(leat.SystemStream)), 2)
	}},
	{name: "trimming is recorded", prove: func(t *lab) {
		for range 6 {
			t.appendTo("a-1", "a-1")
		}
		shard := t.owner("a-1").ID
		t.clock.move(time.Minute)
		t.trim(shard, 4)
		t.trim(shard, 13)
		want := []leat.Trimmed{{Shard: shard, From: 1, Oldest: 3}, {Shard: shard, From: 3, Oldest: 13}}
		for range 2 {
			events := t.stream(leat.SystemStream)
			equal(t, "events of the log itself", len(events), 2)
			for i, e := range events {
				var got leat.Trimmed
				t.ok(json.Unmarshal(e.Data, &got), "decode the data of "+e.Type)
				equal(t, "Data", got, want[i])
				equal(t, "Type", e.Type, leat.TypeTrimmed)
				equal(t, "Source", e.Source, leat.SystemSource)
				equal(t, "ContentType", e.ContentType, leat.DefaultContentType)
				equal(t, "Version", e.Version, uint64(i+1))
				equal(t, "Shard", e.Shard, t.owner(leat.SystemStream).ID)
			}
			t.reopen()
		}
	}},
	{name: "a trim that cannot be is refused", prove: func(t *lab) {
		r := t.appendTo("a-1")
		_, err := t.trimmer().Trim(t.ctx, leat.ShardNumber(9), 1)
		t.is(err, leat.ErrNotFound, "trim an unknown shard")
		_, err = t.trimmer().Trim(t.ctx, r.Shard, 3)
		equal(t, "Field", as[*leat.InvalidError](t, err, "trim above the head").Field, "below")
		equal(t, "Oldest", t.shard(r.Shard).Oldest, 1)
		equal(t, "events of the log itself", len(t.stream(leat.SystemStream)), 0)
	}},
	{name: "children are trimmed after their parents", prove: func(t *lab) {
		root := t.appendTo("a-1", "a-1").Shard
		t.split(root)
		child := t.appendTo("a-1").Shard
		t.split(child)
		grandchild := t.appendTo("a-1").Shard
		head := t.shard(grandchild).Head
		_, err := t.trimmer().Trim(t.ctx, child, 2)
		equal(t, "Field", as[*leat.InvalidError](t, err, "trim a child").Field, "shard")
		_, err = t.trimmer().Trim(t.ctx, grandchild, head+1)
		t.is(err, leat.ErrInvalid, "trim a grandchild")

		t.trim(root, 3)
		_, err = t.tryStream("a-1", leat.Range{})
		equal(t, "Oldest", as[*leat.TrimmedError](t, err, "read").Oldest, 3)
		_, err = t.trimmer().Trim(t.ctx, grandchild, head+1)
		t.is(err, leat.ErrInvalid, "trim a grandchild before its parent")
		t.trim(child, 2)
		t.trim(grandchild, head+1)
		_, err = t.tryStream("a-1", leat.Range{})
		equal(t, "Oldest", as[*leat.TrimmedError](t, err, "read").Oldest, 5)
		equal(t, "version", t.append(t.events("a-1"), leat.ExpectVersion("a-1", 4)).Versions[0], 5)
	}},
	{name: "a trimmed shard can be split, and a closed one be trimmed", prove: func(t *lab) {
		events := t.events("a-1", "a-1")
		first := t.append(events)
		second := t.appendTo("a-1")
		t.trim(first.Shard, 3)
		t.split(first.Shard)
		t.appendTo("a-1")
		got, err := t.tryStream("a-1", leat.Range{After: 2})
		t.ok(err, "read stream")
		same(t, "versions", versions(got), []uint64{3, 4})
		t.trim(first.Shard, second.Last+1)
		got, err = t.tryStream("a-1", leat.Range{After: 3})
		t.ok(err, "read stream")
		same(t, "versions", versions(got), []uint64{4})
		sameReceipt(t, "append again", t.append(events), duplicateOf(first))
	}},
	{name: "Read and Follow tell what is trimmed", prove: func(t *lab) {
		shard := t.appendTo("a-1").Shard
		t.appendTo("a-1")
		t.trim(shard, 2)
		t.is(readError(t, leat.Checkpoint{}), leat.ErrTrimmed, "read")
		t.is(followError(t, leat.Checkpoint{}), leat.ErrTrimmed, "follow")
		from := leat.Checkpoint{Seqs: map[leat.ShardID]uint64{shard: 1}}
		t.ok(readError(t, from), "read what is kept")
	}},
	{name: "streams that were trimmed away do not disturb others", prove: func(t *lab) {
		var shard leat.ShardID
		for i := range 30 {
			shard = t.appendTo(fmt.Sprintf("a-%d", i)).Shard
		}
		t.trim(shard, 21)
		for i := range 30 {
			name := fmt.Sprintf("a-%d", i)
			events, err := t.tryStream(name, leat.Range{})
			if i < 20 {
				equal(t, "Oldest of "+name, as[*leat.TrimmedError](t, err, "read").Oldest, 2)
				continue
			}
			t.ok(err, "read stream")
			same(t, "versions of "+name, versions(events), []uint64{1})
		}
		got := t.drain(shard, 20, leat.ReadOptions{})
		same(t, "sequences", slices.DeleteFunc(seqs(got), func(n uint64) bool { return n > 30 }), span(21, 30))
	}},
}

// trimmedShard fails the test unless reading a shard after a sequence tells that
// it is trimmed.
func (t *lab) trimmedShard(id leat.ShardID, after, oldest uint64) {
	t.Helper()
	what := fmt.Sprintf("read %s after %d", id, after)
	b, err := t.log.ReadShard(t.ctx, id, after, leat.ReadOptions{Filter: leat.Filter{Types: []string{"absent"}}})
	trimmed := as[*leat.TrimmedError](t, err, what)
	equal(t, what+": Oldest", trimmed.Oldest, oldest)
	equal(t, what+": Shard", trimmed.Shard, id)
	equal(t, what+": events beside the error", len(b.Events), 0)
}

// readError returns the error with which Read ends.
func readError(t *lab, from leat.Checkpoint) error {
	for _, err := range leat.Read(t.ctx, t.log, leat.Filter{}, from) {
		if err != nil {
			return err
		}
	}
	return nil
}

// followError returns the error with which Follow ends.
func followError(t *lab, from leat.Checkpoint) error {
	for _, err := range leat.Follow(t.ctx, t.log, leat.Filter{}, from) {
		if err != nil {
			return err
		}
	}
	return nil
}

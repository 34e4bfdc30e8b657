package leattest

import (
	"fmt"
	"time"

	"github.com/leathq/leat"
)

var durable = []check{
	{name: "what is acknowledged is there after a reopening", prove: func(t *lab) {
		if t.inst.Reopen == nil {
			t.Skip("the log does not outlive its end")
		}
		t.appendTo("a-1", "a-1", "a-1")
		t.appendTo("b-1")
		t.clock.move(time.Second)
		last := t.appendTo("a-1")
		info, shards, events := t.info(), t.shards(), t.kept(last.Shard)

		t.reopen()
		equal(t, "ID", t.info().ID, info.ID)
		equal(t, "epoch", t.info().Epoch, info.Epoch)
		equal(t, "created", t.info().Created.UnixNano(), info.Created.UnixNano())
		equal(t, "shards", fmt.Sprint(t.shards()), fmt.Sprint(shards))
		sameEvents(t, "events", t.kept(last.Shard), events)
	}},
	{name: "a reopened log goes on where it was", prove: func(t *lab) {
		if t.inst.Reopen == nil {
			t.Skip("the log does not outlive its end")
		}
		events := t.events("a-1", "a-1")
		first := t.append(events)
		t.clock.move(-time.Hour)
		t.reopen()

		next := t.appendTo("a-1")
		equal(t, "sequence", next.First, first.Last+1)
		equal(t, "version", next.Versions[0], first.Versions[1]+1)
		if !next.At.After(first.At) {
			t.Fatalf("At is %v after a reopening, not after %v before it", next.At, first.At)
		}
		sameReceipt(t, "append again after a reopening", t.append(events, leat.ExpectNew("a-1")), duplicateOf(first))
		t.refused(leat.ErrConflict, t.events("a-1"), leat.ExpectVersion("a-1", 2))
	}},
	{name: "splits and trims are there after a reopening", prove: func(t *lab) {
		if t.inst.Reopen == nil {
			t.Skip("the log does not outlive its end")
		}
		events := t.events("a-1", "a-1")
		first := t.append(events)
		t.appendTo("b-1", "b-1")
		children := t.split(first.Shard)
		t.appendTo("a-1")
		t.reopen()
		equal(t, "the parent is closed", t.shard(first.Shard).Closed, true)
		t.trim(first.Shard, first.Last+1)
		t.reopen()

		equal(t, "oldest", t.shard(first.Shard).Oldest, first.Last+1)
		equal(t, "shards", len(t.shards()), 3)
		next := t.appendTo("a-1")
		if next.Shard != children[0].ID && next.Shard != children[1].ID {
			t.Fatalf("after a split and a reopening, an append went to %s", next.Shard)
		}
		equal(t, "version", next.Versions[0], 4)
		sameReceipt(t, "append again", t.append(events), duplicateOf(first))
		_, err := t.tryStream("a-1", leat.Range{})
		equal(t, "oldest version", as[*leat.TrimmedError](t, err, "read").Oldest, 3)
	}},
}

var atomic = []check{
	{name: "an append is contiguous and tells where it begins", prove: func(t *lab) {
		t.appendTo("a-1", "a-1")
		r := t.appendTo("a-1", "a-1", "a-1")
		equal(t, "First", r.First, 3)
		equal(t, "Last", r.Last, 5)
		same(t, "Versions", r.Versions, []uint64{3, 4, 5})
		equal(t, "Duplicate", r.Duplicate, false)
		events := t.kept(r.Shard)
		for _, e := range events[2:] {
			equal(t, "Commit", e.Commit, 3)
		}
		equal(t, "At", events[4].At.UnixNano(), r.At.UnixNano())
	}},
	{name: "a batch never ends inside an append", prove: func(t *lab) {
		ends := map[uint64]bool{}
		var shard leat.ShardID
		for _, n := range []int{3, 1, 5, 1, 1, 2} {
			r := t.append(t.events(repeat("a-1", n)...))
			ends[r.Last], shard = true, r.Shard
		}
		for _, f := range []leat.Filter{{}, {Streams: []string{"absent"}}} {
			for limit := 1; limit < 8; limit++ {
				for after := uint64(0); after < 13; {
					b := t.readShard(shard, after, leat.ReadOptions{Filter: f, Limit: limit})
					if !ends[b.Next] {
						t.Fatalf("a batch with limit %d after %d ends at %d, inside an append", limit, after, b.Next)
					}
					if got := len(b.Events); got > limit+4 {
						t.Fatalf("a batch with limit %d has %d events, though it could have ended before", limit, got)
					}
					after = b.Next
				}
			}
		}
	}},
	{name: "a batch may begin inside an append", prove: func(t *lab) {
		r := t.appendTo("a-1", "a-1", "a-1")
		b := t.readShard(r.Shard, 2, leat.ReadOptions{Limit: 1})
		same(t, "sequences", seqs(b.Events), []uint64{3})
		equal(t, "Commit", b.Events[0].Commit, 1)
	}},
	{name: "a batch ends once it has examined enough bytes", prove: func(t *lab) {
		size := leat.MinLimits.EventBytes - 512
		var shard leat.ShardID
		for range 2 + leat.MaxReadBytes/(4*size) {
			events := t.events("a-1", "a-1", "a-1", "a-1")
			for i := range events {
				events[i].Data = make([]byte, size)
			}
			shard = t.append(events).Shard
		}
		head := t.shard(shard).Head
		for _, f := range []leat.Filter{{}, {Types: []string{"absent"}}} {
			b := t.readShard(shard, 0, leat.ReadOptions{Filter: f})
			equal(t, "Head", b.Head, head)
			if bytes := int(b.Next) * size; bytes > leat.MaxReadBytes+4*size {
				t.Fatalf("one batch examined %d bytes, more than %d and an append", bytes, leat.MaxReadBytes)
			}
			equal(t, "events after the last whole append", b.Next%4, 0)
			rest := t.drain(shard, b.Next, leat.ReadOptions{Filter: f})
			if f.Types == nil {
				equal(t, "events", len(b.Events)+len(rest), int(head))
			}
		}
	}},
	{name: "one append has one route key", config: leat.Config{Shards: leat.EvenShards(2)}, prove: func(t *lab) {
		t.refused(leat.ErrCrossKey, t.events("a-1", "a-2"))
		t.refused(leat.ErrCrossKey, t.events("a-1"), leat.ExpectNew("a-2"))
		t.refused(leat.ErrCrossKey, t.events("a-1", "a-{}1"))
	}},
	{name: "one shard does not lift the rule of route keys", prove: func(t *lab) {
		t.refused(leat.ErrCrossKey, t.events("a-1", "a-2"))
	}},
	{name: "a hash tag joins streams", config: leat.Config{Shards: leat.EvenShards(4)}, prove: func(t *lab) {
		r := t.append(t.events("order-{c42}-7", "customer-{c42}", "order-{c42}-7"), leat.ExpectNew("c42"), leat.ExpectNew("x{c42}"))
		same(t, "Versions", r.Versions, []uint64{1, 1, 2})
		equal(t, "shard", r.Shard, t.owner("c42").ID)
	}},
	{name: "a single log takes any streams together", config: leat.Config{Single: true}, prove: func(t *lab) {
		equal(t, "Single", t.info().Single, true)
		t.appendTo("b-2")
		r := t.append(t.events("a-1", "b-2", "c-3"), leat.ExpectVersion("b-2", 1), leat.ExpectNew("d-4"))
		same(t, "Versions", r.Versions, []uint64{1, 2, 1})
		t.refused(leat.ErrConflict, t.events("a-1", "e-5"), leat.ExpectExists("d-4"))
		equal(t, "events of the refused append", len(t.stream("e-5")), 0)
	}},
}

func repeat(stream string, n int) []string {
	streams := make([]string, n)
	for i := range streams {
		streams[i] = stream
	}
	return streams
}

// duplicateOf returns r as it is told when its events are appended again.
func duplicateOf(r leat.Receipt) leat.Receipt {
	r.Duplicate = true
	return r
}

func sameReceipt(t *lab, what string, got, want leat.Receipt) {
	t.Helper()
	equal(t, what+": Duplicate", got.Duplicate, want.Duplicate)
	equal(t, what+": Shard", got.Shard, want.Shard)
	equal(t, what+": First", got.First, want.First)
	equal(t, what+": Last", got.Last, want.Last)
	equal(t, what+": At", got.At.UnixNano(), want.At.UnixNano())
	same(t, what+": Versions", got.Versions, want.Versions)
}

package leattest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/leathq/leat"
)

var filters = []check{
	{name: "a filter selects what matches it", prove: func(t *lab) {
		for _, e := range []struct{ stream, typ string }{
			{"order-1", "Placed"}, {"order-2", "Placed"}, {"order-1", "Paid"}, {"order", "Placed"}, {"orders-1", "Placed"}, {"sku-1", "Sold"},
		} {
			event := t.event(e.stream)
			event.Type = e.typ
			t.append([]leat.Event{event})
		}
		shard := t.owner("a-1").ID
		for _, c := range []struct {
			filter leat.Filter
			want   []uint64
		}{
			{leat.Filter{}, span(1, 6)},
			{leat.Filter{Streams: []string{"order-1"}}, []uint64{1, 3}},
			{leat.Filter{Streams: []string{"order-1", "sku-1"}}, []uint64{1, 3, 6}},
			{leat.Filter{Categories: []string{"order"}}, span(1, 4)},
			{leat.Filter{Categories: []string{"order", "sku"}}, []uint64{1, 2, 3, 4, 6}},
			{leat.Filter{Types: []string{"Placed"}}, []uint64{1, 2, 4, 5}},
			{leat.Filter{Types: []string{"Paid", "Sold"}}, []uint64{3, 6}},
			{leat.Filter{Categories: []string{"order"}, Types: []string{"Placed", "Sold"}}, []uint64{1, 2, 4}},
			{leat.Filter{Streams: []string{"order-1"}, Categories: []string{"sku"}}, nil},
			{leat.Filter{Streams: []string{"order-1", "order-2"}, Types: []string{"Paid"}, Categories: []string{"order"}}, []uint64{3}},
			{leat.Filter{Types: []string{"placed"}}, nil},
		} {
			for _, limit := range []int{0, 1} {
				got := t.drain(shard, 0, leat.ReadOptions{Filter: c.filter, Limit: limit})
				same(t, fmt.Sprintf("sequences with %+v", c.filter), seqs(got), c.want)
			}
			var read []leat.Recorded
			for e, err := range leat.Read(t.ctx, t.log, c.filter, leat.Checkpoint{}) {
				t.ok(err, "read")
				read = append(read, e)
			}
			same(t, fmt.Sprintf("sequences read with %+v", c.filter), seqs(read), c.want)
		}
	}},
	{name: "the system's streams are hidden unless asked for", prove: func(t *lab) {
		shard := t.appendTo("a-1").Shard
		t.appendTo("a-1")
		t.trim(shard, 2)
		for _, c := range []struct {
			filter leat.Filter
			want   []uint64
		}{
			{leat.Filter{}, []uint64{2}},
			{leat.Filter{Types: []string{leat.TypeTrimmed}}, nil},
			{leat.Filter{System: true}, []uint64{2, 3}},
			{leat.Filter{System: true, Types: []string{leat.TypeTrimmed}}, []uint64{3}},
			{leat.Filter{Streams: []string{leat.SystemStream}}, []uint64{3}},
			{leat.Filter{Categories: []string{leat.SystemStream, "a"}}, []uint64{2, 3}},
		} {
			b := t.readShard(shard, 1, leat.ReadOptions{Filter: c.filter})
			same(t, fmt.Sprintf("sequences with %+v", c.filter), seqs(b.Events), c.want)
			equal(t, "Next", b.Next, 3)
		}
	}},
	{name: "a rare filter gets on", prove: func(t *lab) {
		var shard leat.ShardID
		for i := range 40 {
			shard = t.append(t.events(repeat(fmt.Sprintf("a-%d", i), 50)...)).Shard
		}
		rare := leat.ReadOptions{Filter: leat.Filter{Streams: []string{"a-39"}}, Wait: time.Hour}
		for after := uint64(0); after < 2000; {
			b := t.readShard(shard, after, rare)
			if b.Next <= after {
				t.Fatalf("read after %d of 2000 got nowhere: Next is %d", after, b.Next)
			}
			after = b.Next
		}
		equal(t, "events", len(t.drain(shard, 0, rare)), 50)
	}},
	{name: "an expression is evaluated or refused", prove: func(t *lab) {
		event := t.event("a-1")
		event.Type = "Wanted"
		shard := t.append([]leat.Event{event, t.event("a-1")}).Shard
		b, err := t.log.ReadShard(t.ctx, shard, 0, leat.ReadOptions{Filter: leat.Filter{Where: `type == "Wanted"`}})
		if err != nil {
			t.is(err, leat.ErrUnsupported, "read with an expression")
			equal(t, "events beside the error", len(b.Events), 0)
			return
		}
		same(t, "sequences", seqs(b.Events), []uint64{1})
	}},
}

var reading = []check{
	{name: "a stream without events reads as empty", prove: func(t *lab) {
		t.appendTo("a-1")
		for _, name := range []string{"a-2", "a-", "a", "a-11", "absent", ""} {
			for _, r := range []leat.Range{{}, {After: 3}, leat.Range{}.Reverse()} {
				events, err := t.tryStream(name, r)
				t.ok(err, fmt.Sprintf("read stream %q", name))
				equal(t, "events", len(events), 0)
			}
		}
	}},
	{name: "a range selects versions", prove: func(t *lab) {
		for range 4 {
			t.appendTo("{k}a", "{k}b", "{k}a")
		}
		for _, c := range []struct {
			r    leat.Range
			want []uint64
		}{
			{leat.Range{}, span(1, 8)},
			{leat.Range{After: 3}, span(4, 8)},
			{leat.Range{Through: 3}, span(1, 3)},
			{leat.Range{After: 2, Through: 5}, span(3, 5)},
			{leat.Range{After: 7, Through: 8}, span(8, 8)},
			{leat.Range{After: 8}, nil},
			{leat.Range{After: 1<<64 - 1}, nil},
			{leat.Range{After: 5, Through: 5}, nil},
			{leat.Range{After: 5, Through: 2}, nil},
			{leat.Range{After: 6, Through: 1<<64 - 1}, span(7, 8)},
		} {
			for _, r := range []leat.Range{c.r, c.r.Reverse(), c.r.Reverse().Reverse()} {
				want := slices.Clone(c.want)
				if r.Reversed() {
					slices.Reverse(want)
				}
				events, err := t.tryStream("{k}a", r)
				t.ok(err, fmt.Sprintf("read %+v", r))
				same(t, fmt.Sprintf("versions in %+v", r), versions(events), want)
			}
		}
	}},
	{name: "reading a stream may be left at any time", prove: func(t *lab) {
		t.append(t.events(repeat("a-1", 100)...))
		for _, r := range []leat.Range{{}, leat.Range{}.Reverse()} {
			for n := 1; n < 100; n *= 3 {
				got := 0
				for _, err := range t.log.ReadStream(t.ctx, "a-1", r) {
					t.ok(err, "read stream")
					if got++; got == n {
						break
					}
				}
				equal(t, "events", got, n)
			}
		}
	}},
	{name: "the log can be used while a stream is read", prove: func(t *lab) {
		t.append(t.events(repeat("a-1", 20)...))
		got := 0
		for e, err := range t.log.ReadStream(t.ctx, "a-1", leat.Range{}) {
			t.ok(err, "read stream")
			t.appendTo("a-1")
			events, err := t.tryStream("a-1", leat.Range{Through: e.Version})
			t.ok(err, "read stream")
			equal(t, "events so far", uint64(len(events)), e.Version)
			got++
		}
		equal(t, "events up to the version at the call", got, 20)
	}},
	{name: "an empty shard reads as empty", prove: func(t *lab) {
		b := t.readShard(t.shards()[0].ID, 0, leat.ReadOptions{})
		equal(t, "events", len(b.Events), 0)
		equal(t, "Next", b.Next, 0)
		equal(t, "Head", b.Head, 0)
		equal(t, "Closed", b.Closed, false)
		equal(t, "Shard", b.Shard, t.shards()[0].ID)
	}},
	{name: "a limit that is not given is the default", prove: func(t *lab) {
		var shard leat.ShardID
		for range 3 {
			shard = t.append(t.events(repeat("a-1", leat.MinLimits.AppendEvents)...)).Shard
		}
		b := t.readShard(shard, 0, leat.ReadOptions{})
		if len(b.Events) > leat.DefaultReadLimit {
			t.Fatalf("a batch has %d events, more than the default limit of %d", len(b.Events), leat.DefaultReadLimit)
		}
	}},
	{name: "waiting ends with the wait", prove: func(t *lab) {
		r := t.appendTo("a-1")
		b := t.readShard(r.Shard, 1, leat.ReadOptions{Wait: time.Millisecond})
		equal(t, "events", len(b.Events), 0)
		equal(t, "Next", b.Next, 1)
		equal(t, "Head", b.Head, 1)
	}},
	{name: "waiting ends with an event", prove: func(t *lab) {
		shard := t.shards()[0].ID
		seen := make(chan error, 40)
		go func() { // each append is made while the reader waits, or is about to
			for after := uint64(0); after < 40; after++ {
				b, err := t.log.ReadShard(t.ctx, shard, after, leat.ReadOptions{Wait: checkTime})
				if err == nil && (len(b.Events) != 1 || b.Next != after+1) {
					err = fmt.Errorf("a reader that waited after %d got %d events and Next %d", after, len(b.Events), b.Next)
				}
				if seen <- err; err != nil {
					return
				}
			}
		}()
		for range 40 {
			t.appendTo("a-1")
			t.ok(<-seen, "wait")
		}
	}},
	{name: "waiting ends with an event that does not match", prove: func(t *lab) {
		shard := t.shards()[0].ID
		seen := make(chan error, 1)
		go func() {
			b, err := t.log.ReadShard(t.ctx, shard, 0, leat.ReadOptions{Wait: checkTime, Filter: leat.Filter{Types: []string{"absent"}}})
			if err == nil && (len(b.Events) != 0 || b.Next != 1) {
				err = fmt.Errorf("got %d events and Next %d", len(b.Events), b.Next)
			}
			seen <- err
		}()
		t.appendTo("a-1")
		t.ok(<-seen, "wait")
	}},
	{name: "waiting ends with a split", prove: func(t *lab) {
		for n := range 10 {
			seen := make(chan error, 1)
			go func() {
				b, err := t.log.ReadShard(t.ctx, leat.ShardNumber(n), 0, leat.ReadOptions{Wait: checkTime})
				if err == nil && !b.Closed {
					err = errors.New("the batch is not closed")
				}
				seen <- err
			}()
			t.split(leat.ShardNumber(n))
			t.ok(<-seen, "wait")
		}
	}},
	{name: "waiting ends with the context", prove: func(t *lab) {
		shard := t.shards()[0].ID
		ctx, cancel := context.WithCancel(t.ctx)
		errs := make([]error, 8)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { _, errs[i] = t.log.ReadShard(ctx, shard, 0, leat.ReadOptions{Wait: time.Hour}) })
		}
		cancel()
		wg.Wait()
		for _, err := range errs {
			t.is(err, context.Canceled, "wait")
		}
	}},
	{name: "a reader may start at a moment", config: leat.Config{Shards: leat.EvenShards(2)}, prove: func(t *lab) {
		type moment struct {
			at    time.Time
			heads map[leat.ShardID]uint64
		}
		var moments []moment
		for range 12 {
			t.clock.move(time.Minute)
			m := moment{t.clock.Now(), map[leat.ShardID]uint64{}}
			for _, s := range t.shards() {
				m.heads[s.ID] = s.Head
			}
			moments = append(moments, m)
			for n := range len(moments) % 4 {
				stream := fmt.Sprintf("a-%d", n)
				t.append(t.events(repeat(stream, 1+len(moments)%3)...))
			}
		}
		start := func(at time.Time) leat.Checkpoint {
			c, err := leat.Start(t.ctx, t.log, at)
			t.ok(err, "start at "+at.String())
			equal(t, "log of the checkpoint", c.Log, t.info().ID)
			equal(t, "epoch of the checkpoint", c.Epoch, t.info().Epoch)
			return c
		}
		for _, m := range moments {
			for shard, head := range m.heads {
				equal(t, fmt.Sprintf("start of %s at %v", shard, m.at), start(m.at).Seqs[shard], head)
			}
		}
		for _, s := range t.shards() {
			equal(t, "start at the beginning", start(time.Time{}).Seqs[s.ID], 0)
			equal(t, "start now", start(leat.Now).Seqs[s.ID], s.Head)
			equal(t, "start in the future", start(t.clock.Now().Add(time.Hour)).Seqs[s.ID], s.Head)
		}
	}},
	{name: "a reader may start at the oldest event kept", prove: func(t *lab) {
		var shard leat.ShardID
		for range 9 {
			t.clock.move(time.Minute)
			shard = t.appendTo("a-1").Shard
		}
		t.trim(shard, 4)
		for _, at := range []time.Time{{}, time.Unix(0, 0)} {
			c, err := leat.Start(t.ctx, t.log, at)
			t.ok(err, "start")
			equal(t, "start", c.Seqs[shard], 3)
			t.ok(readError(t, c), "read from there")
		}
	}},
	{name: "Read ends at the heads of its call", prove: func(t *lab) {
		t.append(t.events(repeat("a-1", 30)...))
		count := 0
		for _, err := range leat.Read(t.ctx, t.log, leat.Filter{}, leat.Checkpoint{}) {
			t.ok(err, "read")
			t.appendTo("a-1")
			count++
		}
		equal(t, "events", count, 30)
	}},
	{name: "Read keeps appends whole and in order across shards", config: leat.Config{Shards: leat.EvenShards(4)}, prove: func(t *lab) {
		for i := range 100 {
			t.clock.move(time.Second)
			t.append(t.events(repeat(fmt.Sprintf("a-%d", i%7), 1+i%4)...))
		}
		var last leat.Recorded
		count := 0
		for e, err := range leat.Read(t.ctx, t.log, leat.Filter{}, leat.Checkpoint{}) {
			t.ok(err, "read")
			if !e.At.After(last.At) || e.Seq != e.Commit && (e.Commit != last.Commit || e.Shard != last.Shard) {
				t.Fatalf("%s/%d of append %d at %v follows %s/%d of append %d at %v",
					e.Shard, e.Seq, e.Commit, e.At, last.Shard, last.Seq, last.Commit, last.At)
			}
			last = e
			count++
		}
		equal(t, "events", count, 250)
	}},
}

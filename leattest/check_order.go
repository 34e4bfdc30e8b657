package leattest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leathq/leat"
)

var stable = []check{
	{name: "what was acknowledged is there to be read", prove: func(t *lab) {
		for range 50 {
			r := t.appendTo("a-1", "a-1")
			equal(t, "Head of the shard", t.shard(r.Shard).Head, r.Last)
			same(t, "sequences", seqs(t.readShard(r.Shard, r.First-1, leat.ReadOptions{}).Events), []uint64{r.First, r.Last})
			last, err := t.tryStream("a-1", leat.Range{After: r.Versions[1] - 1})
			t.ok(err, "read stream")
			equal(t, "last version", last[0].Version, r.Versions[1])
		}
	}},
	{name: "readers beside writers see what is there in the end", config: leat.Config{Shards: leat.EvenShards(2)}, prove: func(t *lab) {
		const writers, each, readers = 4, 40, 3
		events := make([][]leat.Event, writers)
		for i := range events {
			events[i] = t.events(repeat(fmt.Sprintf("w-%d", i), 3*each)...)
		}
		heads := map[leat.ShardID]uint64{} // where readers are done
		written := make(chan struct{})
		var writing, reading sync.WaitGroup
		writeErrs := make([]error, writers)
		for i, own := range events {
			writing.Go(func() {
				for n := 1; len(own) > 0 && writeErrs[i] == nil; n = n%5 + 1 {
					n = min(n, len(own))
					_, writeErrs[i] = t.log.Append(t.ctx, own[:n])
					own = own[n:]
				}
			})
		}
		type seen struct {
			shard  leat.ShardID
			events []leat.Recorded
			err    error
		}
		all := make([]seen, 0, 2*readers)
		for _, s := range t.shards() {
			for range readers {
				all = append(all, seen{shard: s.ID})
			}
		}
		for i := range all {
			r := &all[i]
			reading.Go(func() { r.events, r.err = tail(t, r.shard, 1+i, written) })
		}
		writing.Wait()
		close(written)
		reading.Wait()
		t.ok(errors.Join(writeErrs...), "append")
		for _, s := range t.shards() {
			heads[s.ID] = s.Head
		}
		for _, r := range all {
			t.ok(r.err, "read")
			sameEvents(t, fmt.Sprintf("what a reader of %s saw", r.shard), r.events, t.kept(r.shard))
			equal(t, "events seen", uint64(len(r.events)), heads[r.shard])
		}
	}},
}

// tail reads a shard from its beginning to the head it has when done is closed,
// and sees that no batch contradicts itself.
func tail(t *lab, shard leat.ShardID, limit int, done <-chan struct{}) (events []leat.Recorded, err error) {
	after, ended := uint64(0), false
	for {
		select {
		case <-done:
			ended = true
		default:
		}
		b, err := t.log.ReadShard(t.ctx, shard, after, leat.ReadOptions{Limit: limit, Wait: time.Millisecond})
		if err != nil {
			return nil, err
		}
		if b.Next < after || b.Next > b.Head || uint64(len(b.Events)) != b.Next-after {
			return nil, fmt.Errorf("batch of %d events after %d: Next %d, Head %d", len(b.Events), after, b.Next, b.Head)
		}
		events, after = append(events, b.Events...), b.Next
		if ended && b.Next == b.Head {
			return events, nil
		}
	}
}

var order = []check{
	{name: "sequences and versions have no holes", prove: func(t *lab) {
		t.appendTo("a-1")
		t.appendTo("b-1", "b-1")
		t.refused(leat.ErrConflict, t.events("a-1"), leat.ExpectNew("a-1"))
		r := t.appendTo("a-1", "a-1")
		same(t, "sequences", seqs(t.kept(r.Shard)), span(1, 5))
		same(t, "versions of a-1", versions(t.stream("a-1")), span(1, 3))
		same(t, "versions of b-1", versions(t.stream("b-1")), span(1, 2))
	}},
	{name: "At is the clock's time, in UTC", prove: func(t *lab) {
		r := t.appendTo("a-1")
		e := t.stream("a-1")[0]
		if want := t.clock.Now(); !e.At.Equal(want) || !r.At.Equal(want) {
			t.Fatalf("At is %v, in the receipt %v, want %v", e.At, r.At, want)
		}
		equal(t, "zone of At", e.At.Location(), time.UTC)
	}},
	{name: "At increases while the clock stands still", prove: func(t *lab) {
		now := t.clock.Now()
		t.appendTo("a-1", "a-1", "a-1")
		t.appendTo("b-1")
		for i, e := range t.kept(t.owner("a-1").ID) {
			equal(t, "At", e.At.UnixNano(), now.Add(time.Duration(i)).UnixNano())
		}
	}},
	{name: "a clock that jumps back breaks nothing", prove: func(t *lab) {
		first := t.appendTo("a-1")
		t.clock.move(-24 * time.Hour)
		second := t.appendTo("a-1")
		equal(t, "At after the jump back", second.At.UnixNano(), first.At.UnixNano()+1)
		t.clock.move(48 * time.Hour)
		third := t.appendTo("a-1")
		equal(t, "At after the jump forward", third.At.UnixNano(), t.clock.Now().UnixNano())
	}},
	{name: "Time is kept as given, or the time of recording", prove: func(t *lab) {
		times := []time.Time{
			time.Unix(0, 0), time.Unix(0, -1<<63), time.Unix(0, 1<<63-1),
			time.Date(1969, 7, 20, 20, 17, 40, 123456789, time.FixedZone("", -5*3600)),
		}
		events := t.events(repeat("a-1", len(times)+1)...)
		for i, at := range times {
			events[i].Time = at
		}
		t.append(events)
		got := t.stream("a-1")
		for i, at := range times {
			if !got[i].Time.Equal(at) || got[i].Time.Location() != time.UTC {
				t.Fatalf("Time is %v, want %v in UTC", got[i].Time, at)
			}
		}
		equal(t, "Time that was not given", got[len(times)].Time.UnixNano(), got[len(times)].At.UnixNano())
	}},
}

// texts are names and values that something might take for something else.
var texts = []string{
	"-", "--", "a-", "-a", "{", "}", "{}", "a{", "a{}b", "{a}", "{a", "a}{b}", "\x00", "a\x00b", "a\x00", "\n", " ", "$",
	"a/b\\c", `"quoted"`, "%s%d", "naïve", "日本語", "e\u0301", "é", "\u202eright to left", "\U0010ffff", "\ufffd",
	strings.Repeat("n", leat.MaxNameBytes), strings.Repeat("€", leat.MaxNameBytes/3), strings.Repeat("\x00", leat.MaxNameBytes),
}

var exact = []check{
	{name: "any stream name is a stream of its own", config: leat.Config{Shards: leat.EvenShards(3)}, prove: func(t *lab) {
		names := slices.DeleteFunc(slices.Clone(texts), func(s string) bool { return s[0] == '$' })
		want := map[string]string{}
		for range 2 {
			for _, name := range names {
				e := t.event(name)
				t.append([]leat.Event{e})
				want[name] += e.ID + " "
			}
		}
		for range 2 {
			for _, name := range names {
				got := ""
				for _, e := range t.stream(name) {
					equal(t, "stream of an event", e.Stream, name)
					got += e.ID + " "
				}
				equal(t, fmt.Sprintf("events of stream %q", name), got, want[name])
			}
			t.reopen()
		}
	}},
	{name: "any ID, type, source, content type and value of meta", prove: func(t *lab) {
		var want []leat.Event
		for i, s := range texts {
			e := leat.Event{ID: s, Stream: "a-1", Type: texts[(i+1)%len(texts)], Source: texts[(i+2)%len(texts)], ContentType: texts[(i+3)%len(texts)]}
			e.Meta = leat.NewMeta("a", s, "empty", "", "z9", strings.Repeat(s, 40))
			want = append(want, e)
			t.append([]leat.Event{e})
		}
		equal(t, "Duplicate", t.append(want).Duplicate, true)
		for range 2 {
			for i, e := range t.stream("a-1") {
				want[i].Time = e.Time
				if d := difference(leat.Recorded{Event: e.Event}, leat.Recorded{Event: want[i]}); d != "" {
					t.Fatalf("event %d differs: %s", i, d)
				}
			}
			t.reopen()
		}
	}},
	{name: "any data", prove: func(t *lab) {
		every := make([]byte, 256)
		for i := range every {
			every[i] = byte(i)
		}
		data := [][]byte{nil, {}, {0}, {0, 0, 0}, every, []byte(" {\"a\" : 1.0} \n"), []byte("\xff\xfe"), make([]byte, 100_000)}
		for _, d := range data {
			e := t.event("a-1")
			e.Data = d
			t.append([]leat.Event{e})
		}
		for range 2 {
			got := t.stream("a-1")
			for i, d := range data {
				equal(t, fmt.Sprintf("data %d", i), string(got[i].Data), string(d))
			}
			t.reopen()
		}
	}},
	{name: "the content type that is not given", prove: func(t *lab) {
		t.appendTo("a-1")
		equal(t, "ContentType", t.stream("a-1")[0].ContentType, leat.DefaultContentType)
	}},
}

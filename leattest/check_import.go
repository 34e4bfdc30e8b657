package leattest

import (
	"fmt"
	"time"

	"github.com/leathq/leat"
)

var imports = []check{
	{name: "a copied log is the same log", config: leat.Config{Shards: leat.EvenShards(2)}, prove: func(t *lab) {
		t.importer()
		again := t.events("{k}a", "{k}b", "{k}a")
		first := t.append(again)
		write := func() {
			for i := range 12 {
				t.appendTo(fmt.Sprintf("a-%d", i), fmt.Sprintf("a-%d", i))
			}
		}
		write()
		children := t.split(first.Shard)
		write()
		t.split(children[1].ID)
		write()

		want := t.copyLog()
		t.reopen()
		for _, s := range t.shards() {
			sameEvents(t, string(s.ID), t.kept(s.ID), want[s.ID])
		}
		sameReceipt(t, "append again", t.append(again), duplicateOf(first))
		equal(t, "version", t.append(t.events("{k}a"), leat.ExpectVersion("{k}a", 2)).Versions[0], 3)
		write()
	}},
	{name: "a log that starts trimmed is copied as it is", prove: func(t *lab) {
		t.importer()
		t.appendTo("a-1", "a-1")
		r := t.appendTo("a-1", "b-{a-1}")
		t.trim(r.Shard, 3)
		children := t.split(r.Shard)
		for i := range 6 {
			t.appendTo(fmt.Sprintf("a-%d", i))
		}
		want := t.copyLog()
		t.reopen()
		for _, s := range t.shards() {
			sameEvents(t, string(s.ID), t.kept(s.ID), want[s.ID])
		}
		t.trimmedShard(r.Shard, 0, 3)
		_, err := t.tryStream("a-1", leat.Range{})
		equal(t, "Oldest", as[*leat.TrimmedError](t, err, "read").Oldest, 3)
		got, err := t.tryStream("a-1", leat.Range{After: 2})
		t.ok(err, "read")
		same(t, "versions", versions(got), []uint64{3, 4})
		equal(t, "events of another stream", len(t.stream("b-{a-1}")), 1)
		equal(t, "version", t.append(t.events("a-1"), leat.ExpectVersion("a-1", 4)).Versions[0], 5)
		equal(t, "children", t.shards()[1].ID, children[0].ID)
	}},
	{name: "an import may be resumed", prove: func(t *lab) {
		im := t.importer()
		events := t.recorded("a-1", 1, 6)
		events[3].Commit, events[4].Commit = 3, 3
		shard := events[0].Shard
		for _, part := range [][]leat.Recorded{events[:1], events[1:2], nil, events[2:5], events[5:]} {
			t.ok(im.Import(t.ctx, shard, part), "import")
			t.reopen()
			im = t.importer()
		}
		sameEvents(t, "events", t.kept(shard), events)
		r := t.appendTo("a-1")
		equal(t, "sequence", r.First, 7)
		equal(t, "At", r.At.Sub(events[5].At) > 0, true)
	}},
	{name: "an imported At in the future is exceeded", prove: func(t *lab) {
		events := t.recorded("a-1", 1, 1)
		events[0].At = t.clock.Now().Add(time.Hour)
		t.ok(t.importer().Import(t.ctx, events[0].Shard, events), "import")
		equal(t, "At", t.appendTo("a-1").At.UnixNano(), events[0].At.UnixNano()+1)
	}},
	{name: "what does not fit is refused whole", prove: func(t *lab) {
		im := t.importer()
		good := t.recorded("a-1", 1, 3)
		shard := good[0].Shard
		t.ok(im.Import(t.ctx, shard, good), "import")
		next := t.recorded("a-1", 4, 3)
		for i := range next {
			next[i].Commit = 4
		}
		for name, change := range map[string]func(es []leat.Recorded) []leat.Recorded{
			"a sequence again":            func(es []leat.Recorded) []leat.Recorded { return good },
			"a hole before":               func(es []leat.Recorded) []leat.Recorded { return moved(es, 1) },
			"a hole between":              func(es []leat.Recorded) []leat.Recorded { es[2].Seq++; return es },
			"an append without its start": func(es []leat.Recorded) []leat.Recorded { es[0].Commit = 3; return es },
			"a commit to come":            func(es []leat.Recorded) []leat.Recorded { es[1].Commit = 6; return es },
			"an earlier commit":           func(es []leat.Recorded) []leat.Recorded { es[1].Commit = 5; es[2].Commit = 4; return es },
			"another shard":               func(es []leat.Recorded) []leat.Recorded { es[1].Shard = leat.ShardNumber(1); return es },
			"an At not after the last":    func(es []leat.Recorded) []leat.Recorded { es[0].At = good[2].At; return es },
			"an At not after another":     func(es []leat.Recorded) []leat.Recorded { es[2].At = es[1].At; return es },
			"no At":                       func(es []leat.Recorded) []leat.Recorded { es[0].At = time.Time{}; return es },
			"no time":                     func(es []leat.Recorded) []leat.Recorded { es[0].Time = time.Time{}; return es },
			"no content type":             func(es []leat.Recorded) []leat.Recorded { es[0].ContentType = ""; return es },
			"no version":                  func(es []leat.Recorded) []leat.Recorded { es[0].Version = 0; return es },
			"a version again":             func(es []leat.Recorded) []leat.Recorded { es[2].Version = es[1].Version; return es },
			"a hole in the versions":      func(es []leat.Recorded) []leat.Recorded { es[2].Version++; return es },
			"a stream that starts late":   func(es []leat.Recorded) []leat.Recorded { es[2].Stream, es[2].Version = "b-1", 2; return es },
			"an ID that is known":         func(es []leat.Recorded) []leat.Recorded { es[1].ID = good[1].ID; return es },
			"an ID twice":                 func(es []leat.Recorded) []leat.Recorded { es[1].ID = es[0].ID; return es },
			"no ID":                       func(es []leat.Recorded) []leat.Recorded { es[1].ID = ""; return es },
			"a stream that is no UTF-8":   func(es []leat.Recorded) []leat.Recorded { es[2].Stream = "\xff"; return es },
		} {
			err := im.Import(t.ctx, shard, change(append([]leat.Recorded(nil), next...)))
			t.is(err, leat.ErrInvalid, "import with "+name)
			equal(t, "Head after an import with "+name, t.shard(shard).Head, 3)
		}
		t.is(im.Import(t.ctx, leat.ShardNumber(1), nil), leat.ErrNotFound, "import into an unknown shard")
		t.ok(im.Import(t.ctx, shard, next), "import what fits")
		same(t, "versions", versions(t.stream("a-1")), span(1, 6))
	}},
	{name: "a child continues its parents", config: leat.Config{Shards: family()}, prove: func(t *lab) {
		im := t.importer()
		parent := t.recorded("a-1", 1, 2)
		owner := t.owner("a-1").ID
		child := t.recorded("a-1", 3, 2)
		for i := range child {
			child[i].Shard, child[i].Seq, child[i].Commit = owner, uint64(i)+1, uint64(i)+1
		}
		t.ok(im.Import(t.ctx, leat.ShardNumber(0), parent), "import into the parent")

		early := append([]leat.Recorded(nil), child...)
		early[0].At = parent[1].At
		t.is(im.Import(t.ctx, owner, early), leat.ErrInvalid, "import with an At not after the parent's")
		t.is(im.Import(t.ctx, owner, moved(child, 5)), leat.ErrInvalid, "import that starts trimmed though the parent keeps events")
		other := leat.ShardNumber(1)
		if owner == other {
			other = leat.ShardNumber(2)
		}
		stray := append([]leat.Recorded(nil), child...)
		stray[0].Shard, stray[1].Shard = other, other
		t.is(im.Import(t.ctx, other, stray), leat.ErrInvalid, "import of a stream the shard does not own")

		t.ok(im.Import(t.ctx, owner, child), "import into the child")
		late := t.recorded("b-1", 3, 1)
		late[0].Version, late[0].At = 1, child[1].At.Add(1)
		t.is(im.Import(t.ctx, leat.ShardNumber(0), late), leat.ErrInvalid, "import into a parent whose child holds events")
		same(t, "versions", versions(t.stream("a-1")), span(1, 4))
	}},
}

// family returns a closed shard and its two children.
func family() []leat.Shard {
	root := leat.EvenShards(1)[0]
	children, err := root.Children(root.Middle(), 1)
	if err != nil {
		panic(err)
	}
	root.Closed = true
	return []leat.Shard{root, children[0], children[1]}
}

// recorded returns n events of a stream, each an Append of its own in the first
// shard, from a sequence on.
func (t *lab) recorded(stream string, first uint64, n int) []leat.Recorded {
	events := make([]leat.Recorded, n)
	for i := range events {
		seq := first + uint64(i)
		at := t.clock.Now().UTC().Add(time.Duration(seq) * time.Microsecond)
		e := t.event(stream)
		e.Time, e.ContentType, e.Meta = at.Add(-time.Hour), "text/plain", leat.NewMeta("k", e.ID)
		events[i] = leat.Recorded{Event: e, Shard: leat.ShardNumber(0), Seq: seq, Commit: seq, Version: seq, At: at}
	}
	return events
}

// moved returns events with their sequences raised by n.
func moved(events []leat.Recorded, n uint64) []leat.Recorded {
	events = append([]leat.Recorded(nil), events...)
	for i := range events {
		events[i].Seq += n
		events[i].Commit += n
	}
	return events
}

// copyLog replaces the lab's log by a copy of it in a new epoch, and returns the
// events of each shard.
func (t *lab) copyLog() map[leat.ShardID][]leat.Recorded {
	t.Helper()
	shards, info := t.shards(), t.info()
	ended := leat.Epoch{Number: info.Epoch, Heads: map[leat.ShardID]uint64{}}
	events := map[leat.ShardID][]leat.Recorded{}
	for _, s := range shards {
		events[s.ID], ended.Heads[s.ID] = t.kept(s.ID), s.Head
	}
	t.create(leat.Config{ID: info.ID, Single: info.Single, Shards: shards, Ended: append(info.Ended, ended)})
	im := t.importer()
	for _, s := range shards {
		for part := events[s.ID]; len(part) > 0; {
			n := 1
			for n < len(part) && (n < 5 || part[n].Commit != part[n].Seq) {
				n++
			}
			t.ok(im.Import(t.ctx, s.ID, part[:n]), "import")
			part = part[n:]
		}
	}
	equal(t, "shards", fmt.Sprint(t.shards()), fmt.Sprint(shards))
	equal(t, "epoch", t.info().Epoch, info.Epoch+1)
	return events
}

package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/leathq/leat"
)

// Bounds of one Import, because it is one write.
const (
	maxImportBytes  = 64 << 20
	maxImportEvents = 100_000
)

// Import implements leat.Importer. It takes at most 100,000 events and 64 MiB
// at a time.
func (l *Log) Import(ctx context.Context, shard leat.ShardID, events []leat.Recorded) error {
	wait, err := l.StartImport(ctx, shard, events)
	if err != nil {
		return err
	}
	return wait()
}

// StartImport begins an Import and returns what waits for its end; it has to be
// called. One goroutine may begin the next Import before, so that it is prepared
// while this one is written: they take place in that order, and when one fails,
// so do those after it. Events must not change until the end.
func (l *Log) StartImport(ctx context.Context, shard leat.ShardID, events []leat.Recorded) (wait func() error, err error) {
	if len(events) > maxImportEvents {
		return nil, &leat.InvalidError{Field: "events", Limit: fmt.Sprintf("at most %d", maxImportEvents), Got: fmt.Sprint(len(events))}
	}
	if err := leat.CheckImport(shard, events); err != nil {
		return nil, err
	}
	bytes, memory := 0, 0
	for i := range events {
		e := &events[i].Event
		if bytes += e.Size() + recordHeaderSize; bytes > maxImportBytes {
			return nil, &leat.InvalidError{Field: "events", Limit: fmt.Sprintf("at most %d bytes together", maxImportBytes)}
		}
		memory += e.Size() + recordHeaderSize + 4*len(e.Meta) + 16
	}
	op := &importOp{
		log: l, shard: shard, events: make([]entry, len(events)), places: make([]uint32, len(events)),
		byStream: make(map[string]int), memory: make([]byte, 0, memory),
	}
	for i := range events {
		op.set(i, &events[i])
	}
	o, err := l.hand(ctx, op, max(aloneBytes, bytes))
	if err != nil {
		return nil, err
	}
	return func() error { return o.wait(ctx) }, nil
}

type importOp struct {
	log    *Log
	shard  leat.ShardID
	events []entry
	places []uint32 // of the events in their Appends

	targets  []target
	byStream map[string]int // index of its target
	memory   []byte         // of events[i].raw
}

func (o *importOp) set(i int, r *leat.Recorded) {
	target, ok := o.byStream[r.Stream]
	if !ok {
		target = len(o.targets)
		o.targets = append(o.targets, newTarget(r.Stream))
		o.byStream[r.Stream] = target
	}
	e, start := &o.events[i], len(o.memory)
	o.memory = appendRecord(o.memory, &r.Event)
	*e = entry{
		stream: r.Stream, id: r.ID, timed: true, target: target, raw: o.memory[start:len(o.memory):len(o.memory)],
		known: known{
			seq: r.Seq, version: r.Version, at: r.At.UnixNano(), time: r.Time.UnixNano(), digest: leat.Digest(&r.Event),
		},
	}
	e.eventID = newEventID(r.ID, o.targets[target].hash, &e.uuid)
	o.places[i] = uint32(r.Seq - r.Commit)
}

func (o *importOp) apply(c *committer) error {
	t := c.find(o.shard)
	if t == nil {
		return o.log.noShard(o.shard)
	}
	if len(o.events) == 0 {
		return nil
	}
	if err := c.continues(t, &o.events[0]); err != nil {
		return err
	}
	if err := c.streamsContinue(t, o); err != nil {
		return err
	}
	size := 0
	for i := range o.events {
		size += len(o.events[i].raw)
	}
	if err := c.space.take(size); err != nil {
		return err
	}
	if t.Head == 0 && o.events[0].seq > 1 {
		t.Oldest = o.events[0].seq
		c.save(t)
	}
	for i := range o.events {
		e := &o.events[i]
		e.shard = t.number
		c.index.note(&o.targets[e.target], e, e.version)
		c.add(t, e, o.places[i])
	}
	return nil
}

// continues reports why a first event does not continue a shard.
func (c *committer) continues(t *tail, first *entry) error {
	if t.Head > 0 && first.seq != t.Head+1 {
		return misfit(0, "seq", fmt.Sprintf("%d, the one after the head of %s", t.Head+1, t.ID), first.seq)
	}
	for _, p := range t.parents {
		if first.seq > t.Head+1 && !p.trimmedWhole() {
			return misfit(0, "seq", fmt.Sprintf("1, because the parent %s keeps events", p.ID), first.seq)
		}
	}
	if last := t.floor(); first.at <= last {
		return misfit(0, "at", "later than "+nanosText(last)+", the last before it", nanosText(first.at))
	}
	for _, d := range c.shards {
		if d.Head > 0 && d.descends(t) {
			return &leat.InvalidError{
				Field: "shard", Limit: "one whose descendants hold no events", Got: fmt.Sprintf("%s, from which %s descends", t.ID, d.ID),
			}
		}
	}
	return nil
}

// streamsContinue reports why events do not continue their streams.
func (c *committer) streamsContinue(t *tail, o *importOp) error {
	startsTrimmed := t.Head == 0 && o.events[0].seq > 1 || t.startsTrimmed()
	twice := firstRepeated(o.events)
	versions := make([]uint64, len(o.targets))
	for i := range o.events {
		e := &o.events[i]
		target := &o.targets[e.target]
		if !target.resolved {
			if err := c.index.resolve(target); err != nil {
				return err
			}
			versions[e.target] = target.version
			if !t.Owns(leat.RouteHash(e.stream)) {
				return misfit(i, "stream", "one whose hash key "+string(t.ID)+" owns", e.stream)
			}
		}
		reused := i == twice
		if target.version > 0 && !reused {
			var err error
			if _, reused, err = c.index.lookUp(target, e); err != nil {
				return err
			}
		}
		version := versions[e.target]
		switch {
		case reused:
			return misfit(i, "id", "one that its stream does not have", e.id)
		case e.version != version+1 && (version > 0 || !startsTrimmed):
			return misfit(i, "version", fmt.Sprintf("%d, the one after the last of %q", version+1, e.stream), e.version)
		}
		versions[e.target] = e.version
	}
	return nil
}

func misfit(i int, field, limit string, got any) error {
	return &leat.InvalidError{Field: fmt.Sprintf("events[%d].%s", i, field), Limit: limit, Got: fmt.Sprint(got)}
}

func nanosText(ns int64) string { return fromNanos(ns).Format(time.RFC3339Nano) }

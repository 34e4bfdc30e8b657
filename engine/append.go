package engine

import (
	"context"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"time"

	"github.com/leathq/leat"
)

// Append implements leat.Log.
func (l *Log) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	return l.Submit(ctx, events, conds...).Wait()
}

// Submit implements leat.Submitter. It may read the store, to look up streams
// and IDs that are not in memory.
func (l *Log) Submit(ctx context.Context, events []leat.Event, conds ...leat.Condition) leat.Pending {
	key, err := leat.PrepareAppend(events, conds, limits, l.info.Single)
	if err != nil {
		return leat.Refuse(err)
	}
	op := newAppendOp(key, events, conds)
	if err := l.ask(ctx, op); err != nil {
		return leat.Refuse(err)
	}
	op.ctx = ctx
	if op.handed, err = l.hand(ctx, op, len(op.buf)+len(events)*minEventCost); err != nil {
		return leat.Refuse(err)
	}
	return op
}

// minEventCost bounds the number of events in a group, however small they are.
const minEventCost = 32

// An appendOp is an Append. It shares no memory with the caller that the caller
// may change, because the caller may go away before the committer gets to it.
type appendOp struct {
	key     leat.HashKey
	events  []entry
	conds   []leat.Condition
	targets []target // of events, then those of conds
	twice   int      // first event whose ID one before it has, -1 when there is none
	buf     []byte   // memory of events[i].raw
	receipt leat.Receipt

	// Of who waits.
	ctx    context.Context
	handed handed
}

// Wait implements leat.Pending.
func (o *appendOp) Wait() (leat.Receipt, error) {
	if err := o.handed.wait(o.ctx); err != nil {
		return leat.Receipt{}, err
	}
	receipt := o.receipt
	o.release()
	return receipt, nil
}

var appendOps = sync.Pool{New: func() any { return new(appendOp) }}

// maxPooledBytes is the size from which an appendOp is not used again.
const maxPooledBytes = 256 << 10

func newAppendOp(key leat.HashKey, events []leat.Event, conds []leat.Condition) *appendOp {
	o := appendOps.Get().(*appendOp)
	o.key, o.conds = key, append(o.conds[:0], conds...)
	size := 0
	for i := range events {
		size += events[i].Size() + 4*len(events[i].Meta) + recordHeaderSize + 16
	}
	o.buf = slices.Grow(o.buf[:0], size)
	o.events = slices.Grow(o.events[:0], len(events))[:len(events)]
	o.targets = o.targets[:0]
	for i := range events {
		e := &events[i]
		start := len(o.buf)
		o.buf = appendRecord(o.buf, e)
		n := &o.events[i]
		*n = entry{stream: e.Stream, id: e.ID, raw: o.buf[start:len(o.buf):len(o.buf)], timed: !e.Time.IsZero()}
		n.target = o.target(e.Stream)
		n.eventID = newEventID(e.ID, o.targets[n.target].hash, &n.uuid)
		n.digest = leat.Digest(e)
		if n.timed {
			n.time = e.Time.UnixNano()
		}
	}
	o.twice = firstRepeated(o.events)
	for i := range conds {
		o.target(conds[i].Stream)
	}
	return o
}

// target adds a stream to the targets, unless the last one is of that stream,
// and returns its index.
func (o *appendOp) target(stream string) int {
	n := len(o.targets)
	if n == 0 || o.targets[n-1].stream != stream {
		o.targets = append(o.targets, newTarget(stream))
		n++
	}
	return n - 1
}

// ask looks up what the committer will need of the store.
func (l *Log) ask(ctx context.Context, o *appendOp) error {
	if err := l.read(ctx); err != nil {
		return err
	}
	defer l.reading.RUnlock()
	start := 0
	for i := range o.targets {
		end := start
		for end < len(o.events) && o.events[end].target == i {
			end++
		}
		if err := l.index.ask(&o.targets[i], o.events[start:end]); err != nil {
			return err
		}
		start = end
	}
	return nil
}

// release gives o back for another Append. Only who knows that the committer is
// done with it may call it.
func (o *appendOp) release() {
	if cap(o.buf) > maxPooledBytes {
		return
	}
	clear(o.events)
	clear(o.conds)
	clear(o.targets)
	o.receipt, o.ctx, o.handed = leat.Receipt{}, nil, handed{}
	appendOps.Put(o)
}

// firstRepeated returns the index of the first event whose ID an event of the
// same stream before it has, -1 when there is none.
func firstRepeated(events []entry) int {
	if len(events) == 1 {
		return -1
	}
	// A table of indexes plus one by hash, at most half full.
	mask := uint32(1)<<bits.Len(uint(2*len(events)-1)) - 1
	scratch := tables.Get().(*[]uint32)
	defer tables.Put(scratch)
	slots := slices.Grow((*scratch)[:0], int(mask)+1)[:mask+1]
	*scratch = slots
	clear(slots)
	for i := range events {
		e := &events[i]
		at := e.hash & mask
		for ; slots[at] != 0; at = (at + 1) & mask {
			if o := &events[slots[at]-1]; o.hash == e.hash && o.id == e.id && o.stream == e.stream {
				return i
			}
		}
		slots[at] = uint32(i + 1)
	}
	return -1
}

// tables are those of firstRepeated.
var tables = sync.Pool{New: func() any { return new([]uint32) }}

func (o *appendOp) apply(c *committer) error {
	places, err := c.lookUp(o)
	if err != nil {
		return err
	}
	if len(places) > 0 {
		o.receipt = receiptOf(c, len(places), func(i int) *known { return &places[i] })
		o.receipt.Duplicate = true
		return nil
	}
	for i := range o.conds {
		t := o.find(o.conds[i].Stream)
		if err := c.index.resolve(t); err != nil {
			return err
		}
		if err := o.conds[i].Check(t.version); err != nil {
			return err
		}
	}
	if err := c.space.take(len(o.buf)); err != nil {
		return err
	}
	c.record(c.route(o.key), o)
	o.receipt = receiptOf(c, len(o.events), func(i int) *known { return &o.events[i].known })
	return nil
}

// find returns the target of a stream, which is there.
func (o *appendOp) find(stream string) *target {
	hash := hashStream(stream)
	i := slices.IndexFunc(o.targets, func(t target) bool { return t.hash == hash && t.stream == stream })
	return &o.targets[i]
}

// lookUp returns the places of events that are all recorded already, nothing
// when none is, and an error when some are or an ID stands for something else.
func (c *committer) lookUp(o *appendOp) ([]known, error) {
	c.places = c.places[:0]
	var found []int
	for i := range o.events {
		e := &o.events[i]
		if i == o.twice {
			return nil, e.reused(i, "given twice in one append")
		}
		t := &o.targets[e.target]
		if err := c.index.resolve(t); err != nil {
			return nil, err
		}
		if t.version == 0 {
			continue
		}
		k, ok, err := c.index.lookUp(t, e)
		switch {
		case err != nil:
			return nil, err
		case !ok:
			continue
		case int(k.shard) >= len(c.shards):
			return nil, fmt.Errorf("event ID %q of stream %q: %w: there is no shard %d", e.id, e.stream, leat.ErrCorrupt, k.shard)
		case k.digest != e.digest:
			return nil, e.reused(i, "recorded with other content")
		case e.timed && k.time != e.time:
			return nil, e.reused(i, "recorded with time "+fromNanos(k.time).Format(time.RFC3339Nano))
		case len(found) > 0 && k.at <= c.places[len(found)-1].at:
			// All streams of an Append lie on one line of shards, where At increases.
			return nil, e.reused(i, fmt.Sprintf("recorded before events[%d]", found[len(found)-1]))
		}
		c.places, found = append(c.places, k), append(found, i)
	}
	if len(found) > 0 && len(found) < len(o.events) {
		return nil, &leat.PartialError{Known: found, Total: len(o.events)}
	}
	return c.places, nil
}

func (e *entry) reused(i int, reason string) error {
	return &leat.IDReusedError{Index: i, Stream: e.stream, ID: e.id, Reason: reason}
}

// receiptOf tells where n events are. First and Last are in the shard of the
// last of them.
func receiptOf(c *committer, n int, at func(int) *known) leat.Receipt {
	last := at(n - 1)
	r := leat.Receipt{
		Shard: c.shards[last.shard].ID, Last: last.seq, At: fromNanos(last.at), Versions: make([]uint64, n),
	}
	for i := range r.Versions {
		k := at(i)
		r.Versions[i] = k.version
		if r.First == 0 && k.shard == last.shard {
			r.First = k.seq
		}
	}
	return r
}

package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/leathq/leat"
)

// Append implements leat.Log.
func (l *Log) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	key, err := leat.PrepareAppend(events, conds, limits, l.info.Single)
	if err != nil {
		return leat.Receipt{}, err
	}
	op := newAppendOp(key, events, conds)
	if err := l.do(ctx, op, len(op.buf)); err != nil {
		return leat.Receipt{}, err
	}
	receipt := op.receipt
	op.release()
	return receipt, nil
}

// An appendOp is an Append. It shares no memory with the caller that the caller
// may change, because the caller may go away before the committer gets to it.
type appendOp struct {
	key     leat.HashKey
	events  []entry
	conds   []leat.Condition
	twice   int    // first event whose ID one before it has, -1 when there is none
	buf     []byte // memory of events[i].raw
	receipt leat.Receipt
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
	for i := range events {
		e := &events[i]
		start := len(o.buf)
		o.buf = appendRecord(o.buf, e)
		o.events[i] = entry{stream: e.Stream, id: e.ID, raw: o.buf[start:len(o.buf):len(o.buf)], timed: !e.Time.IsZero()}
		o.events[i].digest = leat.Digest(e)
		if o.events[i].timed {
			o.events[i].time = e.Time.UnixNano()
		}
	}
	o.twice = firstRepeated(o.events)
	return o
}

// release gives o back for another Append. Only who knows that the committer is
// done with it may call it.
func (o *appendOp) release() {
	if cap(o.buf) > maxPooledBytes {
		return
	}
	clear(o.events)
	clear(o.conds)
	o.receipt = leat.Receipt{}
	appendOps.Put(o)
}

// firstRepeated returns the index of the first event whose ID an event of the
// same stream before it has, -1 when there is none.
func firstRepeated(events []entry) int {
	if len(events) == 1 {
		return -1
	}
	given := make(map[streamID]bool, len(events))
	for i := range events {
		id := streamID{events[i].stream, events[i].id}
		if given[id] {
			return i
		}
		given[id] = true
	}
	return -1
}

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
	for _, cond := range o.conds {
		v, err := c.index.version(cond.Stream)
		if err != nil {
			return err
		}
		if err := cond.Check(v); err != nil {
			return err
		}
	}
	if err := c.space.take(len(o.buf)); err != nil {
		return err
	}
	c.record(c.route(o.key), o.events)
	o.receipt = receiptOf(c, len(o.events), func(i int) *known { return &o.events[i].known })
	return nil
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
		version, err := c.index.version(e.stream)
		if err != nil {
			return nil, err
		}
		if version == 0 {
			continue
		}
		k, ok, err := c.index.find(e.stream, e.id)
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

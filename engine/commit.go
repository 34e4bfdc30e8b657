package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/leathq/leat"
)

// A committer applies operations to the log. It belongs to one goroutine; what
// it knows of the shards is ahead of what is durable.
type committer struct {
	files  *blockFiles
	index  *index
	sealed chan<- *sealed
	space  *space
	clock  func() time.Time
	latest *atomic.Int64 // see Stats.ClockBehind
	single bool

	shards []*tail // by number
	routes []route // open shards, by their first hash key

	group   *group   // under way
	last    *group   // that had something in it
	begun   blockEnd // where the group under way begins
	out     []byte   // the group under way, as it will be stored
	touched []*tail  // those that the group under way changed
	places  []known  // scratch of lookUp
	looked  uint64   // sum of what look fetched, so that it does
}

// An entry is an event on its way into a block.
type entry struct {
	known
	eventID
	stream, id string
	uuid       [16]byte // memory of eventID
	raw        []byte   // as it stands in the block
	timed      bool     // it has a Time of its own
	before     known    // what the store knows of its ID, as index.ask found out
	stored     bool     // it knows something
	target     int      // index of its stream's in the operation
	slot       uint32   // its stream in the growing generation
}

type route struct {
	from leat.HashKey
	to   *tail
}

// commit applies groups until the queue is closed, and hands them to the syncer.
func (l *Log) commit(c *committer, synced chan<- *group) {
	defer close(c.sealed)
	defer close(synced)
	for {
		g := l.queue.take()
		if g == nil {
			c.seal(l.fuse, min(l.o.GenerationEvents, sealOnClose))
			return
		}
		l.build(c, g)
		synced <- g
		c.seal(l.fuse, l.o.GenerationEvents)
	}
}

// sealOnClose is how many events Close leaves to be indexed by the next Open.
const sealOnClose = 4 << 10

// seal hands the growing generation to the indexer if it is full, and waits
// while the indexer has too many already.
func (c *committer) seal(f *fuse, events int) {
	if !c.index.memory.Load().growing().full(events) {
		return
	}
	end := c.files.end
	select {
	case c.sealed <- &sealed{c.index.seal(), headsOf(c.shards), textsOf(c.shards, end.group), end, c.last}:
	case <-f.blown:
	}
}

// build applies the operations of a group and hands what they write to the
// store, which makes it durable in the background.
func (l *Log) build(c *committer, g *group) {
	g.errs = make([]error, len(g.ops))
	if err := l.begin(c); err != nil {
		for i := range g.errs {
			g.errs[i] = err
		}
		g.refused = true
		return
	}
	c.group = g
	c.out = append(c.out[:0], make([]byte, groupHeaderSize)...)
	for i, op := range g.ops {
		if i%lookAhead == 0 {
			c.look(g.ops[i:min(i+lookAhead, len(g.ops))])
		}
		if op != nil {
			g.errs[i] = op.apply(c)
		}
	}
	if len(c.touched) == 0 {
		return
	}
	c.cutBlocks()
	g.number = c.files.end.group
	var err error
	if g.file, err = c.files.put(c.out); err != nil {
		l.fuse.blow(err)
	}
	if cap(c.out) > 2*maxGroupBytes {
		c.out = nil
	}
	c.last = g
	g.view, g.changed = c.publish()
}

// lookAhead is for how many operations at a time the committer fetches memory.
const lookAhead = 16

// look fetches what operations are about to look up. It lies anywhere in memory,
// and to apply one is mostly waiting for that: to look at all of it first lets
// the processor wait for several at a time.
func (c *committer) look(ops []operation) {
	var streams, ids [lookAhead]uint32
	for i, op := range ops {
		if o, ok := op.(*appendOp); ok {
			streams[i], ids[i] = o.targets[0].hash, o.events[0].hash
		}
	}
	g := c.index.memory.Load().growing()
	for i := range ops {
		c.looked += c.index.names.look(streams[i]) + g.byStream.look(streams[i]) + g.byID.look(ids[i])
	}
}

// begin finds the place of a group. The error is leat.ErrFull when there is no
// room for one.
func (l *Log) begin(c *committer) (err error) {
	if c.files.full() && c.last != nil {
		<-c.last.done // the syncer is to be the only one who syncs, and learns of a failure
	}
	if err = l.fuse.err(); err != nil {
		return err
	}
	c.begun, err = c.files.begin(c.shards)
	switch {
	case vfs.IsNoSpaceError(err):
		return fmt.Errorf("%w: %w", leat.ErrFull, err)
	case err != nil:
		l.fuse.blow(err)
		return l.fuse.err()
	}
	return nil
}

// publish returns the view that holds once the group is durable, and the bells
// to ring then.
func (c *committer) publish() (*view, []*bell) {
	v := &view{shards: make([]*shardView, len(c.shards)), end: c.files.end}
	bells := make([]*bell, 0, len(c.touched))
	for i, t := range c.shards {
		if t.touched || t.current == nil {
			t.current = &shardView{t.Shard, t.bell}
		}
		v.shards[i] = t.current
	}
	for _, t := range c.touched {
		bells = append(bells, t.bell)
		t.touched = false
	}
	clear(c.touched)
	c.touched = c.touched[:0]
	return v, bells
}

// touch notes that the group under way changes a shard.
func (c *committer) touch(t *tail) {
	if !t.touched {
		t.touched = true
		c.touched = append(c.touched, t)
	}
}

// sync waits until groups are durable, one after another, and answers them.
func (l *Log) sync(groups <-chan *group) {
	for g := range groups {
		if g.file != nil {
			if err := errors.Join(l.files.makeDurable(g.file), g.file.release()); err != nil {
				l.fuse.blow(fmt.Errorf("sync: %w", err))
			}
		}
		if err := l.fuse.err(); err != nil {
			for i := 0; i < len(g.errs) && !g.refused; i++ {
				g.errs[i] = fmt.Errorf("%w: %w", leat.ErrUncertain, err)
			}
			l.answer(g)
			continue
		}
		if g.file != nil {
			l.files.durable.Store(g.number)
			l.view.Store(g.view)
			l.groups.Add(1)
			l.recorded.Add(g.events)
			l.bytes.Add(g.written)
			for _, b := range g.changed {
				b.ring()
			}
		}
		l.answer(g)
	}
}

// answer tells those who wait for a group.
func (l *Log) answer(g *group) {
	l.queue.answered(g)
	close(g.done)
}

// do hands an operation to the committer and waits for the outcome.
func (l *Log) do(ctx context.Context, op operation, bytes int) error {
	o, err := l.hand(ctx, op, bytes)
	if err != nil {
		return err
	}
	return o.wait(ctx)
}

// A handed operation is one that the committer was given.
type handed struct {
	log   *Log
	group *group
	place int // in the group
}

// hand gives an operation to the committer, which applies those it is given in
// that order.
func (l *Log) hand(ctx context.Context, op operation, bytes int) (handed, error) {
	if err := ctx.Err(); err != nil {
		return handed{}, err
	}
	if err := l.fuse.err(); err != nil {
		return handed{}, fmt.Errorf("log in %s: %w", l.dir, err)
	}
	g, i, err := l.queue.add(op, bytes)
	if err != nil {
		return handed{}, l.errClosed()
	}
	return handed{l, g, i}, nil
}

// wait waits for the outcome.
func (o handed) wait(ctx context.Context) error {
	select {
	case <-o.group.done: // as often when many wait for one group, one after the other
		return o.group.errs[o.place]
	default:
	}
	var err error
	select {
	case <-o.group.done:
		return o.group.errs[o.place]
	case <-ctx.Done():
		err = ctx.Err()
	}
	if o.log.queue.takeBack(o.group, o.place) {
		return err
	}
	return fmt.Errorf("%w: %w", leat.ErrUncertain, err)
}

// record puts the events of one Append at the end of a shard. Their targets are
// resolved.
func (c *committer) record(t *tail, o *appendOp) {
	at := max(c.clock().UnixNano(), t.floor()+1)
	for i := range o.events {
		e := &o.events[i]
		e.shard, e.seq, e.at = t.number, t.Head+1, at
		if !e.timed {
			e.time = at
		}
		c.index.record(&o.targets[e.target], e)
		c.add(t, e, uint32(i))
		at++
	}
	c.latest.Store(max(c.latest.Load(), t.lastAt))
}

// add puts an event, of which everything is decided, at the end of a shard:
// the place-th of its Append.
func (c *committer) add(t *tail, e *entry, place uint32) {
	setPlace(e.raw, place, e.version, e.at, e.time)
	t.Head, t.lastAt = e.seq, e.at
	c.touch(t)
	t.pending = append(t.pending, e)
	t.bytes += len(e.raw)
	if t.bytes >= blockTarget {
		c.cutBlock(t)
	}
}

// cutBlock writes the pending events of a shard as a block.
func (c *committer) cutBlock(t *tail) {
	if len(t.pending) == 0 {
		return
	}
	size := blockHeaderSize + t.bytes
	c.out = appendItem(c.out, itemBlock, size)
	at := len(c.out)
	c.out = slices.Grow(c.out, size)[:at+size]
	fillBlock(c.out[at:], t.number, t.pending[0].seq, t.pending)
	c.index.addBlock(t.pending, extent{c.begun.file, uint32(c.begun.at) + uint32(at), uint32(size)})
	c.group.events += uint64(len(t.pending))
	c.group.written += uint64(size)
	clear(t.pending)
	t.pending, t.bytes = t.pending[:0], 0
}

// cutBlocks writes the pending events of all shards.
func (c *committer) cutBlocks() {
	for _, t := range c.touched {
		c.cutBlock(t)
	}
}

// find returns a shard, nil when there is none of that ID.
func (c *committer) find(id leat.ShardID) *tail {
	for _, t := range c.shards {
		if t.ID == id {
			return t
		}
	}
	return nil
}

// route returns the open shard that owns a hash key.
func (c *committer) route(key leat.HashKey) *tail {
	if c.single {
		return c.shards[0]
	}
	i := sort.Search(len(c.routes), func(i int) bool { return c.routes[i].from.Compare(key) > 0 })
	return c.routes[i-1].to
}

// setRoutes makes routes after the set of open shards changed.
func (c *committer) setRoutes() {
	c.routes = c.routes[:0]
	for _, t := range c.shards {
		if !t.Closed {
			c.routes = append(c.routes, route{t.From, t})
		}
	}
	sort.Slice(c.routes, func(i, j int) bool { return c.routes[i].from.Compare(c.routes[j].from) < 0 })
}

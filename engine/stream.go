package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/cockroachdb/pebble/v2"
	"github.com/leathq/leat"
)

// ReadStream implements leat.Log. Each event has memory of its own. It reads
// some events ahead of the loop, and holds on to nothing of the store while the
// loop is busy.
func (l *Log) ReadStream(ctx context.Context, stream string, r leat.Range) iter.Seq2[leat.Recorded, error] {
	return func(yield func(leat.Recorded, error) bool) {
		if !utf8.ValidString(stream) {
			return // no stream is called that, and its keys could be another's
		}
		c := streamCursor{log: l, stream: stream, after: r.After, through: r.Through, reverse: r.Reversed()}
		for !c.done {
			err := c.fill(ctx)
			for _, e := range c.events {
				if ctx.Err() != nil {
					err, c.done = ctx.Err(), true
					break
				}
				if !yield(e, nil) {
					return
				}
			}
			if err != nil {
				yield(leat.Recorded{}, err)
				return
			}
		}
	}
}

// Bounds of what a streamCursor reads at a time.
const (
	firstStreamEvents = 32
	maxStreamEvents   = 1000
	maxStreamBytes    = 1 << 20
)

// A streamCursor reads a stream piece by piece. What is left of the range is
// above after, up to through.
type streamCursor struct {
	log            *Log
	stream         string
	after, through uint64
	reverse        bool

	begun  bool // through is bound by the stream's version, of a reverse reading
	done   bool
	limit  int // events of the next piece
	events []leat.Recorded
	bytes  int // of events
}

// fill reads the next piece.
func (c *streamCursor) fill(ctx context.Context) error {
	c.events, c.bytes = nil, 0
	if err := c.log.read(ctx); err != nil {
		return err
	}
	defer c.log.reading.RUnlock()
	for {
		attempt := *c
		err := attempt.try(ctx)
		if errors.Is(err, errMovedOn) {
			if err := ctx.Err(); err != nil {
				return err
			}
			continue
		}
		*c = attempt
		if errors.Is(err, errTrimmedMeanwhile) {
			return nil // the next piece, with a new view, tells
		}
		return corruptOr(err)
	}
}

var (
	errMovedOn          = errors.New("the index has moved on")
	errTrimmedMeanwhile = errors.New("trimmed while it was read")
)

// try reads the next piece, unless the index moves on meanwhile.
func (c *streamCursor) try(ctx context.Context) error {
	// As long as memory stays the same, what the view shows is in memory or in
	// the store, and what is in the store the view shows.
	p := &piece{streamCursor: c, memory: c.log.index.memory.Load(), view: c.log.view.Load()}
	p.runs = runCursor{stream: c.stream, head: p.readHead, open: p.openRuns}
	p.runs.late, p.pending = p.view.split(p.memory.runs(c.stream, c.after))
	defer p.runs.close()
	if err := p.current(); err != nil {
		return err
	}
	return p.read(ctx)
}

// A piece is the reading of one piece: the log as it is at one moment.
type piece struct {
	*streamCursor
	memory  *memory
	view    *view
	runs    runCursor
	pending []run  // of the stream that are not durable yet
	block   *block // read last
	ahead   ahead
	gift    gift // memory of events
}

// current returns errMovedOn when the index has changed since the piece began.
func (p *piece) current() error {
	if p.log.index.memory.Load() != p.memory {
		return errMovedOn
	}
	return nil
}

// readHead returns the runs in the stream's head in the store.
func (p *piece) readHead() ([]run, error) {
	h, err := p.log.index.storedHead(p.stream)
	if err == nil {
		err = p.current()
	}
	return h.runs, err
}

// openRuns returns an iterator over the chunks of the stream's runs in the store.
func (p *piece) openRuns() (*pebble.Iterator, error) {
	lower, upper := runBounds(p.stream)
	it, err := p.log.store.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, err
	}
	if err := p.current(); err != nil {
		return nil, errors.Join(err, it.Close())
	}
	return it, nil
}

func (p *piece) read(ctx context.Context) error {
	if p.limit == 0 {
		p.limit = firstStreamEvents
	}
	if p.reverse {
		return p.backward(ctx)
	}
	return p.forward(ctx)
}

// version returns the durable version of the stream.
func (p *piece) version() (uint64, error) {
	if n := len(p.runs.late); n > 0 {
		return p.runs.late[n-1].version, nil
	}
	if len(p.pending) > 0 {
		return p.pending[0].firstVersion() - 1, nil // versions have no hole
	}
	// Of what was trimmed, runs are in the store or not.
	r, _, err := p.runs.last()
	if err != nil {
		return 0, err
	}
	t := newTarget(p.stream)
	stored, err := p.log.index.storedVersion(&t)
	if err == nil {
		err = p.current()
	}
	return max(r.version, stored), err
}

// kept returns the part of a run that is not trimmed; its n is 0 when there is
// none.
func (p *piece) kept(r run) run {
	oldest := p.view.oldest(r.shard)
	switch {
	case r.seq < oldest:
		r.n = 0
	case r.firstSeq() < oldest:
		r.n = r.seq - oldest + 1
	}
	return r
}

// forward reads the events above after.
func (p *piece) forward(ctx context.Context) error {
	if p.through > 0 && p.after >= p.through || p.after == math.MaxUint64 {
		p.done = true
		return nil
	}
	p.runs.seek(p.after + 1)
	for ; ; p.runs.next() {
		r, ok, err := p.runs.run()
		if err != nil {
			return err
		}
		if !ok {
			return p.ended()
		}
		r = p.kept(r)
		if r.n == 0 || r.firstVersion() > p.after+1 {
			return p.trimmed()
		}
		p.ahead.look(&p.runs, p.log.blocks)
		to := r.version
		if p.through > 0 {
			to = min(to, p.through)
		}
		if err := p.readRun(ctx, r, p.after+1, to); err != nil {
			return err
		}
		if p.after = to; p.after == p.through {
			p.done = true
			return nil
		}
		if p.full() {
			return p.bound()
		}
	}
}

// ended ends a forward reading that found no further run: it came to the end of
// the stream, unless what it would have read is gone.
func (p *piece) ended() error {
	if len(p.events) == 0 {
		version, err := p.version()
		if err != nil {
			return err
		}
		if version > p.after {
			return p.trimmed()
		}
	}
	p.done = true
	return nil
}

// bound keeps a reading in several pieces from running after a stream that
// grows.
func (p *piece) bound() error {
	version, err := p.version()
	if err == nil && (p.through == 0 || p.through > version) {
		p.through = version
	}
	return err
}

// trimmed returns the error that says where the stream's kept events begin, from
// the current run on.
func (p *piece) trimmed() error {
	for ; ; p.runs.next() {
		r, ok, err := p.runs.run()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if r = p.kept(r); r.n > 0 {
			return &leat.TrimmedError{Stream: p.stream, Oldest: r.firstVersion()}
		}
	}
	version, err := p.version()
	if err != nil {
		return err
	}
	return &leat.TrimmedError{Stream: p.stream, Oldest: version + 1}
}

// backward reads the events up to through, newest first.
func (p *piece) backward(ctx context.Context) error {
	if !p.begun {
		p.begun = true
		if err := p.bound(); err != nil {
			return err
		}
	}
	if p.after >= p.through {
		p.done = true
		return nil
	}
	for p.runs.seek(p.through); ; p.runs.prev() {
		r, ok, err := p.runs.run()
		if err != nil {
			return err
		}
		if r = p.kept(r); !ok || r.n == 0 || r.firstVersion() > p.through {
			break
		}
		n := len(p.events)
		from := max(r.firstVersion(), p.after+1)
		if err := p.readRun(ctx, r, from, min(r.version, p.through)); err != nil {
			p.events = p.events[:n]
			return err
		}
		slices.Reverse(p.events[n:])
		if p.through = from - 1; p.through == p.after {
			p.done = true
			return nil
		}
		if p.full() {
			return nil
		}
	}
	p.runs.seek(p.after + 1)
	return p.trimmed()
}

// readRun adds the events of a run between two versions, both included.
func (p *piece) readRun(ctx context.Context, r run, from, to uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	seq := r.seq - (r.version - from)
	if err := p.open(r, seq); err != nil {
		return err
	}
	shard := p.view.shards[r.shard].ID
	for v := from; v <= to; v++ {
		raw := p.block.at(int(seq - p.block.first))
		p.events = append(p.events, leat.Recorded{})
		e := &p.events[len(p.events)-1]
		p.gift.event(e, shard, seq, raw)
		if e.Stream != p.stream || e.Version != v {
			p.events = p.events[:len(p.events)-1]
			return p.block.corrupt(fmt.Sprintf("event %d is not version %d of stream %q, as the index says", seq, v, p.stream))
		}
		p.bytes += len(raw)
		seq++
	}
	return nil
}

// open makes block the one that holds a run, from seq on.
func (p *piece) open(r run, seq uint64) error {
	if p.block != nil && p.block.shard == r.shard && p.block.holds(seq) && p.block.holds(r.seq) {
		return nil
	}
	if !p.view.durable(r.shard, r.seq) {
		if p.log.view.Load().durable(r.shard, r.seq) {
			return errMovedOn // and on its way from memory to the store
		}
		return missing(r.shard, seq)
	}
	b, err := p.ahead.block(&p.runs, p.log.blocks), error(nil)
	if b == nil {
		b, err = p.log.blockOf(p.memory, r)
	}
	if err == nil && (!b.holds(seq) || !b.holds(r.seq)) {
		err = missing(r.shard, seq)
	}
	if err != nil && seq < p.log.view.Load().oldest(r.shard) {
		return errTrimmedMeanwhile
	}
	p.block = b
	return err
}

// full reports whether the piece is large enough. The next may be larger.
func (p *piece) full() bool {
	if len(p.events) < p.limit && p.bytes < maxStreamBytes {
		return false
	}
	p.limit = min(2*p.limit, maxStreamEvents)
	return true
}

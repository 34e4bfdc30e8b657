package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
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

	begun  bool
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
	v := c.log.view.Load() // before the snapshot, which then has all that is durable in it
	snapshot := c.log.store.NewSnapshot()
	defer snapshot.Close()
	lower, upper := runBounds(c.stream)
	runs, err := snapshot.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return corruptOr(err)
	}
	defer runs.Close()
	p := &piece{streamCursor: c, view: v, snapshot: snapshot, runs: runs}
	defer p.close()
	err = p.read(ctx)
	if errors.Is(err, errTrimmedMeanwhile) {
		return nil // the next piece, with a new view, tells
	}
	return corruptOr(err)
}

var errTrimmedMeanwhile = errors.New("trimmed while it was read")

// A piece is the reading of one piece: the store as it is at one moment.
type piece struct {
	*streamCursor
	view     *view
	snapshot *pebble.Snapshot
	runs     *pebble.Iterator
	blocks   *pebble.Iterator // nil until it is needed
	block    blockReader      // at blocks; none when its last is 0
}

func (p *piece) close() {
	if p.blocks != nil {
		_ = p.blocks.Close() // its errors were seen when it was used
	}
}

func (p *piece) read(ctx context.Context) error {
	if !p.begun {
		last, err := p.version()
		if err != nil {
			return err
		}
		if p.through == 0 || p.through > last {
			p.through = last
		}
		p.begun, p.limit = true, firstStreamEvents
	}
	if p.after >= p.through {
		p.done = true
		return nil
	}
	if p.reverse {
		return p.backward(ctx)
	}
	return p.forward(ctx)
}

// version returns the durable version of the stream. Runs above it are there
// while their group is being synced.
func (p *piece) version() (uint64, error) {
	above := uint64(0) // first version that is not durable
	for p.runs.Last(); p.runs.Valid(); p.runs.Prev() {
		r, err := p.run()
		if err != nil {
			return 0, err
		}
		if p.view.durable(r.shard, r.seq) {
			return r.version, nil
		}
		above = r.firstVersion()
	}
	if err := p.runs.Error(); err != nil {
		return 0, err
	}
	if above > 0 {
		return above - 1, nil // versions have no hole
	}
	return readHead(p.snapshot, appendHeadKey(nil, p.stream))
}

func (p *piece) run() (run, error) {
	value, err := p.runs.ValueAndErr()
	if err != nil {
		return run{}, err
	}
	return parseRun(p.runs.Key(), value)
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
	p.runs.SeekGE(appendRunKey(nil, p.stream, p.after+1))
	for ; p.runs.Valid(); p.runs.Next() {
		r, err := p.run()
		if err != nil {
			return err
		}
		r = p.kept(r)
		if r.n == 0 || r.firstVersion() > p.after+1 {
			return p.trimmed()
		}
		if err := p.readRun(ctx, r, p.after+1, min(r.version, p.through)); err != nil {
			return err
		}
		p.after = p.events[len(p.events)-1].Version
		if p.after == p.through {
			p.done = true
			return nil
		}
		if p.full() {
			return nil
		}
	}
	if err := p.runs.Error(); err != nil {
		return err
	}
	return p.trimmed()
}

// trimmed returns the error that says where the stream's kept events begin,
// from the run at which p.runs is.
func (p *piece) trimmed() error {
	for ; p.runs.Valid(); p.runs.Next() {
		r, err := p.run()
		if err != nil {
			return err
		}
		if p.view.durable(r.shard, r.seq) {
			r = p.kept(r)
		}
		if r.n > 0 {
			return &leat.TrimmedError{Stream: p.stream, Oldest: r.firstVersion()}
		}
	}
	if err := p.runs.Error(); err != nil {
		return err
	}
	version, err := readHead(p.snapshot, appendHeadKey(nil, p.stream))
	if err != nil {
		return err
	}
	return &leat.TrimmedError{Stream: p.stream, Oldest: version + 1}
}

// backward reads the events up to through, newest first.
func (p *piece) backward(ctx context.Context) error {
	p.runs.SeekGE(appendRunKey(nil, p.stream, p.through))
	for ; p.runs.Valid(); p.runs.Prev() {
		r, err := p.run()
		if err != nil {
			return err
		}
		r = p.kept(r)
		if r.n == 0 || r.firstVersion() > p.through {
			break
		}
		n := len(p.events)
		if err := p.readRun(ctx, r, max(r.firstVersion(), p.after+1), min(r.version, p.through)); err != nil {
			return err
		}
		slices.Reverse(p.events[n:])
		p.through = p.events[len(p.events)-1].Version - 1
		if p.through == p.after {
			p.done = true
			return nil
		}
		if p.full() {
			return nil
		}
	}
	if err := p.runs.Error(); err != nil {
		return err
	}
	p.runs.SeekGE(appendRunKey(nil, p.stream, p.after+1))
	return p.trimmed()
}

// readRun adds the events of a run between two versions, both included.
func (p *piece) readRun(ctx context.Context, r run, from, to uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := p.seek(r.shard, r.seq-(r.version-from)); err != nil {
		return err
	}
	for v := from; v <= to; v++ {
		rec, err := p.block.next()
		if err != nil {
			return err
		}
		if string(rec.stream) != p.stream || rec.version != v {
			return p.block.corrupt(fmt.Sprintf("event %d is not version %d of stream %q, as the index says", rec.seq, v, p.stream))
		}
		e, err := rec.event(p.view.shards[r.shard].ID)
		if err != nil {
			return p.block.corrupt(fmt.Sprintf("event %d: %v", rec.seq, err))
		}
		p.events = append(p.events, e)
		p.bytes += rec.size()
	}
	return nil
}

// seek moves p.block to an event.
func (p *piece) seek(shard uint32, seq uint64) (err error) {
	if p.block.shard == shard && p.block.seq <= seq && seq <= p.block.last {
		return p.block.skipTo(seq)
	}
	if p.blocks == nil {
		p.blocks, err = p.snapshot.NewIter(&pebble.IterOptions{LowerBound: []byte{blockPrefix}, UpperBound: []byte{blockPrefix + 1}})
		if err != nil {
			return err
		}
	}
	if !p.blocks.SeekGE(blockKey(shard, seq)) {
		err = p.blocks.Error()
		if err == nil {
			err = missing(shard, seq)
		}
	} else {
		p.block, err = blockAt(p.blocks, seq)
	}
	if err != nil && seq < p.log.view.Load().oldest(shard) {
		return errTrimmedMeanwhile
	}
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

package archive

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/leathq/leat"
)

// A replay is a place in a shard of the archive where a reader stopped: it keeps
// the segment open for the read that goes on there.
type replay struct {
	link    link           // adds the segment
	reader  *segmentReader // nil when all of the segment was read
	event   leat.Recorded  // read from it and to be read again, if pending
	pending bool
	used    time.Time
}

// next returns the sequence that is to be read next.
func (p *replay) next() uint64 {
	switch {
	case p.reader == nil:
		return p.link.Segment.Last + 1
	case p.pending:
		return p.event.Seq
	}
	return p.reader.next
}

// serves reports whether a sequence is in the segment, or follows it when nothing
// is left of it.
func (p *replay) serves(shard leat.ShardID, seq uint64) bool {
	if p.link.Shard != shard {
		return false
	}
	s := p.link.Segment
	return p.next() == seq || p.reader != nil && s.First <= seq && seq <= s.Last
}

// seek makes a sequence of the segment the next one.
func (p *replay) seek(seq uint64) error {
	if p.next() == seq {
		return nil
	}
	p.pending = false
	return p.reader.seekTo(seq)
}

// read reads the next event, which is good until the next call. That it is what was
// archived the SHA-256 of the segment says.
func (p *replay) read() (*leat.Recorded, error) {
	if p.pending {
		p.pending = false
		return &p.event, nil
	}
	_, err := p.reader.lend(&p.event)
	return &p.event, err
}

// back makes the event that was read last the next one again.
func (p *replay) back() { p.pending = true }

func (p *replay) bytes() int64 {
	if p.reader == nil {
		return 0
	}
	return p.link.Segment.Size
}

func (p *replay) close() {
	if p.reader != nil {
		p.reader.close()
		p.reader, p.pending = nil, false
	}
}

// replays are the places where readers stopped. Those longest not used are given
// up first, and those that nobody came back to for a while.
type replays struct {
	mu     sync.Mutex
	idle   []*replay   // the one used last is the last
	expiry *time.Timer // of the first, unless there are none
}

const (
	// maxReplayBytes is how many bytes of segments are kept open between reads.
	maxReplayBytes = 256 << 20
	// maxReplays bounds the places that are kept, those without an open segment, too.
	maxReplays = 64
	// maxIdle is how long a place is kept.
	maxIdle = time.Minute
)

// take returns a place from which a sequence can be read, nil when there is none.
// It is the caller's until it is put back.
func (r *replays) take(shard leat.ShardID, seq uint64) *replay {
	r.mu.Lock()
	defer r.mu.Unlock()
	best := -1
	for i, p := range r.idle {
		if p.serves(shard, seq) && (best < 0 || p.next() == seq) {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	p := r.idle[best]
	r.idle = slices.Delete(r.idle, best, best+1)
	return p
}

func (r *replays) put(p *replay) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.used = time.Now()
	r.idle = append(r.idle, p)
	bytes := int64(0)
	for _, p := range r.idle {
		bytes += p.bytes()
	}
	for len(r.idle) > 1 && (bytes > maxReplayBytes || len(r.idle) > maxReplays) {
		bytes -= r.idle[0].bytes()
		r.drop()
	}
	if r.expiry == nil {
		r.expiry = time.AfterFunc(maxIdle, r.expire)
	}
}

// drop gives up the place longest not used.
func (r *replays) drop() {
	r.idle[0].close()
	r.idle = slices.Delete(r.idle, 0, 1)
}

// expire gives up the places that were not used for long.
func (r *replays) expire() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.expiry = nil; len(r.idle) > 0; r.drop() {
		if left := maxIdle - time.Since(r.idle[0].used); left > 0 {
			r.expiry = time.AfterFunc(left, r.expire)
			return
		}
	}
}

// An archivedRead is one reading of a shard: the events above after, up to
// through, that match.
type archivedRead struct {
	shard          leat.ShardID
	after, through uint64
	options        leat.ReadOptions
	visit          func(*leat.Recorded) error

	matched, examined int // events and bytes so far
	limit             int
	matcher           *leat.Matcher
	stopped           error // of visit
}

func newArchivedRead(shard leat.ShardID, after uint64, o leat.ReadOptions, visit func(*leat.Recorded) error) *archivedRead {
	r := &archivedRead{shard: shard, after: after, options: o, visit: visit, limit: o.Limit}
	if r.limit <= 0 {
		r.limit = leat.DefaultReadLimit
	}
	return r
}

// run reads until the batch is full. It moves after.
func (r *archivedRead) run(ctx context.Context, a *Archive, places *replays, tail link) error {
	place := places.take(r.shard, r.after+1)
	var last *link // whose segment was read last
	if place != nil {
		last = &place.link
		if place.reader != nil {
			if more, err := r.readAt(ctx, places, place); err != nil || !more {
				return err
			}
		}
	}
	type fetched struct {
		link
		data []byte
	}
	wanted := r.wanted(a.linksAfter(ctx, r.shard, r.after+1, last, tail))
	for f, err := range ahead(ctx, readAhead, wanted, func(ctx context.Context, l link) (fetched, error) {
		data, err := a.get(ctx, a.object(l.Segment.Object))
		return fetched{l, data}, err
	}) {
		if err != nil {
			return err
		}
		reader, err := readSegment(a.object(f.Segment.Object), f.data, r.shard, *f.Segment)
		if err != nil {
			return err
		}
		place = &replay{link: f.link, reader: reader}
		if more, err := r.readAt(ctx, places, place); err != nil || !more {
			return err
		}
	}
	if place != nil {
		places.put(place)
	}
	return nil
}

// readAt reads what is wanted of the segment of a place, and reports whether the
// batch goes on in the next one. Otherwise it leaves the place for the next read.
func (r *archivedRead) readAt(ctx context.Context, places *replays, place *replay) (more bool, err error) {
	more, err = r.read(ctx, place)
	switch {
	case err != nil && r.stopped == nil:
		place.close()
	case err != nil || !more:
		places.put(place)
	}
	return more, err
}

// read is readAt but for the place. It closes a segment that is read to its end, or
// to where the log begins.
func (r *archivedRead) read(ctx context.Context, place *replay) (more bool, err error) {
	if err := place.seek(r.after + 1); err != nil {
		return false, err
	}
	end := min(r.through, place.link.Segment.Last)
	for r.after < end {
		if r.after%readEvents == 0 && ctx.Err() != nil {
			return false, ctx.Err()
		}
		e, err := place.read()
		if err != nil {
			return false, err
		}
		if took, err := r.take(e); err != nil || !took {
			place.back()
			return false, err
		}
	}
	if place.next() > place.link.Segment.Last || r.after == r.through {
		place.close()
	}
	return r.after < r.through && !r.full(), nil
}

// take examines the next event. It reports false when the batch is full without
// it.
func (r *archivedRead) take(e *leat.Recorded) (bool, error) {
	if e.Commit == e.Seq && r.full() {
		return false, nil
	}
	if r.matcher.Match(e.Stream, e.Type) {
		if r.stopped = r.visit(e); r.stopped != nil {
			return false, r.stopped
		}
		r.matched++
	}
	r.after = e.Seq
	r.examined += e.Size()
	return true, nil
}

func (r *archivedRead) full() bool {
	return r.matched >= r.limit || r.examined >= leat.MaxReadBytes
}

// nearlyAll reports whether all events match but those of the system.
func (r *archivedRead) nearlyAll() bool {
	f := r.options.Filter
	return f.Equal(leat.Filter{System: f.System})
}

// wanted yields those of the links from which the batch will be made: none too
// many are fetched, and several at a time.
func (r *archivedRead) wanted(links iter.Seq2[link, error]) iter.Seq2[link, error] {
	return func(yield func(link, error) bool) {
		events, bytes := uint64(r.matched), int64(0)
		for l, err := range links {
			if err == nil && l.Segment == nil {
				continue
			}
			if err == nil {
				events += l.Segment.Last - max(l.Segment.First-1, r.after)
				bytes += l.Segment.EventBytes
			}
			if !yield(l, err) || err != nil {
				return
			}
			if r.nearlyAll() && events >= uint64(r.limit) || bytes >= leat.MaxReadBytes || l.Segment.Last >= r.through {
				return
			}
		}
	}
}

// linksAfter yields the links of a shard's chain from the one on that adds a
// sequence, up to the last. It is told the one before it, if that is known.
func (a *Archive) linksAfter(ctx context.Context, shard leat.ShardID, seq uint64, before *link, last link) iter.Seq2[link, error] {
	return func(yield func(link, error) bool) {
		if before == nil {
			l, err := a.find(ctx, shard, seq, last)
			if !yield(l, err) || err != nil {
				return
			}
			before = &l
		}
		prev := *before
		next := func(l link, err error) bool {
			if err == nil {
				err = l.follows(a.object(manifestName(shard, l.Number)), prev)
			}
			prev = l
			return yield(l, err) && err == nil
		}
		// Whoever wants one more may want many; whoever wants one has it.
		if prev.Number == last.Number || !next(a.link(ctx, shard, prev.Number+1)) {
			return
		}
		numbers := func(yield func(uint64, error) bool) {
			for n := prev.Number + 1; n <= last.Number && yield(n, nil); n++ {
			}
		}
		for l, err := range ahead(ctx, lookAhead, numbers, func(_ context.Context, n uint64) (link, error) {
			return a.link(ctx, shard, n) // also when the loop was left: it is kept for the next
		}) {
			if !next(l, err) {
				return
			}
		}
	}
}

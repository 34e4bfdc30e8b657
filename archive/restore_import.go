package archive

import (
	"context"
	"errors"
	"fmt"

	"github.com/leathq/leat"
)

// Bounds of one Import. Each is one write and one sync.
const (
	importBytes  = 4 << 20
	importEvents = 20_000
)

// A fetched segment is one that is to be imported, or the end of it.
type fetched struct {
	shard  *restoredShard
	link   link
	reader *segmentReader
}

// A portion of a segment is imported at once, so it ends where an Append does.
// Only the last one may be empty, when the log holds all of the segment.
type portion struct {
	fetched
	events []leat.Recorded
	last   uint64 // sequence
}

// ends reports whether this is the last portion of the segment.
func (p *portion) ends() bool { return p.last == p.link.Segment.Last }

// fetch reads the segments to import, parents first. Each is known to be what its
// signed manifest names.
func (r *restore) fetch(ctx context.Context, to chan<- fetched) error {
	for i := range r.shards {
		s := &r.shards[i]
		if s.last.Total.Events == 0 {
			continue
		}
		if err := r.fetchShard(ctx, s, to); err != nil {
			return err
		}
	}
	return nil
}

func (r *restore) fetchShard(ctx context.Context, s *restoredShard, to chan<- fetched) error {
	// The segment with the last event that is there is read, too, to compare it.
	for l, err := range r.archive.chainFrom(ctx, s.ID, max(s.Head, 1), s.last) {
		if err != nil {
			return err
		}
		if l.Segment == nil {
			continue
		}
		if _, err := r.archive.edgeBefore(ctx, l); err != nil {
			return err
		}
		reader, err := r.archive.segment(ctx, s.ID, *l.Segment)
		if err != nil {
			return err
		}
		if err := send(ctx, to, fetched{s, l, reader}); err != nil {
			reader.close()
			return err
		}
	}
	return nil
}

// edgeBefore returns the edge of the tree before the segment that a link adds.
func (a *Archive) edgeBefore(ctx context.Context, l link) (edge, error) {
	before, err := a.link(ctx, l.Shard, l.Number-1)
	if err != nil {
		return edge{}, err
	}
	e, err := before.edge()
	if err == nil && e.size != l.Segment.First-1 {
		err = corrupt(a.object(manifestName(l.Shard, l.Number)), "does not continue the one before it")
	}
	return e, err
}

// decode makes portions of a segment and leaves out what the log holds. Whether the
// events have their leaf hashes, readBack finds out.
func (r *restore) decode(ctx context.Context, s fetched, to chan<- portion) error {
	head := s.shard.Head
	var p packer
	for s.reader.next <= s.link.Segment.Last {
		if s.reader.next == head {
			if err := r.compareHead(ctx, s, &p.lent); err != nil {
				return err
			}
			continue
		}
		if _, err := s.reader.lend(&p.lent); err != nil {
			return err
		}
		seq := p.lent.Seq
		if seq <= head {
			continue
		}
		if p.lent.Commit == seq && p.full() {
			if err := send(ctx, to, portion{s, p.take(), seq - 1}); err != nil {
				return err
			}
		}
		p.add()
	}
	return send(ctx, to, portion{s, p.events, s.link.Segment.Last})
}

// A packer gathers events that a segment's reader lends.
type packer struct {
	lent leat.Recorded // not yet among events

	events []leat.Recorded
	bytes  int         // of these
	memory []byte      // to give to events
	attrs  []leat.Attr // likewise
}

func (p *packer) full() bool { return p.bytes >= importBytes || len(p.events) >= importEvents }

// add adds the event that is lent. It copies what the reader takes back.
func (p *packer) add() {
	const moreBytes, moreAttrs = 256 << 10, 1 << 10
	e := p.lent
	size := len(e.ID) + len(e.Data)
	for i := range e.Meta {
		size += len(e.Meta[i].Value)
	}
	if size > len(p.memory) {
		p.memory = make([]byte, max(size, moreBytes))
	}
	if len(e.Meta) > len(p.attrs) {
		p.attrs = make([]leat.Attr, max(len(e.Meta), moreAttrs))
	}
	e.ID, e.Data = p.text(e.ID), p.copy(e.Data)
	n := copy(p.attrs, e.Meta)
	e.Meta, p.attrs = p.attrs[:n:n], p.attrs[n:]
	for i := range e.Meta {
		e.Meta[i].Value = p.text(e.Meta[i].Value)
	}
	p.events = append(p.events, e)
	p.bytes += e.Size()
}

func (p *packer) copy(b []byte) []byte {
	n := copy(p.memory, b)
	b, p.memory = p.memory[:n:n], p.memory[n:]
	return b
}

func (p *packer) text(s string) string {
	n := copy(p.memory, s)
	s, p.memory = text(p.memory[:n]), p.memory[n:]
	return s
}

func (p *packer) take() []leat.Recorded {
	events := p.events
	p.events, p.bytes = make([]leat.Recorded, 0, len(events)), 0
	return events
}

// compareHead reads the last event that a shard holds from the archive, and
// compares it with what the log has.
func (r *restore) compareHead(ctx context.Context, s fetched, e *leat.Recorded) error {
	shard, head := s.shard.ID, s.shard.Head
	leaf, err := s.reader.borrow(e)
	if err != nil {
		return err
	}
	b, err := r.log.ReadShard(ctx, shard, head-1, leat.ReadOptions{Filter: leat.Filter{System: true}, Limit: 1})
	if err != nil {
		return err
	}
	if len(b.Events) != 1 || new(leafHasher).hash(&b.Events[0]) != leaf {
		return &leat.DivergedError{Reason: fmt.Sprintf("event %d of %s is another one than in the archive: somebody has appended to the log", head, shard)}
	}
	return nil
}

// A startImporter prepares one Import while the one before it is written, as
// engine.Log does. Other logs are given one at a time.
type startImporter interface {
	StartImport(ctx context.Context, shard leat.ShardID, events []leat.Recorded) (wait func() error, err error)
}

// importPortions imports portions in order and hands them on. It waits for each after
// it has begun the next.
func (r *restore) importPortions(ctx context.Context, portions <-chan portion, to chan<- portion) error {
	var begun portion
	var wait func() error
	finish := func() error {
		if wait == nil {
			return nil
		}
		if err := wait(); err != nil {
			return r.failed(ctx, &begun, err)
		}
		r.advance(len(begun.events))
		begun.events = nil
		return send(ctx, to, begun)
	}
	for p := range portions {
		next, err := r.startImport(ctx, p)
		if e := finish(); e != nil {
			if next != nil {
				_ = next() // it fails, too
			}
			return e
		}
		if err != nil {
			return r.failed(ctx, &p, err)
		}
		begun, wait = p, next
	}
	return finish()
}

// startImport begins the Import of a portion and returns what waits for its end.
func (r *restore) startImport(ctx context.Context, p portion) (wait func() error, err error) {
	if len(p.events) > 0 {
		if s, ok := r.log.(startImporter); ok {
			return s.StartImport(ctx, p.shard.ID, p.events)
		}
		err = r.log.Import(ctx, p.shard.ID, p.events)
	}
	return func() error { return nil }, err
}

// failed returns why a portion is not imported. What a log refuses is the fault of
// a segment that holds it.
func (r *restore) failed(ctx context.Context, p *portion, err error) error {
	if errors.Is(err, leat.ErrInvalid) {
		if fault := r.archive.proveSegment(ctx, p.link); fault != nil {
			return fault
		}
	}
	return fmt.Errorf("import events %d to %d of %s: %w", p.events[0].Seq, p.last, p.shard.ID, err)
}

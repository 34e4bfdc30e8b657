package archive

import (
	"context"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sync/errgroup"

	"github.com/leathq/leat"
)

// A Target is a log that takes what an archive holds.
type Target interface {
	leat.Log
	leat.Importer
}

// A Restored says what a restore made.
type Restored struct {
	Events   uint64 // that the log holds
	Imported uint64 // of these by this Restore, when another was interrupted

	// Checkpoints are those whose events and roots the log has, one for each
	// shard that is archived, in the order of their numbers.
	Checkpoints []Checkpoint
}

// Bounds of one Import. Each is one write and one sync.
const (
	importBytes  = 4 << 20
	importEvents = 20_000
)

// Restore makes an empty log that was created with Config hold what the archive
// held then: each event with its sequence, commit, version, ID and At. All of it
// is durable when Restore returns. Nobody else may use the log meanwhile.
//
// A Restore that was interrupted is gone on with by calling it again. It then
// compares the last event of each shard with the archive's, so that a log to
// which somebody has appended is a [leat.ErrDiverged].
//
// What is imported is verified as by Events, and its Merkle tree compared with
// each signed manifest on the way. At the end Restore reads all of the log again
// and compares the roots of what it returns with the signed ones. What is damaged
// in the archive is a [leat.ErrCorrupt] that names the object; put it back and
// call Restore again. Progress, unless it is nil, is told from one goroutine how
// much is done, of the events to import and the events to read again.
func (a *Archive) Restore(ctx context.Context, log Target, progress func(done, total uint64)) (Restored, error) {
	r := &restore{archive: a, log: log, progress: progress}
	done, err := r.run(ctx)
	if err != nil {
		return Restored{}, fmt.Errorf("restore log %s: %w", a.desc.Log, err)
	}
	return done, nil
}

type restore struct {
	archive     *Archive
	log         Target
	progress    func(done, total uint64)
	done, total uint64
	shards      []restoredShard
}

// A restoredShard is a shard on its way.
type restoredShard struct {
	leat.Shard      // as it was when the restore began
	last       link // adds the last segment; the zero link when there is none
}

func (r *restore) run(ctx context.Context) (Restored, error) {
	if err := r.begin(ctx); err != nil {
		return Restored{}, err
	}
	var d Restored
	for _, s := range r.shards {
		d.Events += s.last.Total.Events
		d.Imported += s.last.Total.Events - s.Head
		if s.last.Number > 0 {
			c, err := s.last.verify(r.archive.object(manifestName(s.ID, s.last.Number)), r.archive.keys)
			if err != nil {
				return Restored{}, err
			}
			d.Checkpoints = append(d.Checkpoints, *c)
		}
	}
	r.total = d.Imported + d.Events
	if err := r.importAll(ctx); err != nil {
		return Restored{}, err
	}
	for _, s := range r.shards {
		if err := r.readBack(ctx, s); err != nil {
			return Restored{}, err
		}
	}
	return d, nil
}

func (r *restore) advance(n int) {
	r.done += uint64(n)
	if r.progress != nil {
		r.progress(r.done, r.total)
	}
}

// begin finds out what is to be restored and what is restored already.
func (r *restore) begin(ctx context.Context) error {
	info, err := r.log.Info(ctx)
	if err != nil {
		return err
	}
	if info.ID != r.archive.desc.Log || info.Single != r.archive.desc.Single || len(info.Ended) == 0 {
		return &leat.InvalidError{Field: "log to restore into", Limit: "one created with Archive.Config", Got: info.ID}
	}
	kept := info.Ended[len(info.Ended)-1].Heads
	shards, err := r.log.Shards(ctx)
	if err != nil {
		return err
	}
	for _, s := range shards {
		restored, err := r.beginShard(ctx, s, kept[s.ID])
		if err != nil {
			return err
		}
		r.shards = append(r.shards, restored)
	}
	return nil
}

func (r *restore) beginShard(ctx context.Context, s leat.Shard, kept uint64) (restoredShard, error) {
	restored := restoredShard{Shard: s}
	switch {
	case s.Oldest != 1:
		return restored, &leat.InvalidError{Field: "log to restore into", Limit: "not trimmed", Got: fmt.Sprintf("%s from %d on", s.ID, s.Oldest)}
	case s.Head > kept:
		return restored, &leat.DivergedError{Reason: fmt.Sprintf("%s holds %d events, the restore was to end at %d: somebody has appended to it", s.ID, s.Head, kept)}
	}
	tail, err := r.archive.tail(ctx, s.ID)
	if err != nil {
		return restored, err
	}
	if tail.Total.Events < kept {
		return restored, corrupt(r.archive.object(manifestFolder(s.ID)), "ends at %d, and held events up to %d when the restore began", tail.Total.Events, kept)
	}
	if kept == 0 {
		return restored, nil
	}
	restored.last, err = r.archive.find(ctx, s.ID, kept, tail)
	if err == nil && restored.last.Total.Events != kept {
		err = corrupt(r.archive.object(manifestName(s.ID, restored.last.Number)), "ends at %d, and one ended at %d when the restore began", restored.last.Total.Events, kept)
	}
	return restored, err
}

// A fetched segment is one that is to be imported, or the end of it.
type fetched struct {
	shard  *restoredShard
	link   link
	before edge // of the tree before it
	reader *segmentReader
}

// An importable piece of a shard ends where an Append does.
type importable struct {
	shard  leat.ShardID
	events []leat.Recorded
}

// importAll imports what the log does not hold. One goroutine fetches a segment
// while another decodes the one before it and this one imports.
func (r *restore) importAll(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	segments, pieces := make(chan fetched), make(chan importable, 2)
	g.Go(func() error {
		defer close(segments)
		return r.fetch(ctx, segments)
	})
	g.Go(func() error {
		defer close(pieces)
		for s := range segments {
			err := r.decode(ctx, s, pieces)
			s.reader.close()
			if err != nil {
				for s := range segments {
					s.reader.close()
				}
				return err
			}
		}
		return nil
	})
	g.Go(func() error { return r.importPieces(ctx, pieces) })
	return g.Wait()
}

// A startImporter prepares one Import while the one before it is written, as
// engine.Log does. Other logs are given one at a time.
type startImporter interface {
	StartImport(ctx context.Context, shard leat.ShardID, events []leat.Recorded) (wait func() error, err error)
}

// importPieces imports pieces in order. It waits for each after it has begun the
// next.
func (r *restore) importPieces(ctx context.Context, pieces <-chan importable) error {
	begin := func(p importable) (func() error, error) { return nil, r.log.Import(ctx, p.shard, p.events) }
	if s, ok := r.log.(startImporter); ok {
		begin = func(p importable) (func() error, error) { return s.StartImport(ctx, p.shard, p.events) }
	}
	var begun importable
	var wait func() error
	finish := func() error {
		if wait == nil {
			return nil
		}
		if err := wait(); err != nil {
			return begun.failed(err)
		}
		return nil
	}
	for p := range pieces {
		next, err := begin(p)
		if e := finish(); e != nil {
			if next != nil {
				_ = next() // it fails, too
			}
			return e
		}
		if err != nil {
			return p.failed(err)
		}
		begun, wait = p, next
		r.advance(len(p.events))
	}
	return finish()
}

func (p *importable) failed(err error) error {
	return fmt.Errorf("import events %d to %d of %s: %w", p.events[0].Seq, p.events[len(p.events)-1].Seq, p.shard, err)
}

// fetch reads the segments to import, parents first.
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
		before, err := r.archive.link(ctx, s.ID, l.Number-1)
		if err != nil {
			return err
		}
		f := fetched{shard: s, link: l}
		if f.before, err = before.edge(); err != nil {
			return err
		}
		if f.before.size != l.Segment.First-1 {
			return corrupt(r.archive.object(manifestName(s.ID, l.Number)), "does not continue the one before it")
		}
		if f.reader, err = r.archive.segment(ctx, s.ID, *l.Segment); err != nil {
			return err
		}
		select {
		case to <- f:
		case <-ctx.Done():
			f.reader.close()
			return ctx.Err()
		}
	}
	return nil
}

// decode makes pieces of a segment, leaves out what the log holds, and compares
// the tree with the signed one before it hands over the last piece.
func (r *restore) decode(ctx context.Context, s fetched, to chan<- importable) error {
	head, tree := s.shard.Head, s.before.clone()
	var p packer
	for s.reader.next <= s.link.Segment.Last {
		var e leat.Recorded
		leaf, err := s.reader.borrow(&e)
		if err != nil {
			return err
		}
		tree.add(leaf)
		if e.Seq == head {
			if err := r.compareHead(ctx, s.shard.ID, head, leaf); err != nil {
				return err
			}
		}
		if e.Seq <= head {
			continue
		}
		if e.Commit == e.Seq && p.full() {
			if err := send(ctx, to, p.take(s.shard.ID)); err != nil {
				return err
			}
		}
		p.add(&e)
	}
	if encodeHash(tree.root()) != s.link.Tree.Root {
		return corrupt(r.archive.object(manifestName(s.shard.ID, s.link.Number)), "has a tree that its events do not make")
	}
	if len(p.events) == 0 {
		return nil
	}
	return send(ctx, to, p.take(s.shard.ID))
}

func send(ctx context.Context, to chan<- importable, p importable) error {
	select {
	case to <- p:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A packer copies events out of the memory of a segment's reader.
type packer struct {
	events []leat.Recorded
	memory []byte // what it has yet to give to events
	bytes  int    // of events
}

func (p *packer) full() bool { return p.bytes >= importBytes || len(p.events) >= importEvents }

// add adds an event whose ID and data are borrowed.
func (p *packer) add(e *leat.Recorded) {
	id := p.clone(unsafe.Slice(unsafe.StringData(e.ID), len(e.ID)))
	e.ID = unsafe.String(unsafe.SliceData(id), len(id))
	e.Data = p.clone(e.Data)
	p.events = append(p.events, *e)
	p.bytes += e.Size()
}

func (p *packer) clone(b []byte) []byte {
	const chunk = 256 << 10
	if len(b) > len(p.memory) {
		p.memory = make([]byte, max(chunk, len(b)))
	}
	n := copy(p.memory, b)
	b, p.memory = p.memory[:n:n], p.memory[n:]
	return b
}

func (p *packer) take(shard leat.ShardID) importable {
	piece := importable{shard, p.events}
	p.events, p.bytes = make([]leat.Recorded, 0, len(p.events)), 0
	return piece
}

// compareHead compares the last event of a shard with the archive's.
func (r *restore) compareHead(ctx context.Context, shard leat.ShardID, head uint64, leaf [32]byte) error {
	b, err := r.log.ReadShard(ctx, shard, head-1, leat.ReadOptions{Filter: leat.Filter{System: true}, Limit: 1})
	if err != nil {
		return err
	}
	if len(b.Events) != 1 || new(leafHasher).hash(&b.Events[0]) != leaf {
		return &leat.DivergedError{Reason: fmt.Sprintf("event %d of %s is another one than in the archive: somebody has appended to the log", head, shard)}
	}
	return nil
}

// readBack compares what the log returns of a shard with the signed root.
func (r *restore) readBack(ctx context.Context, s restoredShard) error {
	var hasher leafHasher
	var tree edge
	end := s.last.Total.Events
	visit := func(e *leat.Recorded) error {
		if e.Seq != tree.size+1 {
			return fmt.Errorf("read %s again: %w: sequence %d comes after %d", s.ID, leat.ErrCorrupt, e.Seq, tree.size)
		}
		tree.add(hasher.hash(e))
		return nil
	}
	for tree.size < end {
		before := tree.size
		if err := scan(ctx, r.log, s.ID, before, visit); err != nil {
			return err
		}
		if tree.size == before {
			return fmt.Errorf("read %s again: %w: it ends at %d instead of %d", s.ID, leat.ErrCorrupt, before, end)
		}
		r.advance(int(tree.size - before))
	}
	if end > 0 && (tree.size != end || encodeHash(tree.root()) != s.last.Tree.Root) {
		return fmt.Errorf("read %s again: %w: its %d events have another tree root than the archive has signed", s.ID, leat.ErrCorrupt, tree.size)
	}
	return nil
}

// scan calls visit for the next events of a shard.
func scan(ctx context.Context, log leat.Log, shard leat.ShardID, after uint64, visit func(*leat.Recorded) error) error {
	o := leat.ReadOptions{Filter: leat.Filter{System: true}, Limit: readLimit}
	if s, ok := log.(leat.Scanner); ok {
		_, err := s.ScanShard(ctx, shard, after, o, visit)
		if !errors.Is(err, leat.ErrUnsupported) {
			return err
		}
	}
	b, err := log.ReadShard(ctx, shard, after, o)
	for i := 0; err == nil && i < len(b.Events); i++ {
		err = visit(&b.Events[i])
	}
	return err
}

package archive

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"iter"
	"math"
	"path"
	"slices"
	"sync"

	"github.com/leathq/leat"
)

// How many parts of objects a Stream reads at a time: to learn whether they hold
// events of the stream, and those that may. Each of the latter is held in memory.
const (
	lookAhead = 16
	readAhead = 4
)

// Stream yields the archived events of a stream in the order of their versions,
// or in reverse, as the log's ReadStream does, up to the last at the time of the
// call. A stream without archived events yields nothing. Each event is checked
// against its leaf hash, and versions follow each other without a hole; what does
// not fit is a [leat.ErrCorrupt] that names the object. An error is always the
// last pair. Yielded memory belongs to the caller.
//
// A log's compacted files are one a month, one a day for days that are in no month
// yet, and more of those that are large. The number of GETs is bounded by theirs,
// and by that of the segments not yet compacted: of an archive that was just opened,
// one for each shard; for each shard that the stream lived in two, for the last
// catalog and its manifest; for each compacted file between whose first and last
// stream it lies three at most, for the end of the file, the Bloom filter of a row
// group, and the row group if that says so, and two more for each further row group
// of about 1 MiB that holds events of it; for each segment not yet compacted two, for
// its manifest and its Bloom filter, and one for the segment if that says so. Ends and
// filters that were read before are kept in memory, up to 64 MiB.
func (a *Archive) Stream(ctx context.Context, stream string, r leat.Range) iter.Seq2[leat.Recorded, error] {
	return func(yield func(leat.Recorded, error) bool) {
		if r.Through > 0 && r.Through <= r.After {
			return
		}
		shards, err := a.lineage(ctx, stream)
		if err != nil {
			yield(leat.Recorded{}, err)
			return
		}
		if r.Reversed() {
			slices.Reverse(shards)
		}
		l := &streamLoad{archive: a, stream: stream, wanted: r, yield: yield}
		for _, shard := range shards {
			if !l.shard(ctx, shard) {
				return
			}
		}
		l.end()
	}
}

// lineage returns the archived shards that own a stream, parents before
// children.
func (a *Archive) lineage(ctx context.Context, stream string) ([]leat.ShardID, error) {
	shards, err := a.shards(ctx)
	if err != nil {
		return nil, err
	}
	hash := leat.RouteHash(stream)
	var owners []leat.ShardID
	for _, id := range shards {
		first, err := a.link(ctx, id, 1)
		if err != nil {
			if last, e := a.lastNumber(ctx, id); e == nil && last == 0 {
				continue // an archiver was killed before it began the chain
			}
			return nil, err
		}
		if first.Lineage == nil {
			return nil, corrupt(a.object(manifestName(id, 1)), "is of kind %q and begins a chain", first.Kind)
		}
		if a.desc.Single || (leat.Shard{From: first.Lineage.From, To: first.Lineage.To}).Owns(hash) {
			owners = append(owners, id)
		}
	}
	return owners, nil
}

// A streamLoad yields the events of one stream.
type streamLoad struct {
	archive *Archive
	stream  string
	wanted  leat.Range
	yield   func(leat.Recorded, error) bool

	last   uint64 // version yielded, 0 before the first
	object string // it came from
}

// A piece is a part of an object that may hold events of the stream, in an order
// of its own.
type piece struct {
	object string
	read   func(context.Context) ([]leat.Recorded, error) // ascending by version
}

// A pieceEvents is what a piece holds of the stream.
type pieceEvents struct {
	object string
	events []leat.Recorded
}

// shard yields what a shard holds, and reports whether to go on. A file that was
// replaced by another meanwhile is looked for in the newer catalog.
func (l *streamLoad) shard(ctx context.Context, shard leat.ShardID) bool {
	for last := uint64(0); ; {
		cat, err := l.archive.catalog(ctx, shard)
		if err != nil {
			l.yield(leat.Recorded{}, err)
			return false
		}
		more, err := l.read(ctx, cat)
		if errors.Is(err, fs.ErrNotExist) && cat.Number > last {
			last = cat.Number
			if now, e := l.archive.catalog(ctx, shard); e == nil && now.Number > last {
				l.resume()
				continue
			}
		}
		if err != nil {
			l.yield(leat.Recorded{}, err)
			return false
		}
		return more
	}
}

// resume makes the load go on after what was yielded.
func (l *streamLoad) resume() {
	switch {
	case l.last == 0:
	case l.wanted.Reversed():
		l.wanted.Through = l.last - 1
	default:
		l.wanted.After = l.last
	}
}

// read yields what a shard holds by one of its catalogs, and reports whether to
// go on.
func (l *streamLoad) read(ctx context.Context, cat *catalog) (more bool, err error) {
	found := ahead(ctx, readAhead, l.pieces(ctx, cat), func(ctx context.Context, p piece) (pieceEvents, error) {
		events, err := p.read(ctx)
		return pieceEvents{p.object, events}, err
	})
	for p, err := range found {
		if err != nil {
			return false, err
		}
		if l.wanted.Reversed() {
			slices.Reverse(p.events)
		}
		for _, e := range p.events {
			if !l.event(p.object, e) {
				return false, nil
			}
		}
	}
	return true, nil
}

// event yields an event if it is wanted, once it is known to follow the one
// before, and reports whether to go on.
func (l *streamLoad) event(object string, e leat.Recorded) bool {
	if !l.wants(e.Version) {
		return true
	}
	if next := l.next(); next > 0 && e.Version != next {
		err := corrupt(object, "holds version %d of stream %q where %d should be%s", e.Version, l.stream, next, l.before())
		l.yield(leat.Recorded{}, err)
		return false
	}
	l.last, l.object = e.Version, object
	return l.yield(e, nil) && e.Version != l.final()
}

func (l *streamLoad) wants(version uint64) bool {
	return version > l.wanted.After && (l.wanted.Through == 0 || version <= l.wanted.Through)
}

// next returns the version that has to come, 0 when it is not known.
func (l *streamLoad) next() uint64 {
	switch {
	case !l.wanted.Reversed():
		return max(l.last, l.wanted.After) + 1
	case l.last > 0:
		return l.last - 1
	}
	return 0
}

// final returns the version after which there is nothing to look for.
func (l *streamLoad) final() uint64 {
	if l.wanted.Reversed() {
		return l.wanted.After + 1
	}
	return cmp.Or(l.wanted.Through, math.MaxUint64)
}

// before tells what was yielded last, for errors.
func (l *streamLoad) before() string {
	if l.object == "" {
		return ""
	}
	return ", after " + l.object
}

// end yields an error when versions are missing at the end. Oldest first, nobody
// can tell.
func (l *streamLoad) end() {
	if l.wanted.Reversed() && l.last > l.final() {
		l.yield(leat.Recorded{}, corrupt(l.object, "holds version %d of stream %q, and no object those before it", l.last, l.stream))
	}
}

// pieces yields what may hold events of the stream in a shard, in the order in
// which they are wanted: compacted files up to the sequence that a catalog covers,
// and segments above it.
func (l *streamLoad) pieces(ctx context.Context, cat *catalog) iter.Seq2[piece, error] {
	return func(yield func(piece, error) bool) {
		links, err := l.archive.linksAbove(ctx, cat)
		if err != nil {
			yield(piece{}, err)
			return
		}
		if l.wanted.Reversed() {
			_ = l.segments(ctx, links, cat.Covered, yield) && l.files(ctx, cat.Files, yield)
		} else {
			_ = l.files(ctx, cat.Files, yield) && l.segments(ctx, links, cat.Covered, yield)
		}
	}
}

// files yields the row groups of compacted files that may hold events of the
// stream, and reports whether to go on.
func (l *streamLoad) files(ctx context.Context, files []compacted, yield func(piece, error) bool) bool {
	each := func(yield func(compacted, error) bool) {
		for i := range files {
			f := files[i]
			if l.wanted.Reversed() {
				f = files[len(files)-1-i]
			}
			if f.MinStream <= l.stream && l.stream <= f.MaxStream && !yield(f, nil) {
				return
			}
		}
	}
	for found, err := range ahead(ctx, lookAhead, each, l.groups) {
		if err != nil {
			yield(piece{}, err)
			return false
		}
		for _, p := range found {
			if !yield(p, nil) {
				return false
			}
		}
	}
	return true
}

// groups returns the row groups of a compacted file that may hold events of the
// stream.
func (l *streamLoad) groups(ctx context.Context, c compacted) (found []piece, err error) {
	s := l.archive.source(c)
	f, err := l.archive.sortedFile(ctx, s)
	if err != nil {
		return nil, err
	}
	for i := range f.groups {
		if !f.mayHold(i, l.stream) {
			continue
		}
		filter, err := l.archive.filter(ctx, s.name, f.filter(i))
		if err != nil {
			return nil, err
		}
		if filter.mayHold(l.stream) {
			found = append(found, piece{s.name, func(ctx context.Context) ([]leat.Recorded, error) {
				return f.load(ctx, s, i, l.stream, l.wants)
			}})
		}
	}
	if l.wanted.Reversed() {
		slices.Reverse(found)
	}
	return found, nil
}

// sortedFile returns the index of a compacted file.
func (a *Archive) sortedFile(ctx context.Context, s *sortedSource) (*sortedFile, error) {
	if f, ok := a.parts.get(s.name); ok {
		return f.(*sortedFile), nil
	}
	f, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	a.parts.put(s.name, f, 8*s.desc.Tail.Size) // decoded it takes some times the space
	return f, nil
}

// segments yields the segments of links that may hold events of the stream with
// a sequence above covered, and reports whether to go on.
func (l *streamLoad) segments(ctx context.Context, links []link, covered uint64, yield func(piece, error) bool) bool {
	if l.wanted.Reversed() {
		links = slices.Clone(links)
		slices.Reverse(links)
	}
	type candidate struct {
		piece
		hit bool
	}
	each := func(yield func(link, error) bool) {
		for _, k := range links {
			if k.Segment != nil && k.Segment.Last > covered && !yield(k, nil) {
				return
			}
		}
	}
	for c, err := range ahead(ctx, lookAhead, each, func(ctx context.Context, k link) (candidate, error) {
		object := l.archive.object(k.Segment.Object)
		f, err := l.archive.filter(ctx, object, k.Segment.Filter)
		if err != nil {
			return candidate{}, err
		}
		return candidate{piece{object, func(ctx context.Context) ([]leat.Recorded, error) {
			return l.readSegment(ctx, k, covered)
		}}, f.mayHold(l.stream)}, nil
	}) {
		if err != nil {
			yield(piece{}, err)
			return false
		}
		if c.hit && !yield(c.piece, nil) {
			return false
		}
	}
	return true
}

// readSegment returns the events of the stream in a segment above a sequence.
func (l *streamLoad) readSegment(ctx context.Context, k link, covered uint64) ([]leat.Recorded, error) {
	r, err := l.archive.segment(ctx, k.Shard, *k.Segment)
	if err != nil {
		return nil, err
	}
	defer r.close()
	return r.load(l.stream, covered, l.wants)
}

// linksFrom returns the links of a shard's chain from a number on, each checked
// against the one before it.
func (a *Archive) linksFrom(ctx context.Context, shard leat.ShardID, number uint64) ([]link, error) {
	numbers := func(yield func(uint64, error) bool) {
		next := number
		if !yield(next, nil) {
			return
		}
		after := path.Base(manifestName(shard, number))
		for name, err := range a.store.List(ctx, a.object(manifestFolder(shard)), after) {
			n, ok := manifestNumber(name)
			if err == nil && !ok {
				continue
			}
			if next++; err == nil && n != next {
				err = corrupt(a.object(manifestName(shard, next)), "is missing, though number %d exists", n)
			}
			if !yield(n, err) || err != nil {
				return
			}
		}
	}
	var links []link
	for l, err := range ahead(ctx, lookAhead, numbers, func(ctx context.Context, n uint64) (link, error) {
		return a.link(ctx, shard, n)
	}) {
		if err == nil && len(links) > 0 {
			err = l.follows(a.object(manifestName(shard, l.Number)), links[len(links)-1])
		}
		if err != nil {
			return nil, err
		}
		links = append(links, l)
	}
	return links, nil
}

// ahead yields what f makes of each item, in order, and has f work on up to n
// items at a time, ahead of the loop. It ends with the first error.
func ahead[A, B any](ctx context.Context, n int, items iter.Seq2[A, error], f func(context.Context, A) (B, error)) iter.Seq2[B, error] {
	type result struct {
		value B
		err   error
	}
	return func(yield func(B, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		var queue []chan result
		next := func() bool {
			r := <-queue[0]
			queue = queue[1:]
			return yield(r.value, r.err) && r.err == nil
		}
		for item, err := range items {
			done := make(chan result, 1)
			queue = append(queue, done)
			if err != nil {
				done <- result{err: err}
				break
			}
			wg.Go(func() {
				value, err := f(ctx, item)
				done <- result{value, err}
			})
			if len(queue) == n && !next() {
				return
			}
		}
		for len(queue) > 0 {
			if !next() {
				return
			}
		}
	}
}

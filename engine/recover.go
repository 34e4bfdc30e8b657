package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/leathq/leat"
)

// A replay makes of the store, and of the groups that came after it, what a log
// was. It indexes what the store has not indexed.
type replay struct {
	tails   []*tail
	covered []uint64 // by shard: what is indexed, in the store or in memory
	mark    blockEnd // the groups from here on change tails
	block   func(*block, extent) error

	at blockEnd // behind the last group
}

// newReplay begins with what the store knows.
func (s *store) newReplay(block func(*block, extent) error) (*replay, error) {
	r := &replay{block: block}
	var err error
	if r.tails, err = s.readShards(); err != nil {
		return nil, err
	}
	r.mark = s.readMark(r.tails[0].group)
	if r.covered, err = s.readCovered(len(r.tails)); err != nil {
		return nil, err
	}
	for _, t := range r.tails {
		if r.covered[t.number] > t.Head {
			return nil, fmt.Errorf("%w: the index of %s goes up to %d, its events up to %d: go back to a backup",
				leat.ErrCorrupt, t.ID, r.covered[t.number], t.Head)
		}
	}
	return r, nil
}

// from returns where to begin: at the first group that is not indexed.
func (r *replay) from(files *blockFiles) blockEnd {
	for _, t := range r.tails {
		if r.covered[t.number] < t.Head {
			return files.first()
		}
	}
	if r.mark.file == 0 {
		return files.first()
	}
	return r.mark
}

// run reads the groups between two ends, and calls then after each.
func (r *replay) run(files *blockFiles, from, to blockEnd, then func() error) error {
	return files.each(from, to, func(g *storedGroup) error {
		live := g.number >= r.mark.group
		err := g.each(func(x extent, data []byte) error {
			return r.readBlock(x, data, live)
		}, func(number uint32, text []byte) (err error) {
			if live {
				r.tails, err = describe(r.tails, number, text)
				r.covered = append(r.covered, make([]uint64, len(r.tails)-len(r.covered))...)
			}
			return err
		})
		if err != nil {
			return err
		}
		r.at = blockEnd{g.file, g.end(), g.number + 1}
		return then()
	})
}

func (r *replay) readBlock(x extent, data []byte, live bool) error {
	id := blockIDOf(data)
	b, err := parseBlock(id, data)
	if err != nil {
		return err
	}
	if int(id.shard) >= len(r.tails) {
		return b.corrupt("there is no such shard")
	}
	t := r.tails[id.shard]
	if live {
		if b.first != t.Head+1 && (t.Head > 0 || b.first != t.Oldest) {
			return b.corrupt(fmt.Sprintf("follows sequence %d", t.Head))
		}
		t.Head, t.lastAt = b.last, b.record(b.len()-1).at
	}
	if b.last <= r.covered[id.shard] {
		return nil
	}
	r.covered[id.shard] = b.last
	return r.block(b, x)
}

// read reads the groups of a log that nobody works on, and changes nothing.
func (r *replay) read(s *store, o Options, from func(*blockFiles) blockEnd) error {
	files := newBlockFiles(s.dir, o, s.fuse)
	err := files.open()
	var found scan
	if err == nil {
		found, err = files.scan(r.mark)
	}
	if err == nil {
		err = r.run(files, from(files), found.end, func() error { return nil })
	}
	if err == nil {
		err = files.haveAll(r.tails)
	}
	return errors.Join(err, files.close())
}

// replay makes the index what it was, and the files ready for more.
func (ix *indexer) replay(files *blockFiles, r *replay) error {
	if err := ix.store.removeTables(); err != nil {
		return err
	}
	ix.covered = slices.Clone(r.covered)
	if err := ix.index.recover(ix.store, r.covered, r.mark); err != nil {
		return err
	}
	if err := files.open(); err != nil {
		return err
	}
	found, err := files.scan(r.mark)
	if err != nil {
		return err
	}
	full := func() error { return ix.addFull(r) }
	begun := r.from(files)
	if err := r.run(files, begun, found.proven, full); err != nil {
		return err
	}
	from, err := files.resume(found, r.tails)
	if err != nil {
		return err
	}
	if err := r.run(files, from, files.end, full); err != nil {
		return err
	}
	if err := files.haveAll(r.tails); err != nil {
		return err
	}
	for _, t := range r.tails { // of one that is trimmed whole there may be no block
		r.covered[t.number] = t.Head
	}
	if begun.group < r.mark.group {
		return ix.addRead(r) // so that the next time begins at the mark
	}
	return nil
}

// addBlock notes a block that is read again.
func (ix *indexer) addBlock(b *block, x extent) error {
	ix.index.recoverBlock(b, x)
	if ix.progress == nil {
		return nil
	}
	return ix.progress(b)
}

// addFull adds what was read again to the store when it is as much as a
// generation.
func (ix *indexer) addFull(r *replay) error {
	if !ix.index.memory.Load().growing().full(ix.index.size) {
		return nil
	}
	return ix.addRead(r)
}

func (ix *indexer) addRead(r *replay) error {
	s := &sealed{generation: ix.index.seal(), heads: slices.Clone(r.covered), mark: r.mark}
	if r.at.group > r.mark.group {
		s.mark = r.at
		s.shards = textsOf(r.tails, r.at.group)
	}
	return ix.add(s, func(shard uint32) uint64 { return r.tails[shard].Oldest })
}

// readCovered returns, by shard, the sequence up to which the store has the
// index.
func (s *store) readCovered(shards int) ([]uint64, error) {
	covered := make([]uint64, shards)
	for i := range covered {
		value, err := s.value(coverKey(uint32(i)))
		switch {
		case errors.Is(err, pebble.ErrNotFound):
			continue
		case err != nil:
			return nil, corruptOr(err)
		case len(value) != 8:
			return nil, fmt.Errorf("%w: index of %s up to %x", leat.ErrCorrupt, leat.ShardNumber(i), value)
		}
		covered[i] = binary.LittleEndian.Uint64(value)
	}
	return covered, nil
}

// recover reads the greatest UUIDs of the store.
func (x *index) recover(s *store, covered []uint64, mark blockEnd) error {
	it, err := s.NewIter(&pebble.IterOptions{LowerBound: []byte{uuidPrefix}, UpperBound: []byte{uuidPrefix + 1}})
	if err != nil {
		return corruptOr(err)
	}
	defer it.Close()
	m := *x.memory.Load()
	m.covered, m.mark = slices.Clone(covered), mark
	for it.Last(); it.Valid(); it.Prev() {
		stream, id, err := parseIDKey(it.Key())
		if err != nil {
			return err
		}
		if m.recent.events() == recentIDs {
			copy(m.floor[:], id.text)
			break
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return corruptOr(err)
		}
		k, err := parseKnown(value)
		if err != nil {
			return err
		}
		m.recent.keep(stream, id.text, &k)
	}
	m.recent.greatest = m.recent.generation.greatest
	x.memory.Store(&m)
	return corruptOr(it.Error())
}

// learnNames adds the names of the streams in the store to the filter. Until it
// has all, any stream may exist.
func (l *Log) learnNames() {
	it, err := l.store.NewIter(&pebble.IterOptions{LowerBound: []byte{headPrefix}, UpperBound: []byte{headPrefix + 1}})
	if err != nil {
		return // whoever asks the store will learn why
	}
	defer it.Close()
	for it.First(); it.Valid(); it.Next() {
		if l.queue.isClosed() {
			return
		}
		l.index.names.add(hashStream(text(it.Key()[1:])))
	}
	l.index.names.ready.Store(it.Error() == nil)
}

// recoverBlock notes the events and runs of a block.
func (x *index) recoverBlock(b *block, at extent) {
	entries := b.entries()
	events := make([]*entry, len(entries))
	t := target{}
	for i := range entries {
		e := &entries[i]
		if t.stream != e.stream {
			t = newTarget(e.stream)
		}
		x.note(&t, e, e.version)
		events[i] = e
	}
	x.addBlock(events, at)
}

// entries returns the events as they were recorded. Their strings are in the
// block's memory.
func (b *block) entries() []entry {
	entries := make([]entry, b.len())
	var event leat.Recorded
	var attrs [64]leat.Attr
	for i := range entries {
		e, r := &entries[i], b.record(i)
		decodeEvent(&event, "", r.seq, r.raw, attrs[:])
		e.stream, e.id = event.Stream, event.ID
		e.known = known{r.shard, r.seq, r.version, r.at, r.time, leat.Digest(&event.Event)}
		e.eventID = newEventID(e.id, hashStream(e.stream), &e.uuid)
	}
	return entries
}

package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/leathq/leat"
)

// recover makes the index what it was: the store has it up to what it covers,
// the blocks after that are read again. Shards must be in the order of their
// numbers, so that the versions of a stream come in order.
func (ix *indexer) recover(shards []*tail) error {
	if err := ix.store.removeTables(); err != nil {
		return err
	}
	covered, err := ix.store.readCovered(len(shards))
	if err != nil {
		return err
	}
	for _, t := range shards {
		if covered[t.number] > t.Head {
			return fmt.Errorf("%w: the index of %s goes up to %d, its events up to %d: the last ones are lost, so go back to a backup",
				leat.ErrCorrupt, t.ID, covered[t.number], t.Head)
		}
	}
	ix.covered = slices.Clone(covered)
	if err := ix.index.recover(ix.store, covered); err != nil {
		return err
	}
	oldest := func(shard uint32) uint64 { return shards[shard].Oldest }
	for _, t := range shards {
		err := ix.store.eachBlock(t.number, covered[t.number]+1, func(b *block) error {
			ix.index.recoverBlock(b)
			covered[t.number] = b.last
			if ix.progress != nil {
				if err := ix.progress(b.len()); err != nil {
					return err
				}
			}
			if !ix.index.memory.Load().growing().full(ix.index.size) {
				return nil
			}
			return ix.add(&sealed{generation: ix.index.seal(), heads: slices.Clone(covered)}, oldest)
		})
		if err != nil {
			return fmt.Errorf("index the events of %s above %d (if they are damaged, go back to a backup): %w", t.ID, covered[t.number], err)
		}
	}
	return nil
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
func (x *index) recover(s *store, covered []uint64) error {
	it, err := s.NewIter(&pebble.IterOptions{LowerBound: []byte{uuidPrefix}, UpperBound: []byte{uuidPrefix + 1}})
	if err != nil {
		return corruptOr(err)
	}
	defer it.Close()
	m := *x.memory.Load()
	m.covered = slices.Clone(covered)
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

// eachBlock calls do for the blocks of a shard that end at a sequence or above.
func (s *store) eachBlock(shard uint32, from uint64, do func(*block) error) error {
	it, err := s.NewIter(&pebble.IterOptions{LowerBound: blockKey(shard, from), UpperBound: blockKey(shard+1, 0)})
	if err != nil {
		return corruptOr(err)
	}
	defer it.Close()
	for it.First(); it.Valid(); it.Next() {
		b, err := blockAt(it)
		if err == nil {
			err = do(b)
		}
		if err != nil {
			return corruptOr(err)
		}
	}
	return corruptOr(it.Error())
}

// recoverBlock notes the events and runs of a block.
func (x *index) recoverBlock(b *block) {
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
	x.addBlock(events)
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

package engine

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// block returns where the block is that holds an event, as far as memory knows.
// It knows all above what is covered.
func (m *memory) block(shard uint32, seq uint64) (blockID, extent, bool) {
	if int(shard) < len(m.covered) && seq <= m.covered[shard] {
		return blockID{}, extent{}, false
	}
	for _, g := range m.generations {
		list := g.blockList(shard)
		if list == nil {
			continue
		}
		if e, ok := list.find(seq); ok {
			return blockID{shard, e.last}, e.extent, true
		}
	}
	return blockID{}, extent{}, false
}

// block returns a block, from the cache if it is there.
func (l *Log) block(id blockID, x extent) (*block, error) {
	if b := l.blocks.get(id); b != nil {
		return b, nil
	}
	b, err := l.files.read(x, id)
	if err == nil {
		l.blocks.add(b)
	}
	return b, err
}

// findBlock returns the block that holds an event.
func (l *Log) findBlock(m *memory, shard uint32, seq uint64) (*block, error) {
	c := blockCursor{log: l, memory: m, shard: shard}
	defer c.close()
	return c.next(seq)
}

// blockOf returns the block that holds a run.
func (l *Log) blockOf(m *memory, r run) (*block, error) {
	if r.block == 0 { // version 1 of the format did not say
		return l.findBlock(m, r.shard, r.seq)
	}
	id := blockID{r.shard, r.block}
	if b := l.blocks.get(id); b != nil {
		return b, nil
	}
	_, x, ok := m.block(r.shard, r.seq)
	if !ok {
		var err error
		if x, err = l.storedExtent(id, r.seq); err != nil {
			return nil, err
		}
	}
	b, err := l.files.read(x, id)
	if err == nil {
		l.blocks.add(b)
	}
	return b, err
}

// storedExtent returns where the store says that the block of an event is.
func (l *Log) storedExtent(id blockID, seq uint64) (extent, error) {
	buf := keyBuffers.Get().(*[]byte)
	defer keyBuffers.Put(buf)
	*buf = appendBlockKey((*buf)[:0], id)
	value, closer, err := l.store.Get(*buf)
	if errors.Is(err, pebble.ErrNotFound) {
		return extent{}, missing(id.shard, seq)
	}
	if err != nil {
		return extent{}, err
	}
	defer closer.Close()
	return parseExtent(value)
}

// A blockCursor goes over the blocks of a shard, in order.
type blockCursor struct {
	log    *Log
	memory *memory
	shard  uint32

	stored *pebble.Iterator // over the blocks that the store knows; nil until it is needed
}

func (c *blockCursor) close() {
	if c.stored != nil {
		_ = c.stored.Close() // its errors were seen when it was used
	}
}

// next returns the block that holds an event. Sequences may only ascend.
func (c *blockCursor) next(seq uint64) (*block, error) {
	id, x, ok := c.memory.block(c.shard, seq)
	if !ok {
		var err error
		if id, x, err = c.nextStored(seq); err != nil {
			return nil, err
		}
	}
	b, err := c.log.block(id, x)
	if err == nil && !b.holds(seq) {
		return nil, missing(c.shard, seq)
	}
	return b, err
}

func (c *blockCursor) nextStored(seq uint64) (blockID, extent, error) {
	if c.stored == nil {
		it, err := c.log.store.NewIter(&pebble.IterOptions{LowerBound: blockKey(c.shard, seq), UpperBound: blockKey(c.shard+1, 0)})
		if err != nil {
			return blockID{}, extent{}, err
		}
		c.stored = it
		it.First()
	} else {
		c.stored.Next()
	}
	if !c.stored.Valid() {
		if err := c.stored.Error(); err != nil {
			return blockID{}, extent{}, err
		}
		return blockID{}, extent{}, missing(c.shard, seq)
	}
	id, err := parseBlockKey(c.stored.Key())
	if err != nil {
		return blockID{}, extent{}, err
	}
	value, err := c.stored.ValueAndErr()
	if err != nil {
		return blockID{}, extent{}, err
	}
	x, err := parseExtent(value)
	return id, x, err
}

package engine

import (
	"sync"
	"sync/atomic"
)

// A blockCache keeps blocks lately read, up to a number of bytes. When it is
// full, a hand goes round and drops the first block that nobody asked for since
// it last came by (the CLOCK algorithm of Corbató, A Paging Experiment with the
// Multics System, 1968): to find a block changes nothing but a mark. It is safe
// for concurrent use.
type blockCache struct {
	parts        [cacheParts]cachePart
	hits, misses atomic.Uint64
}

const cacheParts = 16 // that do not wait for each other

type cachePart struct {
	mu    sync.RWMutex
	byID  map[blockID]*block
	ring  []*block
	hand  int // in ring
	bytes int
	max   int
	_     [64]byte // no part shares a line of memory with the next
}

// A blockID is the shard and last sequence of a block.
type blockID struct {
	shard uint32
	last  uint64
}

func newBlockCache(bytes int64) *blockCache {
	c := new(blockCache)
	for i := range c.parts {
		c.parts[i].byID = make(map[blockID]*block)
		c.parts[i].max = int(bytes / cacheParts)
	}
	return c
}

// memory returns the bytes that a block takes, roughly.
func (b *block) memory() int { return cap(b.data) + 4*cap(b.offsets) + 256 }

func (c *blockCache) part(id blockID) *cachePart {
	return &c.parts[(id.last*0x9e3779b97f4a7c15+uint64(id.shard))>>32%cacheParts]
}

// get returns a block, nil when it is not cached.
func (c *blockCache) get(id blockID) *block {
	b := c.find(id)
	if b == nil {
		c.misses.Add(1)
		return nil
	}
	c.note(b)
	return b
}

// find is get without a look at the block. If it is used, call note.
func (c *blockCache) find(id blockID) *block {
	p := c.part(id)
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.byID[id]
}

// note notes that a block was asked for.
func (c *blockCache) note(b *block) {
	if !b.asked.Load() {
		b.asked.Store(true)
	}
	c.hits.Add(1)
}

// add caches a block, unless it is alone larger than its part.
func (c *blockCache) add(b *block) {
	id := b.id()
	p := c.part(id)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byID[id] != nil || b.memory() > p.max {
		return
	}
	for p.bytes+b.memory() > p.max {
		p.drop()
	}
	p.byID[id] = b
	p.ring = append(p.ring, b)
	p.bytes += b.memory()
}

// drop makes room by one block. There is one.
func (p *cachePart) drop() {
	for {
		if p.hand >= len(p.ring) {
			p.hand = 0
		}
		b := p.ring[p.hand]
		if b.asked.Swap(false) {
			p.hand++
			continue
		}
		// The last one takes its place, and its turn.
		n := len(p.ring) - 1
		p.ring[p.hand], p.ring[n] = p.ring[n], nil
		p.ring = p.ring[:n]
		delete(p.byID, b.id())
		p.bytes -= b.memory()
		return
	}
}

// bytes returns what the blocks take.
func (c *blockCache) bytes() int {
	n := 0
	for i := range c.parts {
		p := &c.parts[i]
		p.mu.RLock()
		n += p.bytes
		p.mu.RUnlock()
	}
	return n
}

package engine

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// A blockCache keeps blocks lately read. It is safe for concurrent use.
type blockCache struct {
	parts        [cacheParts]cachePart
	hits, misses atomic.Uint64
}

const cacheParts = 16 // that do not wait for each other

type cachePart struct {
	mu    sync.Mutex
	lru   *simplelru.LRU[blockID, *block]
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
		p := &c.parts[i]
		p.max = int(bytes / cacheParts)
		// The number of blocks is bounded by what they take.
		p.lru, _ = simplelru.NewLRU(math.MaxInt, func(_ blockID, b *block) { p.bytes -= b.memory() })
	}
	return c
}

// memory returns the bytes that a block takes, roughly.
func (b *block) memory() int { return cap(b.data) + 4*len(b.offsets) + 256 }

func (c *blockCache) part(id blockID) *cachePart {
	return &c.parts[(id.last*0x9e3779b97f4a7c15+uint64(id.shard))>>32%cacheParts]
}

// get returns a block, nil when it is not cached.
func (c *blockCache) get(id blockID) *block {
	p := c.part(id)
	p.mu.Lock()
	b, ok := p.lru.Get(id)
	p.mu.Unlock()
	if !ok {
		c.misses.Add(1)
		return nil
	}
	c.hits.Add(1)
	return b
}

func (c *blockCache) add(b *block) {
	id := blockID{b.shard, b.last}
	p := c.part(id)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lru.Contains(id) {
		return
	}
	p.lru.Add(id, b)
	p.bytes += b.memory()
	for p.bytes > p.max {
		p.lru.RemoveOldest()
	}
}

// bytes returns what the blocks take.
func (c *blockCache) bytes() int {
	n := 0
	for i := range c.parts {
		p := &c.parts[i]
		p.mu.Lock()
		n += p.bytes
		p.mu.Unlock()
	}
	return n
}

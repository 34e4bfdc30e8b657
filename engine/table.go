package engine

import "sync/atomic"

// The containers of this file have one writer. Everybody else may read while it
// writes: what was added before the reader learnt of it is found, what is being
// added may be.

// A column is a list that grows and whose elements never move.
type column[T any] struct {
	chunks atomic.Pointer[[]*[columnChunk]T]
	n      uint32 // known to the writer only
}

const columnChunk = 1 << 10

// add makes room for one more element and returns its index.
func (c *column[T]) add() (uint32, *T) {
	i := c.n
	if i%columnChunk == 0 {
		var chunks []*[columnChunk]T
		if old := c.chunks.Load(); old != nil {
			chunks = *old
		}
		// Readers may hold the shorter slice; appending leaves what they see.
		chunks = append(chunks, new([columnChunk]T))
		c.chunks.Store(&chunks)
	}
	c.n++
	return i, c.at(i)
}

func (c *column[T]) at(i uint32) *T { return &(*c.chunks.Load())[i/columnChunk][i%columnChunk] }

// An arena keeps short texts of up to arenaChunk bytes.
type arena struct {
	chunks atomic.Pointer[[][]byte]

	// Known to the writer only.
	n    int    // chunks
	free []byte // of the last chunk
}

const arenaChunk = 64 << 10

// add copies a text and returns its place.
func (a *arena) add(s string) uint32 {
	if len(a.free) < len(s) {
		a.grow()
	}
	place := a.n*arenaChunk - len(a.free)
	a.free = a.free[copy(a.free, s):]
	return uint32(place)
}

func (a *arena) grow() {
	var chunks [][]byte
	if old := a.chunks.Load(); old != nil {
		chunks = *old
	}
	a.free = make([]byte, arenaChunk)
	chunks = append(chunks, a.free)
	a.chunks.Store(&chunks)
	a.n++
}

// at returns a text of n bytes, which never change.
func (a *arena) at(place uint32, n uint16) string {
	chunk := (*a.chunks.Load())[place/arenaChunk]
	return text(chunk[place%arenaChunk:][:n])
}

// size returns the bytes taken, roughly. Only the writer may ask.
func (a *arena) size() int { return a.n * arenaChunk }

// A table finds indexes by hash: open addressing with linear probing. A slot is
// the hash above the index plus one, zero while it is free.
type table struct {
	slots atomic.Pointer[[]atomic.Uint64]
	n     int // known to the writer only
}

const firstSlots = 64

// find returns the index under a hash for which match holds.
func (t *table) find(hash uint32, match func(i uint32) bool) (uint32, bool) {
	p := t.slots.Load()
	if p == nil {
		return 0, false
	}
	slots := *p
	mask := uint32(len(slots) - 1)
	for at := hash & mask; ; at = (at + 1) & mask {
		slot := slots[at].Load()
		if slot == 0 {
			return 0, false
		}
		if uint32(slot>>32) == hash && match(uint32(slot)-1) {
			return uint32(slot) - 1, true
		}
	}
}

// look fetches the first slot of a hash.
func (t *table) look(hash uint32) uint64 {
	p := t.slots.Load()
	if p == nil {
		return 0
	}
	return (*p)[hash&uint32(len(*p)-1)].Load()
}

// add puts an index under a hash. What it stands for must be complete.
func (t *table) add(hash uint32, i uint32) {
	p := t.slots.Load()
	if p == nil || 4*t.n >= 3*len(*p) {
		p = t.grow(p)
	}
	put(*p, uint64(hash)<<32|uint64(i+1))
	t.n++
}

// grow doubles the slots. Readers of the old ones miss what is added from now
// on, which they had not learnt of.
func (t *table) grow(old *[]atomic.Uint64) *[]atomic.Uint64 {
	n := firstSlots
	if old != nil {
		n = 2 * len(*old)
	}
	slots := make([]atomic.Uint64, n)
	if old != nil {
		for i := range *old {
			if slot := (*old)[i].Load(); slot != 0 {
				put(slots, slot)
			}
		}
	}
	t.slots.Store(&slots)
	return &slots
}

func put(slots []atomic.Uint64, slot uint64) {
	mask := uint32(len(slots) - 1)
	at := uint32(slot>>32) & mask
	for slots[at].Load() != 0 {
		at = (at + 1) & mask
	}
	slots[at].Store(slot)
}

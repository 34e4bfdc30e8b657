package service

import (
	"context"
	"hash/maphash"
	"sync"

	"github.com/leathq/leat"
)

// A cache keeps the states of the streams used last, and lets one caller at a
// time use a stream. It is divided so that its locks are held by few at a time.
type cache[S any] struct {
	seed  maphash.Seed
	parts []cachePart[S]
}

type cachePart[S any] struct {
	mu      sync.Mutex
	most    int // entries kept that nobody uses
	entries map[cacheKey]*entry[S]
	idle    entry[S] // ring of the entries that nobody uses, the one used last first
	idleLen int
}

type cacheKey struct {
	log    leat.Log
	stream string
}

// An entry is what is kept of a stream. Whoever has its turn owns state and
// version; the rest is guarded by the mutex of its part.
type entry[S any] struct {
	cacheKey
	turn    chan struct{} // holds one token, which is taken for a turn
	state   S
	version uint64 // 0 when nothing is known of the stream
	last    mark   // the event of that version
	kept    uint64 // version of the snapshot that was made of it last

	part       *cachePart[S]
	users      int // those who have the turn or wait for it
	prev, next *entry[S]
}

// cacheParts is a power of two well above the number of cores.
const cacheParts = 64

func newCache[S any](size int) *cache[S] {
	n := 1
	if size >= 16*cacheParts {
		n = cacheParts
	}
	c := &cache[S]{seed: maphash.MakeSeed(), parts: make([]cachePart[S], n)}
	for i := range c.parts {
		p := &c.parts[i]
		p.most = (size + n - 1) / n
		p.entries = make(map[cacheKey]*entry[S])
		p.idle.prev, p.idle.next = &p.idle, &p.idle
	}
	return c
}

// acquire waits for the caller's turn on a stream.
func (c *cache[S]) acquire(ctx context.Context, log leat.Log, stream string) (*entry[S], error) {
	key := cacheKey{log, stream}
	p := &c.parts[maphash.String(c.seed, stream)%uint64(len(c.parts))]
	p.mu.Lock()
	e := p.entries[key]
	switch {
	case e == nil:
		e = &entry[S]{cacheKey: key, turn: make(chan struct{}, 1), part: p}
		e.turn <- struct{}{}
		p.entries[key] = e
	case e.users == 0:
		p.take(e)
	}
	e.users++
	p.mu.Unlock()

	select {
	case <-e.turn:
		return e, nil
	case <-ctx.Done():
		c.leave(e)
		return nil, ctx.Err()
	}
}

// release ends the caller's turn.
func (c *cache[S]) release(e *entry[S]) {
	e.turn <- struct{}{}
	c.leave(e)
}

func (c *cache[S]) leave(e *entry[S]) {
	p := e.part
	p.mu.Lock()
	defer p.mu.Unlock()
	e.users--
	if e.users > 0 {
		return
	}
	e.prev, e.next = &p.idle, p.idle.next
	e.prev.next, e.next.prev = e, e
	p.idleLen++
	if p.idleLen > p.most {
		last := p.idle.prev
		p.take(last)
		delete(p.entries, last.cacheKey)
	}
}

// take removes e from the ring of idle entries.
func (p *cachePart[S]) take(e *entry[S]) {
	e.prev.next, e.next.prev = e.next, e.prev
	e.prev, e.next = nil, nil
	p.idleLen--
}

// forget returns e to a stream of which nothing is known.
func (e *entry[S]) forget() {
	var none S
	e.state, e.version, e.last = none, 0, mark{}
}

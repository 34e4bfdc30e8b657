package engine

import "strings"

// A headCache keeps the versions of streams lately written to, in two
// generations: when the younger has taken half of max, the older is dropped.
type headCache struct {
	max        int64 // bytes
	young, old map[string]*head
	bytes      int64 // of young, roughly
}

type head struct {
	stream  string
	version uint64
	dirty   bool // to be written with the group under way
}

// headBytes is what a head takes beside the bytes of its name, roughly.
const headBytes = 96

// get returns the head of a stream, nil when it is not cached.
func (c *headCache) get(stream string) *head {
	if h := c.young[stream]; h != nil {
		return h
	}
	h := c.old[stream]
	if h != nil {
		c.put(h)
	}
	return h
}

// add caches a head that get did not find.
func (c *headCache) add(stream string, version uint64) *head {
	h := &head{stream: strings.Clone(stream), version: version}
	c.put(h)
	return h
}

func (c *headCache) put(h *head) {
	if c.young == nil {
		c.young = make(map[string]*head)
	}
	c.young[h.stream] = h
	c.bytes += int64(len(h.stream) + headBytes)
}

// trim drops the older generation if it is time. What is dropped must be in the
// store already, so this is done between groups only.
func (c *headCache) trim() {
	if c.bytes > c.max/2 {
		c.old, c.young, c.bytes = c.young, nil, 0
	}
}

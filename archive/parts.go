package archive

import (
	"container/list"
	"errors"
	"io"
	"io/fs"
	"sync"
)

// maxPartBytes is how much of objects an archive keeps in memory, roughly:
// footers and Bloom filters.
const maxPartBytes = 64 << 20

// A partCache keeps what was read of objects, which never change. What has not
// been used for longest goes first.
type partCache struct {
	mu    sync.Mutex
	parts map[string]*list.Element
	used  list.List // of cachedPart, the latest first
	bytes int64
}

type cachedPart struct {
	key   string
	value any
	bytes int64
}

func (c *partCache) get(key string) (any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.parts[key]
	if e == nil {
		return nil, false
	}
	c.used.MoveToFront(e)
	return e.Value.(cachedPart).value, true
}

func (c *partCache) put(key string, value any, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.parts == nil {
		c.parts = make(map[string]*list.Element)
	}
	if c.parts[key] != nil {
		return
	}
	c.parts[key] = c.used.PushFront(cachedPart{key, value, bytes})
	c.bytes += bytes
	for c.bytes > maxPartBytes && c.used.Len() > 1 {
		last := c.used.Remove(c.used.Back()).(cachedPart)
		delete(c.parts, last.key)
		c.bytes -= last.bytes
	}
}

// missing says that an object, or a part of it, that should be there is not.
// The error still is the store's, too.
func missing(object string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.Join(corrupt(object, "is missing"), err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return corrupt(object, "is shorter than it was")
	}
	return err
}

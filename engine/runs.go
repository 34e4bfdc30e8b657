package engine

import (
	"slices"
	"sort"

	"github.com/cockroachdb/pebble/v2"
)

// runs returns the runs of a stream that end above a version, ascending.
func (m *memory) runs(stream string, after uint64) []run {
	var runs []run
	hash := hashStream(stream)
	for _, g := range slices.Backward(m.generations) {
		if i, ok := g.find(hash, stream); ok {
			g.eachRun(i, func(r run) bool {
				if r.version > after {
					runs = append(runs, r)
				}
				return r.version > after
			})
		}
	}
	slices.Reverse(runs)
	return runs
}

// split divides ascending runs into those that readers may see and those that
// are not durable yet.
func (v *view) split(runs []run) (durable, pending []run) {
	n := sort.Search(len(runs), func(i int) bool { return !v.durable(runs[i].shard, runs[i].seq) })
	return runs[:n], runs[n:]
}

// A runCursor moves over the runs of a stream: those in chunks, those in its
// head, and then those that memory has. The store may have what memory has, too.
type runCursor struct {
	stream string
	late   []run                            // of memory; and of the head, once that is needed
	head   func() ([]run, error)            // returns the runs of the head
	open   func() (*pebble.Iterator, error) // returns an iterator over the chunks

	headed bool             // late has the runs of the head
	stored *pebble.Iterator // what open returns; nil until it is needed
	chunk  []run            // at stored
	inLate bool
	at     int // in late or in chunk
	err    error
}

func (c *runCursor) close() {
	if c.stored != nil {
		_ = c.stored.Close() // its errors were seen when it was used
	}
}

// run returns the current run, false when there is none.
func (c *runCursor) run() (run, bool, error) {
	runs := c.chunk
	if c.inLate {
		runs = c.late
	}
	if c.err != nil || c.at < 0 || c.at >= len(runs) {
		return run{}, false, c.err
	}
	return runs[c.at], true, nil
}

// addHead puts the runs of the head before the late ones.
func (c *runCursor) addHead() {
	c.headed = true
	runs, err := c.head()
	if err != nil {
		c.err = err
		return
	}
	if len(c.late) > 0 {
		runs = runs[:sort.Search(len(runs), func(i int) bool { return runs[i].version >= c.late[0].firstVersion() })]
	}
	c.late = append(runs, c.late...)
	c.at += len(runs)
}

// inStore moves to the chunks, and reports whether that went well.
func (c *runCursor) inStore() bool {
	c.inLate = false
	if c.stored == nil && c.err == nil {
		c.stored, c.err = c.open()
	}
	return c.err == nil
}

// load reads the chunk at stored, if there is one.
func (c *runCursor) load() {
	c.chunk = c.chunk[:0]
	if c.err = c.stored.Error(); c.err != nil || !c.stored.Valid() {
		return
	}
	value, err := c.stored.ValueAndErr()
	if err == nil {
		c.chunk, err = parseChunk(c.chunk, c.stored.Key(), value)
	}
	c.err = err
}

// seek moves to the first run that ends with a version or above.
func (c *runCursor) seek(version uint64) {
	for {
		if len(c.late) > 0 && c.late[0].firstVersion() <= version {
			c.inLate = true
			c.at = sort.Search(len(c.late), func(i int) bool { return c.late[i].version >= version })
			return
		}
		if c.headed {
			break
		}
		c.addHead()
	}
	if c.inStore() {
		c.stored.SeekGE(appendRunKey(nil, c.stream, version))
		c.load()
		c.at = sort.Search(len(c.chunk), func(i int) bool { return c.chunk[i].version >= version })
		c.settle()
	}
}

func (c *runCursor) next() {
	c.at++
	if c.inLate || c.at < len(c.chunk) || !c.inStore() {
		return
	}
	c.stored.Next()
	c.load()
	c.at = 0
	c.settle()
}

// settle moves on from the chunks to the late runs when it is time.
func (c *runCursor) settle() {
	if c.err == nil && len(c.late) > 0 && (len(c.chunk) == 0 || c.chunk[len(c.chunk)-1].version >= c.late[0].version) {
		c.inLate, c.at = true, 0
	}
}

func (c *runCursor) prev() {
	if c.inLate && c.at == 0 && !c.headed {
		c.addHead()
	}
	if c.at--; c.at >= 0 {
		return
	}
	wasLate := c.inLate
	if !c.inStore() {
		return
	}
	if wasLate {
		c.stored.SeekLT(appendRunKey(nil, c.stream, c.late[0].firstVersion()))
	} else {
		c.stored.Prev()
	}
	c.load()
	c.at = len(c.chunk) - 1
}

// last returns the last run, false when there is none. It leaves the cursor
// nowhere.
func (c *runCursor) last() (run, bool, error) {
	if len(c.late) == 0 && !c.headed {
		c.addHead()
	}
	if n := len(c.late); n > 0 {
		return c.late[n-1], true, nil
	}
	if c.inStore() {
		c.stored.Last()
		c.load()
		c.at = len(c.chunk) - 1
	}
	return c.run()
}

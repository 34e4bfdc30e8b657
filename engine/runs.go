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

// A runCursor moves over the runs of a stream: those of the store, and then the
// late ones, which memory has. The store may have those too.
type runCursor struct {
	stream string
	late   []run
	open   func() (*pebble.Iterator, error)

	stored *pebble.Iterator // what open returns; nil until it is needed
	err    error            // of open
	inLate bool
	at     int // in late
}

func (c *runCursor) close() {
	if c.stored != nil {
		_ = c.stored.Close() // its errors were seen when it was used
	}
}

// inStore moves to the runs of the store, and reports whether that went well.
func (c *runCursor) inStore() bool {
	c.inLate = false
	if c.stored == nil && c.err == nil {
		c.stored, c.err = c.open()
	}
	return c.err == nil
}

// run returns the current run, false when there is none.
func (c *runCursor) run() (run, bool, error) {
	if c.inLate {
		if c.at < len(c.late) {
			return c.late[c.at], true, nil
		}
		return run{}, false, nil
	}
	if c.err != nil {
		return run{}, false, c.err
	}
	if !c.stored.Valid() {
		return run{}, false, c.stored.Error()
	}
	value, err := c.stored.ValueAndErr()
	if err != nil {
		return run{}, false, err
	}
	r, err := parseRun(c.stored.Key(), value)
	return r, err == nil, err
}

// seek moves to the first run that ends with a version or above.
func (c *runCursor) seek(version uint64) {
	if len(c.late) > 0 && c.late[0].firstVersion() <= version {
		c.inLate = true
		c.at = sort.Search(len(c.late), func(i int) bool { return c.late[i].version >= version })
		return
	}
	if c.inStore() {
		c.stored.SeekGE(appendRunKey(nil, c.stream, version))
		c.settle()
	}
}

func (c *runCursor) next() {
	if c.inLate {
		c.at++
	} else if c.inStore() {
		c.stored.Next()
		c.settle()
	}
}

// settle moves on from the store to the late runs when it is time.
func (c *runCursor) settle() {
	if len(c.late) == 0 || c.stored.Error() != nil {
		return
	}
	if c.stored.Valid() {
		if _, version, err := parseRunKey(c.stored.Key()); err != nil || version < c.late[0].version {
			return
		}
	}
	c.inLate, c.at = true, 0
}

func (c *runCursor) prev() {
	switch {
	case c.inLate && c.at > 0:
		c.at--
	case c.inLate:
		if c.inStore() {
			c.stored.SeekLT(appendRunKey(nil, c.stream, c.late[0].version))
		}
	case c.inStore():
		c.stored.Prev()
	}
}

// last returns the last run, false when there is none. It leaves the cursor
// nowhere.
func (c *runCursor) last() (run, bool, error) {
	if n := len(c.late); n > 0 {
		return c.late[n-1], true, nil
	}
	if c.inStore() {
		c.stored.Last()
	}
	return c.run()
}

package engine

// An ahead holds the cached blocks of the runs that are read next. Each lies
// somewhere in memory, and what it costs to read an event is waiting for that: to
// look for all of them first lets the processor wait for several at a time.
type ahead struct {
	from   int // in runCursor.late, of the first of the blocks
	blocks [16]*block
	n      int
	sum    byte // of what was looked at, so that it is
}

// look fetches the blocks of the next runs, if that was not done yet.
func (a *ahead) look(c *runCursor, cache *blockCache) {
	if !c.inLate || c.at >= a.from && c.at < a.from+a.n || c.at+1 >= len(c.late) {
		return
	}
	a.from, a.n = c.at, min(len(c.late)-c.at, len(a.blocks))
	runs := c.late[a.from : a.from+a.n]
	var at [len(a.blocks)]uint32
	for i := range runs {
		a.blocks[i] = nil
		if runs[i].block > 0 {
			a.blocks[i] = cache.find(blockID{runs[i].shard, runs[i].block})
		}
	}
	for i, b := range a.blocks[:a.n] {
		if b != nil && b.holds(runs[i].firstSeq()) {
			at[i] = b.offsets[runs[i].firstSeq()-b.first]
		}
	}
	for i, b := range a.blocks[:a.n] {
		if at[i] > 0 {
			a.sum += b.data[at[i]]
		}
	}
}

// block returns the block of the current run, nil when it was not cached.
func (a *ahead) block(c *runCursor, cache *blockCache) *block {
	if !c.inLate || c.at < a.from || c.at >= a.from+a.n {
		return nil
	}
	b := a.blocks[c.at-a.from]
	if b != nil {
		cache.note(b)
	}
	return b
}

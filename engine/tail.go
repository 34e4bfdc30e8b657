package engine

import (
	"slices"

	"github.com/leathq/leat"
)

// A tail is where a shard goes on.
type tail struct {
	leat.Shard
	parents []*tail // those that Parents names
	number  uint32
	lastAt  int64  // of its last event ever, 0 when there was none
	group   uint64 // number of the first group of which it does not know, as it was stored
	bell    *bell
	touched bool
	current *shardView // as readers will see it once the groups so far are durable

	pending []*entry // events of the group under way that are in no block yet
	bytes   int      // of the block they make
}

// floor returns the At that the next event of a shard has to exceed.
func (t *tail) floor() int64 {
	at := t.lastAt
	for _, p := range t.parents {
		at = max(at, p.floor())
	}
	return at
}

// trimmedWhole reports whether a shard, and all it descends from, keep nothing.
func (t *tail) trimmedWhole() bool {
	return t.Oldest > t.Head && !slices.ContainsFunc(t.parents, func(p *tail) bool { return !p.trimmedWhole() })
}

// startsTrimmed reports whether a shard or one it descends from has lost its
// beginning.
func (t *tail) startsTrimmed() bool {
	return t.Oldest > 1 || slices.ContainsFunc(t.parents, (*tail).startsTrimmed)
}

// descends reports whether a shard continues another, directly or not.
func (t *tail) descends(from *tail) bool {
	return slices.ContainsFunc(t.parents, func(p *tail) bool { return p == from || p.descends(from) })
}

package leat

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// A Config says what a log is when it is created. It never changes, except by
// splitting. The zero Config is a log with a new ID and one shard that can be
// split.
type Config struct {
	// ID is 1 to 64 letters, digits, "-", "_" or ".", and neither "." nor "..",
	// because it names a folder; a UUIDv7 when empty.
	ID string

	// Single makes a log of one shard that is never split, so that one Append
	// may write any streams.
	Single bool

	// Shards is the layout, lineage included, parents before children; one shard
	// over all hash keys when nil. See EvenShards. Oldest and Head are ignored.
	Shards []Shard

	// Ended holds the epochs before this one, oldest first. The log's epoch is
	// one more than the last of them, or 1.
	Ended []Epoch
}

// New returns what Log.Info and Log.Shards say of a log that is created with c
// at a moment, or an [*InvalidError].
func (c Config) New(created time.Time) (Info, []Shard, error) {
	fail := func(field, limit, got string) (Info, []Shard, error) {
		return Info{}, nil, &InvalidError{Field: field, Limit: limit, Got: got}
	}
	info := Info{ID: c.ID, Epoch: 1, Single: c.Single, Created: created.UTC(), Ended: slices.Clone(c.Ended)}
	for i := range info.Ended {
		info.Ended[i].Heads = maps.Clone(info.Ended[i].Heads)
	}
	if info.ID == "" {
		info.ID = NewID()
	}
	if !logID(info.ID) {
		return fail("log ID", `1 to 64 letters, digits, "-", "_" or ".", not "." or ".."`, brief(info.ID))
	}
	for i, e := range c.Ended {
		if e.Number < info.Epoch {
			return fail(fmt.Sprintf("ended[%d]", i), "an epoch above those before it, from 1", fmt.Sprint(e.Number))
		}
		info.Epoch = e.Number + 1
	}
	if c.Shards == nil {
		c.Shards = EvenShards(1)
	}
	if c.Single && len(c.Shards) != 1 {
		return fail("shards", "one in a single log", fmt.Sprint(len(c.Shards)))
	}
	shards := make([]Shard, len(c.Shards))
	parents := make(map[ShardID]bool)
	for i, s := range c.Shards {
		if want := ShardNumber(i); s.ID != want {
			return fail(fmt.Sprintf("shards[%d].id", i), fmt.Sprintf("%q", want), brief(string(s.ID)))
		}
		for _, p := range s.Parents {
			at := slices.IndexFunc(shards[:i], func(s Shard) bool { return s.ID == p })
			if at < 0 || !shards[at].Closed {
				return fail(fmt.Sprintf("shards[%d].parents", i), "closed shards listed before it", brief(string(p)))
			}
			parents[p] = true
		}
		s.Parents, s.Oldest, s.Head = slices.Clone(s.Parents), 1, 0
		shards[i] = s
	}
	for i, s := range shards {
		if s.Closed && !parents[s.ID] {
			return fail(fmt.Sprintf("shards[%d]", i), "open, or the parent of another", "a closed shard without children")
		}
	}
	if !covered(shards) {
		return fail("shards", "open shards that own each hash key exactly once", "gaps or overlaps")
	}
	return info, shards, nil
}

// covered reports whether the open shards own each hash key exactly once.
func covered(shards []Shard) bool {
	open := slices.DeleteFunc(slices.Clone(shards), func(s Shard) bool { return s.Closed })
	slices.SortFunc(open, func(a, b Shard) int { return a.From.Compare(b.From) })
	for i, s := range open {
		switch {
		case s.From.Compare(s.To) > 0,
			i == 0 && s.From != HashKey{},
			i > 0 && (s.From == HashKey{} || s.From.pred() != open[i-1].To):
			return false
		}
	}
	return len(open) > 0 && open[len(open)-1].To == MaxHashKey
}

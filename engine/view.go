package engine

import (
	"fmt"
	"slices"
	"sync"

	"github.com/leathq/leat"
)

// A view is what readers may see: the shards with their durable heads. It never
// changes; the syncer replaces it when a group is durable. A shard's number is
// its index.
type view struct {
	shards []*shardView
	end    blockEnd // of the groups that hold it
}

type shardView struct {
	leat.Shard
	bell *bell // rings when a later view has more of the shard, or its end
}

// find returns a shard and its number.
func (v *view) find(id leat.ShardID) (uint32, *shardView, bool) {
	i := slices.IndexFunc(v.shards, func(s *shardView) bool { return s.ID == id })
	if i < 0 {
		return 0, nil, false
	}
	return uint32(i), v.shards[i], true
}

// durable reports whether readers may see the event of a sequence.
func (v *view) durable(shard uint32, seq uint64) bool {
	return int(shard) < len(v.shards) && seq <= v.shards[shard].Head
}

// oldest returns the oldest sequence kept of a shard, 1 when there is none of
// that number: then nothing of it will be found.
func (v *view) oldest(shard uint32) uint64 {
	if int(shard) < len(v.shards) {
		return v.shards[shard].Oldest
	}
	return 1
}

func (l *Log) noShard(id leat.ShardID) error {
	return fmt.Errorf("shard %q of log %s: %w", id, l.info.ID, leat.ErrNotFound)
}

func cloneShard(s leat.Shard) leat.Shard {
	s.Parents = slices.Clone(s.Parents)
	return s
}

// A bell wakes everyone who listens, once.
type bell struct {
	mu sync.Mutex
	ch chan struct{} // nil while nobody listens
}

// listen returns a channel that is closed at the next ring. Look whether what
// you wait for is there already after calling it, not before.
func (b *bell) listen() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}

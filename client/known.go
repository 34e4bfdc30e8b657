package client

import (
	"sync"

	"github.com/leathq/leat"
)

// known is what a client has seen of the shards of its log: of each, a sequence
// that is not above the head.
type known struct {
	mu     sync.Mutex
	shards []leat.Shard
}

// A place is where a stream's next event was to be recorded, above Head, when an
// Append began.
type place struct {
	shard leat.ShardID
	head  uint64
}

// learn takes in shards, parents before children.
func (k *known) learn(shards []leat.Shard) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range shards {
		i := k.find(s.ID)
		if i < 0 {
			k.shards = append(k.shards, s)
			i = len(k.shards) - 1
		}
		k.shards[i].Closed = k.shards[i].Closed || s.Closed
		k.shards[i].Head = max(k.shards[i].Head, s.Head)
		for _, p := range s.Parents {
			if j := k.find(p); j >= 0 {
				k.shards[j].Closed = true
			}
		}
	}
}

// see takes in that a shard reaches up to a sequence.
func (k *known) see(shard leat.ShardID, seq uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if i := k.find(shard); i >= 0 {
		k.shards[i].Head = max(k.shards[i].Head, seq)
	}
}

// latest returns the last shard that is known.
func (k *known) latest() leat.ShardID {
	k.mu.Lock()
	defer k.mu.Unlock()
	var last leat.ShardID
	for _, s := range k.shards {
		last = max(last, s.ID) // numbers are padded
	}
	return last
}

// place returns where events under a key will be recorded, as far as is known.
func (k *known) place(key leat.HashKey) place {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := leat.OpenShard(k.shards, key)
	if i < 0 {
		return place{}
	}
	return place{k.shards[i].ID, k.shards[i].Head}
}

// after reports whether n events that r says are recorded were recorded, in one
// Append, after p was taken.
func (k *known) after(p place, r leat.Receipt, n int) bool {
	if r.Last-r.First+1 != uint64(n) {
		return false
	}
	if r.Shard == p.shard {
		return r.First > p.head
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.find(r.Shard) < 0 // a shard that came later
}

func (k *known) find(shard leat.ShardID) int {
	for i := range k.shards {
		if k.shards[i].ID == shard {
			return i
		}
	}
	return -1
}

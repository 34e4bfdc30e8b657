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

	// told holds where the last Appends begin that were told as recorded, each at
	// its sequence modulo the length.
	told [1024]recorded
}

// recorded says where an Append begins that was told as recorded. It is claimed
// when the server had called it a duplicate.
type recorded struct {
	place
	claimed bool
}

// A place is a sequence in a shard.
type place struct {
	shard leat.ShardID
	seq   uint64
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

// place returns the place above which events under a key will be recorded, as
// far as is known.
func (k *known) place(key leat.HashKey) place {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := leat.OpenShard(k.shards, key)
	if i < 0 {
		return place{}
	}
	return place{k.shards[i].ID, k.shards[i].Head}
}

// record takes in where an Append of this client stands. It reports false when
// another has claimed that place: one of the same events, whose answer came
// first although this one was recorded.
func (k *known) record(r leat.Receipt) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	told := &k.told[r.First%uint64(len(k.told))]
	if told.claimed && told.place == (place{r.Shard, r.First}) {
		told.claimed = false
		return false
	}
	*told = recorded{place: place{r.Shard, r.First}}
	return true
}

// claim reports whether the n events of an Append that was lost, and which r says
// are recorded, were recorded by it: in one Append, after p was taken, and not
// by another call of this client that was told so. Then it is told so.
func (k *known) claim(p place, r leat.Receipt, n int) bool {
	if r.Last-r.First+1 != uint64(n) {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	told := &k.told[r.First%uint64(len(k.told))]
	if told.place == (place{r.Shard, r.First}) {
		return false
	}
	if r.Shard == p.shard && r.First <= p.seq || r.Shard != p.shard && k.find(r.Shard) >= 0 { // else a shard that came later
		return false
	}
	*told = recorded{place{r.Shard, r.First}, true}
	return true
}

func (k *known) find(shard leat.ShardID) int {
	for i := range k.shards {
		if k.shards[i].ID == shard {
			return i
		}
	}
	return -1
}

package service

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leathq/leat"
)

// A ledger is what an application tells of itself while it runs.
type ledger struct {
	name    string
	process string // as leases and reports name it

	mu          sync.Mutex
	done        leat.Checkpoint // it is done with everything up to here
	heads       map[leat.ShardID]uint64
	closed      map[leat.ShardID]bool
	held        map[leat.ShardID]bool
	tallies     map[leat.ShardID]*tally // what concerns no shard is under ""
	peeked      map[leat.ShardID]peek
	saved       map[leat.ShardID]uint64 // what the store holds of shards that the process works on
	replay      leat.Checkpoint         // a rebuild goes quietly through everything up to here
	replayKnown bool
	pace        pace
	waiting     uint64 // parked events
	paused      bool
	changed     chan struct{} // closed when done moves and anyone waits
	waiters     int
}

// A peek is a look at the event after a sequence.
type peek struct {
	after uint64
	at    time.Time // zero when there was none to see
}

func newLedger(name, process string) *ledger {
	return &ledger{
		name: name, process: process,
		heads: make(map[leat.ShardID]uint64), closed: make(map[leat.ShardID]bool), held: make(map[leat.ShardID]bool),
		tallies: make(map[leat.ShardID]*tally), peeked: make(map[leat.ShardID]peek), saved: make(map[leat.ShardID]uint64), changed: make(chan struct{}),
	}
}

// tally returns the tally of a shard, empty for what concerns none.
func (l *ledger) tally(shard leat.ShardID) *tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tallies[shard]
	if t == nil {
		t = &tally{}
		l.tallies[shard] = t
	}
	return t
}

// holds tells whether the process works on a shard.
func (l *ledger) holds(shard leat.ShardID, held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[shard] = held; !held && l.tallies[shard] != nil {
		l.tallies[shard].holdsOldest(time.Time{})
	}
}

// savedAt tells what the store holds of a shard that the process works on.
func (l *ledger) savedAt(shard leat.ShardID, seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.saved[shard] = seq
}

// savedOf returns what the store held last of the shards that the process works
// on.
func (l *ledger) savedOf() map[leat.ShardID]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := make(map[leat.ShardID]uint64, len(l.held))
	for shard, is := range l.held {
		if is {
			held[shard] = l.saved[shard]
		}
	}
	return held
}

// stands tells where the application stands, of the shards that other processes
// work on.
func (l *ledger) stands(at leat.Checkpoint, elsewhere func(leat.ShardID) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done.Log, l.done.Epoch = at.Log, at.Epoch
	for shard, seq := range at.Seqs {
		if elsewhere(shard) {
			l.done.Set(shard, seq)
			l.heads[shard] = max(l.heads[shard], seq)
		}
	}
	l.wake()
}

// moved tells that it is done with a shard up to seq, or with all of it.
func (l *ledger) moved(shard leat.ShardID, seq uint64, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed[shard] = closed
	if known, ok := l.done.Seqs[shard]; ok && known == seq {
		return
	}
	l.done.Set(shard, seq)
	l.heads[shard] = max(l.heads[shard], seq)
	l.wake()
}

// wake is called with mu locked.
func (l *ledger) wake() {
	if l.waiters > 0 {
		l.waiters = 0
		close(l.changed)
		l.changed = make(chan struct{})
	}
}

// sawShards tells the heads of the log, about once a second.
func (l *ledger) sawShards(shards []leat.Shard) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range shards {
		l.heads[s.ID] = max(l.heads[s.ID], s.Head)
	}
	var done uint64
	for _, t := range l.tallies {
		done += t.seen.Load() + t.filtered.Load()
	}
	l.pace.sample(time.Now(), done)
}

// unseen returns the shards of which the oldest event that is not done with has
// to be looked at in the log, to know how old it is: nobody has it in hand. It
// returns them with the sequence before the event.
func (l *ledger) unseen() map[leat.ShardID]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	unseen := make(map[leat.ShardID]uint64)
	for shard, head := range l.heads {
		next := l.done.Seqs[shard]
		if next >= head || !l.held[shard] && !l.paused {
			continue
		}
		if t := l.tallies[shard]; t != nil && t.oldest.Load() != 0 {
			continue
		}
		if p, ok := l.peeked[shard]; !ok || p.after != next {
			unseen[shard] = next
		}
	}
	return unseen
}

// sawOldest tells when the event after a sequence was recorded.
func (l *ledger) sawOldest(shard leat.ShardID, after uint64, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.peeked[shard] = peek{after, at}
}

// setPaused tells whether the application is to stand still.
func (l *ledger) setPaused(paused bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.paused && !paused {
		l.pace = pace{} // the time it stood still does not count
	}
	l.paused = paused
}

func (l *ledger) isPaused() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.paused
}

// countedWaiting tells how many parked events wait.
func (l *ledger) countedWaiting(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = n
}

func (l *ledger) snapshot() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Status{Name: l.name, Owner: l.process, Waiting: l.waiting, Paused: l.paused, Rate: l.pace.rate()}
	for shard, t := range l.tallies {
		s.Tally = s.Tally.Plus(t.sum())
		if failed, at := t.lastError(); at.After(s.LastAt) {
			s.LastError, s.LastAt = failed, at
		}
		if _, known := l.heads[shard]; !known && shard != "" {
			l.heads[shard] = l.done.Seqs[shard]
		}
	}
	for shard, head := range l.heads {
		s.Shards = append(s.Shards, l.shard(shard, head))
	}
	slices.SortFunc(s.Shards, func(a, b ShardStatus) int { return strings.Compare(string(a.ID), string(b.ID)) })
	s.Sum()
	return s
}

// shard is called with mu locked.
func (l *ledger) shard(id leat.ShardID, head uint64) ShardStatus {
	s := ShardStatus{
		ID: id, Held: l.held[id], Next: l.done.Seqs[id], Head: head, Closed: l.closed[id], Replay: l.replay.Seqs[id],
	}
	t := l.tallies[id]
	if t != nil {
		s.Tally = t.sum()
	}
	if s.Lag() == 0 {
		return s
	}
	if t != nil && t.oldest.Load() != 0 {
		s.Oldest = time.Unix(0, t.oldest.Load()).UTC()
	} else if p := l.peeked[id]; p.after == s.Next {
		s.Oldest = p.at
	}
	return s
}

// wait waits until the application is done with everything up to a checkpoint.
// ended is closed when the App no longer runs.
func (l *ledger) wait(ctx context.Context, to leat.Checkpoint, ended <-chan struct{}) error {
	for {
		behind, changed, err := l.compare(to)
		if err != nil || behind == "" {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for %q: it is at %s: %w", l.name, behind, ctx.Err())
		case <-ended:
			return fmt.Errorf("wait for %q: it is at %s: %w", l.name, behind, errEnded)
		}
	}
}

// compare names a shard in which the application has not reached to, empty when
// there is none, and returns a channel that is closed when it has moved.
func (l *ledger) compare(to leat.Checkpoint) (behind string, changed <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done.Log != "" && to.Log != "" && l.done.Log != to.Log {
		return "", nil, &leat.DivergedError{Reason: fmt.Sprintf("waiting for log %s, but %q follows log %s", to.Log, l.name, l.done.Log)}
	}
	for shard, seq := range to.Seqs {
		if l.done.Seqs[shard] < seq {
			l.waiters++
			return fmt.Sprintf("%s=%d, not yet %d", shard, l.done.Seqs[shard], seq), l.changed, nil
		}
	}
	return "", nil, nil
}

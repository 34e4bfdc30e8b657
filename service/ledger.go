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
	name string

	mu      sync.Mutex
	status  Status
	done    leat.Checkpoint // it is done with everything up to here
	heads   map[leat.ShardID]uint64
	closed  map[leat.ShardID]bool
	changed chan struct{} // closed when done moves and anyone waits
	waiters int
}

func newLedger(name string) *ledger {
	return &ledger{
		name: name, heads: make(map[leat.ShardID]uint64), closed: make(map[leat.ShardID]bool), changed: make(chan struct{}),
	}
}

// count adds to the counts of handled events.
func (l *ledger) count(seen, handled, skipped, parked int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.Seen += uint64(seen)
	l.status.Handled += uint64(handled)
	l.status.Skipped += uint64(skipped)
	l.status.Parked += uint64(parked)
}

// forwarded counts events that a Forwarder's destination has taken.
func (l *ledger) forwarded(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.Forwarded += uint64(n)
}

// unparked counts a parked event that is handled at last.
func (l *ledger) unparked() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.Unparked++
}

func (l *ledger) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.Failures++
	l.status.LastError, l.status.LastAt = err.Error(), time.Now().UTC()
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
	if closed {
		l.closed[shard] = true
	}
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

// sawShards tells the heads of the log.
func (l *ledger) sawShards(shards []leat.Shard) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range shards {
		l.heads[s.ID] = max(l.heads[s.ID], s.Head)
	}
}

func (l *ledger) snapshot() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.status
	s.Name = l.name
	for shard, head := range l.heads {
		next := l.done.Seqs[shard]
		s.Shards = append(s.Shards, ShardStatus{ID: shard, Next: next, Head: head, Closed: l.closed[shard]})
		s.Lag += head - next
	}
	slices.SortFunc(s.Shards, func(a, b ShardStatus) int { return strings.Compare(string(a.ID), string(b.ID)) })
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

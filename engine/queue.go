package engine

import (
	"sync"

	"github.com/leathq/leat"
)

const (
	// maxGroupBytes is the size at which a group takes no further operation.
	maxGroupBytes = 4 << 20

	// halfBytes is the size from which groups are kept to half of all that there
	// is. The disk syncs what is smaller in about the same time.
	halfBytes = 128 << 10

	// aloneBytes is the size from which an operation has a group to itself. It
	// then finds in the store all that was done before it.
	aloneBytes = maxGroupBytes
)

// An operation changes the log. The committer applies one after another; each
// sees what those before it did. One that returns an error has done nothing.
type operation interface {
	apply(c *committer) error
}

// A group is what becomes durable together.
type group struct {
	ops   []operation // nil where one was taken back
	bytes int
	taken bool // by the committer; guarded by the queue

	// Set by the committer.
	file    *handle // to be synced; nil when nothing was written
	number  uint64  // of the group in the files of blocks
	view    *view   // what readers see once it is durable
	changed []*bell // of shards that have something new
	events  uint64  // that it records
	written uint64  // bytes of their blocks
	refused bool    // nothing was tried, errs says why

	// Set when done is closed.
	errs []error // of ops
	done chan struct{}
}

// A queue holds the groups that wait for the committer.
//
// It makes groups of half of what there is: while the disk syncs one half, the
// processors work for the other. Were the committer given whatever is there, all
// who append would soon be in step. What one sync answers then comes back as one
// group, and the processors wait while the disk works, and the other way round.
type queue struct {
	mu       sync.Mutex
	ripe     sync.Cond // there may be a group to take, or the queue closed
	groups   []*group  // the last one still takes operations
	waiting  int       // bytes of groups
	underWay int       // bytes of those taken and not answered
	closed   bool
}

func newQueue() *queue {
	q := &queue{}
	q.ripe.L = &q.mu
	return q
}

// add puts an operation that writes about so many bytes into a group and
// returns the group and its place there.
func (q *queue) add(op operation, bytes int) (*group, int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, 0, leat.ErrClosed
	}
	n := len(q.groups)
	if n == 0 || bytes >= aloneBytes || q.full(q.groups[n-1]) {
		q.groups = append(q.groups, &group{done: make(chan struct{}), ops: make([]operation, 0, 64)})
		n++
	}
	g := q.groups[n-1]
	g.ops = append(g.ops, op)
	g.bytes += bytes
	q.waiting += bytes
	q.signal()
	return g, len(g.ops) - 1, nil
}

// full reports whether a group takes no further operation.
func (q *queue) full(g *group) bool {
	return g.bytes >= min(maxGroupBytes, max(halfBytes, (q.waiting+q.underWay)/2))
}

// isRipe reports whether the first group is to be taken: it takes no further
// operation, or little is under way.
func (q *queue) isRipe() bool {
	return len(q.groups) > 1 || len(q.groups) == 1 && (q.closed || q.underWay <= halfBytes || q.full(q.groups[0]))
}

// signal wakes the committer if there is a group to take.
func (q *queue) signal() {
	if q.isRipe() {
		q.ripe.Signal()
	}
}

func (q *queue) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// take waits for a group and removes it; nil when the queue is closed and
// empty. Call answered once the group is under way no more.
func (q *queue) take() *group {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.isRipe() {
		if q.closed {
			return nil
		}
		q.ripe.Wait()
	}
	g := q.groups[0]
	q.groups[0] = nil
	q.groups = q.groups[1:]
	g.taken = true
	q.waiting -= g.bytes
	q.underWay += g.bytes
	return g
}

// answered notes that a group is under way no more.
func (q *queue) answered(g *group) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.underWay -= g.bytes
	q.signal()
}

// takeBack removes an operation that the committer has not come to, and reports
// whether it did.
func (q *queue) takeBack(g *group, i int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if g.taken {
		return false
	}
	g.ops[i] = nil
	return true
}

// close refuses further operations. What is queued is still taken.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.ripe.Signal()
}

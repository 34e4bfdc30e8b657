package engine

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/leathq/leat"
)

// taken starts to take a group, and returns a function that says which one it
// was: nil while there is none to take.
func taken(q *queue) func() *group {
	var mu sync.Mutex
	var got *group
	go func() {
		g := q.take()
		mu.Lock()
		defer mu.Unlock()
		got = g
	}()
	return func() *group {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return got
	}
}

func add(t *testing.T, q *queue, bytes ...int) {
	t.Helper()
	for _, n := range bytes {
		if _, _, err := q.add(nil, n); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSmallGroups: what is small is taken at once, whatever is under way.
func TestSmallGroups(t *testing.T) {
	q := newQueue()
	for i := range 5 {
		add(t, q, 100)
		if g := q.take(); g.bytes != 100 {
			t.Errorf("group %d has %d bytes, want the one operation of 100", i, g.bytes)
		}
	}
}

// TestHalves: of many large operations one half is taken, and the other one
// before the first is answered.
func TestHalves(t *testing.T) {
	const large = halfBytes / 2
	q := newQueue()
	add(t, q, large, large, large, large, large, large, large, large)
	var sizes []int
	for sum := 0; sum < 8*large; sum += sizes[len(sizes)-1] {
		sizes = append(sizes, q.take().bytes)
	}
	for _, n := range sizes {
		if n > 4*large {
			t.Errorf("groups of %v bytes, want none of more than half of %d", sizes, 8*large)
		}
	}
}

// TestGatherWhileUnderWay: what comes while a large group is under way waits until
// there is as much of it, or the group is answered.
func TestGatherWhileUnderWay(t *testing.T) {
	const large = 2 * halfBytes
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		add(t, q, large)
		first := q.take()

		add(t, q, large/2)
		next := taken(q)
		if g := next(); g != nil {
			t.Fatalf("a group of %d bytes was taken while one of %d was under way", g.bytes, first.bytes)
		}
		add(t, q, large/2)
		second := next()
		if second == nil || second.bytes != large {
			t.Fatalf("took %v, want the group that has become as large as what is under way", second)
		}

		add(t, q, 1)
		next = taken(q)
		q.answered(first)
		if g := next(); g != nil {
			t.Fatalf("a group of %d bytes was taken while one of %d was under way", g.bytes, second.bytes)
		}
		q.answered(second)
		if g := next(); g == nil || g.bytes != 1 {
			t.Fatalf("took %v, want what there is when nothing is under way", g)
		}
	})
}

// TestFullGroup: a group that takes no further operation is taken whatever is under
// way.
func TestFullGroup(t *testing.T) {
	q := newQueue()
	add(t, q, 2*maxGroupBytes)
	q.take()
	add(t, q, maxGroupBytes)
	if g := q.take(); g.bytes != maxGroupBytes {
		t.Errorf("took a group of %d bytes, want the full one", g.bytes)
	}
}

// TestQueueCloses: what is queued is taken, then nothing more.
func TestQueueCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		add(t, q, 2*halfBytes)
		q.take()
		add(t, q, 1)
		next := taken(q)
		if g := next(); g != nil {
			t.Fatalf("a group of %d bytes was taken too early", g.bytes)
		}
		q.close()
		if g := next(); g == nil || g.bytes != 1 {
			t.Fatalf("took %v, want what was queued", g)
		}
		if g := q.take(); g != nil {
			t.Errorf("took %v of a queue that is closed and empty", g)
		}
		if _, _, err := q.add(nil, 1); !errors.Is(err, leat.ErrClosed) {
			t.Errorf("add to a closed queue: %v, want ErrClosed", err)
		}
	})
}

package service

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/leathq/leat"
)

// A tally counts what is done with the events of a shard. It is safe for
// concurrent use, and cheap: nobody waits for another to count.
type tally struct {
	seen, filtered, handled, skipped, forwarded atomic.Uint64
	toParked, unpark, failures                  atomic.Uint64

	// oldest is when the oldest event in hand was recorded, in nanoseconds since
	// 1970; 0 when none is in hand.
	oldest atomic.Int64

	mu     sync.Mutex
	last   string    // error
	lastAt time.Time // when that was
}

// count adds to what became of events.
func (t *tally) count(seen, handled, skipped, parked int) {
	add(&t.seen, seen)
	add(&t.handled, handled)
	add(&t.skipped, skipped)
	add(&t.toParked, parked)
}

// passed counts what was done with in a batch: the events between two sequences,
// of which some were seen. The others the filter did not let through.
func (t *tally) passed(after, next uint64, seen int) {
	if passed := next - min(after, next); passed > uint64(seen) {
		t.filtered.Add(passed - uint64(seen))
	}
}

func add(n *atomic.Uint64, more int) {
	if more > 0 {
		n.Add(uint64(more))
	}
}

// forward counts events that a Forwarder's destination has taken.
func (t *tally) forward(n int) { add(&t.forwarded, n) }

// unparked counts a parked event that is handled at last.
func (t *tally) unparked() { t.unpark.Add(1) }

// failed counts an attempt that failed.
func (t *tally) failed(err error) {
	t.failures.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last, t.lastAt = err.Error(), time.Now().UTC()
}

func (t *tally) lastError() (string, time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last, t.lastAt
}

// holdsOldest tells when the oldest event in hand was recorded: the zero time
// when none is.
func (t *tally) holdsOldest(at time.Time) {
	var ns int64
	if !at.IsZero() {
		ns = at.UnixNano()
	}
	t.oldest.Store(ns)
}

func (t *tally) sum() leat.Tally {
	return leat.Tally{
		Seen: t.seen.Load(), Filtered: t.filtered.Load(), Handled: t.handled.Load(), Skipped: t.skipped.Load(),
		Forwarded: t.forwarded.Load(), Parked: t.toParked.Load(), Unparked: t.unpark.Load(), Failures: t.failures.Load(),
	}
}

// A pace measures how many events a second are done with.
type pace struct {
	samples [10]paceSample
	n       int // samples taken
}

type paceSample struct {
	at   time.Time
	done uint64
}

// sample takes a sample, about once a second.
func (p *pace) sample(at time.Time, done uint64) {
	p.samples[p.n%len(p.samples)] = paceSample{at, done}
	p.n++
}

// rate returns the events a second between the oldest and the latest sample.
func (p *pace) rate() float64 {
	if p.n < 2 {
		return 0
	}
	last := p.samples[(p.n-1)%len(p.samples)]
	first := p.samples[max(0, p.n-len(p.samples))%len(p.samples)]
	if took := last.at.Sub(first.at).Seconds(); took > 0 {
		return float64(last.done-first.done) / took
	}
	return 0
}

package engine

import (
	"sync/atomic"
	"time"
)

// A Latency is how long calls of one kind have taken since the log was opened.
type Latency struct {
	Count uint64
	Sum   time.Duration
	Max   time.Duration

	// Within says, for each of LatencyBounds, how many took at most that long.
	Within [len(LatencyBounds)]uint64
}

// LatencyBounds reach from what a good disk needs for one sync to where one is
// about to fail.
var LatencyBounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second,
}

// A latency is a Latency that grows. Safe for concurrent use.
type latency struct {
	sum, max atomic.Int64 // nanoseconds
	counts   [len(LatencyBounds) + 1]atomic.Uint64
}

func (l *latency) note(took time.Duration) {
	i := 0
	for i < len(LatencyBounds) && took > LatencyBounds[i] {
		i++
	}
	l.counts[i].Add(1)
	l.sum.Add(int64(took))
	for {
		longest := l.max.Load()
		if int64(took) <= longest || l.max.CompareAndSwap(longest, int64(took)) {
			return
		}
	}
}

// read returns what was noted so far.
func (l *latency) read() Latency {
	r := Latency{Sum: time.Duration(l.sum.Load()), Max: time.Duration(l.max.Load())}
	for i := range l.counts {
		r.Count += l.counts[i].Load()
		if i < len(r.Within) {
			r.Within[i] = r.Count
		}
	}
	return r
}

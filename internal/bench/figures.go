package bench

import (
	"context"
	"time"
)

// Figures say what a measured part did and took.
type Figures struct {
	Events    uint64 // appended, read or seen
	Calls     uint64 // of the log: Appends, reads of a shard, loads of a stream
	DataBytes uint64 // of Event.Data
	Elapsed   time.Duration
	Usage     Usage
	Latency   Histogram // of the calls, unless said otherwise

	// EventBytes is the mean Event.Size.
	EventBytes float64
}

// Rate returns the events per second.
func (f *Figures) Rate() float64 { return rate(float64(f.Events), f.Elapsed) }

func rate(n float64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return n / d.Seconds()
}

// A meter measures one part.
type meter struct {
	began  time.Time
	before Usage
}

func startMeter() meter { return meter{before: used(), began: time.Now()} }

// stop writes into f what was taken since the start.
func (m meter) stop(f *Figures) {
	f.Elapsed = time.Since(m.began)
	f.Usage = used().since(m.before)
}

// A limit ends a part after a number of units, a time, or both.
type limit struct {
	total uint64 // 0: no end
	over  <-chan struct{}
}

// newLimit returns a limit of units and time; 0 stands for no end. Call stop
// when it is no longer needed.
func newLimit(ctx context.Context, units uint64, d time.Duration) (_ limit, stop func()) {
	l := limit{total: units}
	if d <= 0 {
		return l, func() {}
	}
	timed, cancel := context.WithTimeout(ctx, d)
	l.over = timed.Done()
	return l, cancel
}

// reached reports whether the time has passed.
func (l limit) reached() bool {
	select {
	case <-l.over: // never, when nil
		return true
	default:
		return false
	}
}

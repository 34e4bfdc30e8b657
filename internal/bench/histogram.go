package bench

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// A Histogram counts durations in buckets that are at most 1/64 of their value
// wide, so a quantile is at most 1.6% too high. Durations above two hours count
// as two hours. The zero Histogram is empty. Add may be called concurrently;
// what reads comes after.
type Histogram struct {
	counts [(longestBits - bucketBits + 1) << bucketBits]atomic.Uint64
}

const (
	bucketBits  = 6  // 64 buckets for each doubling
	longestBits = 43 // of the longest duration in nanoseconds
)

// Add counts n durations of d. A negative d counts as 0.
func (h *Histogram) Add(d time.Duration, n uint64) {
	v := min(uint64(max(d, 0)), 1<<longestBits-1)
	h.counts[bucketOf(v)].Add(n)
}

// Merge adds all that o counted.
func (h *Histogram) Merge(o *Histogram) {
	for i := range o.counts {
		if n := o.counts[i].Load(); n > 0 {
			h.counts[i].Add(n)
		}
	}
}

// Count returns how many durations were added.
func (h *Histogram) Count() uint64 {
	var n uint64
	for i := range h.counts {
		n += h.counts[i].Load()
	}
	return n
}

// Quantile returns the duration that a share q of all, from 0 to 1, does not
// exceed; 0 when there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	total := h.Count()
	if total == 0 {
		return 0
	}
	rank := min(uint64(q*float64(total)), total-1) // as many lie below
	for i := range h.counts {
		n := h.counts[i].Load()
		if rank < n {
			return time.Duration(bucketEnd(i))
		}
		rank -= n
	}
	return 0 // not reached: the counts sum up to total
}

// bucketOf returns the bucket of v. The first 64 buckets hold one value each;
// from there on, 64 hold the values from one power of two to the next.
func bucketOf(v uint64) int {
	if v < 1<<bucketBits {
		return int(v)
	}
	shift := bits.Len64(v) - 1 - bucketBits
	return shift<<bucketBits + int(v>>shift)
}

// bucketEnd returns the highest value of a bucket.
func bucketEnd(i int) uint64 {
	if i < 1<<bucketBits {
		return uint64(i)
	}
	shift := i>>bucketBits - 1
	low := uint64(i-shift<<bucketBits) << shift
	return low + 1<<shift - 1
}

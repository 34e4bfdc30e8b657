package bench

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // only spreads durations
	h, half := &Histogram{}, &Histogram{}
	var all []time.Duration
	for i := range 20_000 {
		d := time.Duration(rng.Uint64N(1 << (1 + rng.IntN(longestBits-1))))
		all = append(all, d)
		if i%2 == 0 {
			h.Add(d, 1)
		} else {
			half.Add(d, 1)
		}
	}
	h.Merge(half)
	if h.Count() != uint64(len(all)) {
		t.Fatalf("%d counted, want %d", h.Count(), len(all))
	}
	slices.Sort(all)
	for _, q := range []float64{0, .001, .25, .5, .9, .99, .999, 1} {
		want := all[min(int(q*float64(len(all))), len(all)-1)]
		if got := h.Quantile(q); got < want || float64(got) > float64(want)*65/64+1 {
			t.Errorf("quantile %v is %d, want %d, at most 1/64 more", q, got, want)
		}
	}
}

func TestHistogramEnds(t *testing.T) {
	h := &Histogram{}
	if got := h.Quantile(.5); got != 0 {
		t.Errorf("the median of nothing is %v, want 0", got)
	}
	h.Add(-time.Second, 1)
	h.Add(1000*time.Hour, 2)
	if low, high := h.Quantile(0), h.Quantile(1); low != 0 || high < 2*time.Hour || high > 3*time.Hour {
		t.Errorf("from %v to %v, want 0 to between two and three hours", low, high)
	}
	for i := 1; i < len(h.counts); i++ {
		if bucketOf(bucketEnd(i)) != i || bucketOf(bucketEnd(i-1)+1) != i {
			t.Fatalf("bucket %d does not hold the values from %d to %d", i, bucketEnd(i-1)+1, bucketEnd(i))
		}
	}
}

package leat_test

import (
	"strings"
	"testing"

	"github.com/leathq/leat"
)

func TestFitIsWhatOneAppendTakes(t *testing.T) {
	limits := leat.Limits{EventBytes: 50, AppendEvents: 4, AppendBytes: 100}
	for name, c := range map[string]struct {
		sizes []int
		want  int
	}{
		"none": {nil, 0}, "one": {[]int{50}, 1}, "one that is too large": {[]int{101, 10}, 1}, "just": {[]int{50, 50}, 2},
		"too many bytes": {[]int{50, 40, 11, 1}, 2}, "too many events": {[]int{10, 10, 10, 10, 10}, 4},
	} {
		var events []leat.Event
		for _, size := range c.sizes {
			events = append(events, leat.Event{Stream: strings.Repeat("s", size)})
		}
		if got := limits.Fit(events); got != c.want {
			t.Errorf("%s: %d events fit, want %d", name, got, c.want)
		}
	}
}

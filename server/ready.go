package server

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// clockTolerance is how far a log's time may be ahead of the clock before the
// server says that it is not ready: the clock was set back.
const clockTolerance = 10 * time.Second

// NotReady returns why the server should get no requests, one sentence a
// reason; nothing when it is ready.
func (s *Server) NotReady() []string {
	var reasons []string
	if s.draining.Err() != nil {
		return append(reasons, "the server is shutting down")
	}
	broken := s.logs.failed()
	for _, name := range slices.Sorted(maps.Keys(broken)) {
		reasons = append(reasons, fmt.Sprintf("log %q cannot be opened: %v", name, broken[name]))
	}
	open := s.logs.all()
	for _, name := range slices.Sorted(maps.Keys(open)) {
		stats := open[name].Stats()
		if stats.Stopped != nil {
			reasons = append(reasons, fmt.Sprintf("log %q: %v", name, stats.Stopped))
		}
		if stats.Full != nil {
			reasons = append(reasons, fmt.Sprintf("log %q cannot take events: %v", name, stats.Full))
		}
		if stats.ClockBehind > clockTolerance {
			reasons = append(reasons, fmt.Sprintf(
				"log %q is %v ahead of this machine's clock: the clock was set back; correct it",
				name, stats.ClockBehind.Round(time.Second)))
		}
	}
	return reasons
}

package service

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// resting holds the streams that failed for a while, and are left alone until
// then, longer each time, so that others go on meanwhile.
type resting map[string]rest

type rest struct {
	failures int
	until    time.Time
}

// maxResting bounds the streams that are remembered.
const maxResting = 10000

// has reports whether a stream is to be left alone.
func (r resting) has(stream string) bool { return time.Now().Before(r[stream].until) }

// turns returns those of some streams whose turn it is, those that failed least
// first: so none has to wait for ever for others that keep failing.
func (r resting) turns(streams []string) []string {
	turns := slices.DeleteFunc(slices.Clone(streams), r.has)
	slices.SortStableFunc(turns, func(a, b string) int { return cmp.Compare(r[a].failures, r[b].failures) })
	return turns
}

// worst returns how often the stream has failed that failed most.
func (r resting) worst() (failures int) {
	for _, s := range r {
		failures = max(failures, s.failures)
	}
	return failures
}

// now returns the streams that are to be left alone, and forgets those that
// nobody has tried for long, since there is nothing left of them to try.
func (r resting) now() (streams []string) {
	maps.DeleteFunc(r, func(_ string, s rest) bool { return time.Since(s.until) > time.Minute })
	for stream := range r {
		if r.has(stream) {
			streams = append(streams, stream)
		}
	}
	return streams
}

// failed lets a stream rest, and returns how often it has failed in a row.
func (r resting) failed(stream string, retry Retry, err error) (failures int) {
	failures = r[stream].failures + 1
	if len(r) >= maxResting {
		clear(r) // they are tried sooner than they should be, which does no harm
	}
	r[stream] = rest{failures, time.Now().Add(max(retry.pause(failures), retryAfter(err)))}
	return failures
}

// succeeded forgets a stream's failures.
func (r resting) succeeded(stream string) { delete(r, stream) }

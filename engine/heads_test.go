package engine_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
)

// streamNames are the beginnings of one another, and so are their keys.
var streamNames = []string{"a", "a!", "a\u00ff", "a\u00ff!", "aa", "ab", "b"}

// runCounts are how many runs streams have: about as many as there is room for
// in a head and in a chunk.
var runCounts = []int{200, 65, 64, 33, 32, 31, 1}

// TestHeads reads streams of few and of many runs, whose names begin one
// another, in both directions from any version on: they are what was appended,
// wherever their runs are. Then it trims them in the middle.
func TestHeads(t *testing.T) {
	for _, c := range []struct {
		name       string
		generation int
	}{
		{"each Append", 1}, {"a few runs", 12}, {"about a head", 150}, {"about a chunk", 300}, {"all at once", 4000},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rng := newRand(t)
			o := engine.Options{FS: vfs.NewMem(), GenerationEvents: c.generation, ReserveBytes: -1}
			log := create(t, o.FS, o)
			s := appendStreams(t, log, rng)
			s.read(t, log, "in memory")
			closeLog(t, log)
			log = mustOpen(t, o)
			s.read(t, log, "in the store")

			all := s.all[len(s.all)/3 : len(s.all)*2/3]
			below := all[rng.IntN(len(all))].Seq
			oldest, err := log.Trim(t.Context(), leat.ShardNumber(0), below)
			if err != nil {
				t.Fatal(err)
			}
			s.trim(oldest)
			s.read(t, log, "trimmed")
			closeLog(t, log)
			mustCheck(t, o.FS, "log")
			log = mustOpen(t, o)
			for _, name := range streamNames {
				s.append(t, log, name, 1+rng.IntN(3))
			}
			s.read(t, log, "trimmed and gone on")
			closeLog(t, log)
			log = mustOpen(t, o)
			defer closeLog(t, log)
			s.read(t, log, "trimmed and opened")
		})
	}
}

// streams are what a log is to hold.
type streams struct {
	all    []leat.Recorded
	ids    map[string][]string // by version less one
	oldest map[string]uint64   // the first version that is kept
	rng    *rand.Rand
}

// appendStreams appends the runs of all streams, in any order.
func appendStreams(t *testing.T, log leat.Log, rng *rand.Rand) *streams {
	t.Helper()
	s := &streams{ids: make(map[string][]string), oldest: make(map[string]uint64), rng: rng}
	var next []string
	for i, at := range rng.Perm(len(streamNames)) {
		s.oldest[streamNames[at]] = 1
		for range runCounts[i] {
			next = append(next, streamNames[at])
		}
	}
	rng.Shuffle(len(next), func(i, j int) { next[i], next[j] = next[j], next[i] })
	for _, name := range next {
		s.append(t, log, name, 1+rng.IntN(3))
	}
	return s
}

// append appends a run.
func (s *streams) append(t *testing.T, log leat.Log, name string, n int) {
	t.Helper()
	events := make([]leat.Event, n)
	for i := range events {
		id := fmt.Sprintf("%s-%d", name, len(s.ids[name]))
		s.ids[name] = append(s.ids[name], id)
		events[i] = leat.Event{ID: id, Stream: name, Type: "T", Source: "test"}
	}
	r := mustAppend(t, log, events...)
	for i, e := range events {
		s.all = append(s.all, leat.Recorded{Event: e, Seq: r.First + uint64(i), Version: r.Versions[i]})
	}
}

// trim notes that nothing is kept below a sequence.
func (s *streams) trim(oldest uint64) {
	for _, e := range s.all {
		if e.Seq < oldest {
			s.oldest[e.Stream] = e.Version + 1
		}
	}
}

// read reads all streams from versions here and there.
func (s *streams) read(t *testing.T, log leat.Log, when string) {
	t.Helper()
	for name, ids := range s.ids {
		for v := 0; v < len(ids); v += 1 + s.rng.IntN(6) {
			for _, r := range []leat.Range{{After: uint64(v)}, {Through: uint64(v + 1)}} {
				for _, r := range []leat.Range{r, r.Reverse()} {
					if err := s.readRange(t, log, name, r); err != nil {
						t.Fatalf("%s: read %q %+v: %v", when, name, r, err)
					}
				}
			}
		}
	}
}

// few is how far a range is read that goes on and on.
const few = 70

// readRange returns an error unless a range of a stream reads as it should: what
// is kept of it, and a TrimmedError when something of it is not.
func (s *streams) readRange(t *testing.T, log leat.Log, name string, r leat.Range) error {
	ids, oldest := s.ids[name], s.oldest[name]
	from, to := r.After+1, r.Through // what is to be read
	if to == 0 {
		to = uint64(len(ids))
	}
	trimmed := from < oldest
	if trimmed && !r.Reversed() {
		to = 0 // nothing before the error
	}
	next, step := from, uint64(1)
	if from = max(from, oldest); r.Reversed() {
		next, step = to, ^uint64(0)
	}
	n := 0
	for e, err := range log.ReadStream(t.Context(), name, r) {
		if err != nil {
			var told *leat.TrimmedError
			if !trimmed || !errors.As(err, &told) || told.Oldest != oldest {
				return fmt.Errorf("got %w, it is kept from version %d on", err, oldest)
			}
			trimmed = false
			break
		}
		if next < from || next > to || e.Version != next || e.ID != ids[next-1] || e.Stream != name {
			return fmt.Errorf("got version %d, %q of %q, want version %d of %d to %d", e.Version, e.ID, e.Stream, next, from, to)
		}
		next += step
		if n++; n == few {
			return nil
		}
	}
	if left := from <= to && next >= from && next <= to; left || trimmed {
		return fmt.Errorf("it ended at version %d, trimmed and not told: %v; want versions %d to %d", next-step, trimmed, from, to)
	}
	return nil
}

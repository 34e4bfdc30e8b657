package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/leathq/leat"
)

// maxRuns is how many sorted runs in temporary files are merged at a time.
const maxRuns = 16

// A sorter sorts the events of a period by stream and version, in bounded memory:
// what does not fit becomes sorted runs in a temporary file each.
type sorter struct {
	compaction  *compaction
	period      string
	first, last uint64 // sequences

	events []leat.Recorded // not yet in a run
	bytes  int64
	runs   []run
}

// A run is a row of sorted files, one after the other.
type run struct {
	name  string
	files []*sortedSource
	temp  *os.File // that holds them, nil when it is objects
}

func newSorter(c *compaction, period string, first uint64) *sorter {
	return &sorter{compaction: c, period: period, first: first}
}

// add adds the next event.
func (s *sorter) add(ctx context.Context, e leat.Recorded) error {
	s.last = e.Seq
	s.events = append(s.events, e)
	s.bytes += int64(e.Size())
	if s.bytes < s.compaction.options.MemoryBytes {
		return nil
	}
	return s.spill(ctx)
}

// addFile adds a file of objects that are sorted already. Files of one name
// follow each other.
func (s *sorter) addFile(name string, f *sortedSource) {
	if n := len(s.runs); n > 0 && s.runs[n-1].name == name {
		s.runs[n-1].files = append(s.runs[n-1].files, f)
		return
	}
	s.runs = append(s.runs, run{name: name, files: []*sortedSource{f}})
}

// spill writes the events in memory to a run. When there are many runs they
// become one.
func (s *sorter) spill(ctx context.Context) error {
	r, err := s.write(s.inMemory())
	if err != nil {
		return err
	}
	s.events, s.bytes = s.events[:0], 0
	s.runs = append(s.runs, r)
	if len(s.runs) < maxRuns {
		return nil
	}
	if r, err = s.write(merge(ctx, s.runs, nil)); err != nil {
		return err
	}
	s.close()
	s.runs = []run{r}
	return nil
}

func (s *sorter) inMemory() iter.Seq2[leat.Recorded, error] {
	slices.SortFunc(s.events, compareSorted)
	return func(yield func(leat.Recorded, error) bool) {
		for _, e := range s.events {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func compareSorted(a, b leat.Recorded) int {
	return cmp.Or(strings.Compare(a.Stream, b.Stream), cmp.Compare(a.Version, b.Version))
}

// write writes sorted events to a temporary file.
func (s *sorter) write(events iter.Seq2[leat.Recorded, error]) (_ run, err error) {
	f, err := os.CreateTemp(s.compaction.options.TempDir, "leat-compact-*")
	if err != nil {
		return run{}, fmt.Errorf("sort events: %w", err)
	}
	os.Remove(f.Name()) // it lives on while it is open, and goes with the process however that ends
	r, size := run{temp: f}, int64(0)
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	err = writeSorted(events, s.compaction.options.FileBytes, &s.compaction.codec, func(d sorted, data []byte) error {
		begin := size
		n, err := f.WriteAt(data, begin)
		size += int64(n)
		r.files = append(r.files, &sortedSource{name: f.Name(), desc: d, part: func(_ context.Context, p extent) ([]byte, error) {
			part := make([]byte, p.Size)
			if _, err := io.ReadFull(io.NewSectionReader(f, begin+p.Offset, p.Size), part); err != nil {
				return nil, fmt.Errorf("read a temporary file: %w", err)
			}
			if hexSum(part) != p.SHA256 {
				return nil, corrupt(f.Name(), "does not hold what was written to it")
			}
			return part, nil
		}})
		return err
	})
	return r, err
}

// sorted yields all events in order.
func (s *sorter) sorted(ctx context.Context) iter.Seq2[leat.Recorded, error] {
	if len(s.runs) == 0 {
		return s.inMemory()
	}
	return merge(ctx, s.runs, s.inMemory())
}

// close ends the temporary files.
func (s *sorter) close() {
	for _, r := range s.runs {
		r.close()
	}
}

func (r run) close() {
	if r.temp != nil {
		r.temp.Close()
		os.Remove(r.temp.Name()) // where an open file cannot be removed
	}
}

// merge yields the events of several sorted runs, and of more, in order.
func merge(ctx context.Context, runs []run, more iter.Seq2[leat.Recorded, error]) iter.Seq2[leat.Recorded, error] {
	type source struct {
		next func() (leat.Recorded, error, bool)
		head leat.Recorded
	}
	return func(yield func(leat.Recorded, error) bool) {
		var sources []*source
		events := make([]iter.Seq2[leat.Recorded, error], 0, len(runs)+1)
		for _, r := range runs {
			events = append(events, sortedEvents(ctx, r.files))
		}
		if more != nil {
			events = append(events, more)
		}
		// advance reads the next event of a source and drops the source at its end.
		advance := func(s *source) error {
			e, err, ok := s.next()
			if !ok {
				sources = slices.DeleteFunc(sources, func(other *source) bool { return other == s })
			}
			s.head = e
			return err
		}
		for _, seq := range events {
			next, stop := iter.Pull2(seq)
			defer stop()
			s := &source{next: next}
			sources = append(sources, s)
			if err := advance(s); err != nil {
				yield(leat.Recorded{}, err)
				return
			}
		}
		for len(sources) > 0 {
			least := sources[0]
			for _, s := range sources[1:] {
				if sortsBefore(&s.head, &least.head) {
					least = s
				}
			}
			if !yield(least.head, nil) {
				return
			}
			if err := advance(least); err != nil {
				yield(leat.Recorded{}, err)
				return
			}
		}
	}
}

// counted passes events on and tells of progress.
func (c *compaction) counted(ctx context.Context, events iter.Seq2[leat.Recorded, error]) iter.Seq2[leat.Recorded, error] {
	return func(yield func(leat.Recorded, error) bool) {
		for e, err := range events {
			if err = errors.Join(err, ctx.Err()); err == nil {
				if c.done++; c.options.Progress != nil && c.done%1000 == 0 {
					c.options.Progress(min(c.done, c.total), c.total)
				}
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/parquet-go/parquet-go"

	"github.com/leathq/leat"
)

// A sortedSource is where a sorted file is read from.
type sortedSource struct {
	name string // of the object, for errors
	desc sorted
	part func(ctx context.Context, s extent) ([]byte, error) // of the file, compared with its description
}

// A sortedFile is the index of a sorted file: what its tail says.
type sortedFile struct {
	file   *parquet.File
	groups []group
	mu     sync.Mutex // the library reads page indexes when they are first needed
}

// open reads the tail of a sorted file.
func (s *sortedSource) open(ctx context.Context) (*sortedFile, error) {
	tail, err := s.part(ctx, s.desc.Tail)
	if err != nil {
		return nil, err
	}
	f := &sortedFile{}
	err = guardParquet(s.name, func() error {
		var err error
		f.file, err = parquet.OpenFile(partReader{tail, s.desc.Tail.Offset}, s.desc.Size,
			parquet.SkipMagicBytes(true), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
		if err != nil {
			return err
		}
		if !parquet.EqualNodes(f.file.Schema(), segmentSchema) {
			return fmt.Errorf("has other columns than format %d: %s", formatVersion, f.file.Schema())
		}
		for _, g := range f.file.Metadata().RowGroups {
			if err := checkCodecs(g.Columns); err != nil {
				return err
			}
		}
		groups, _ := f.file.Lookup(groupsKey)
		if err := json.Unmarshal([]byte(groups), &f.groups); err != nil {
			return err
		}
		if len(f.groups) != len(f.file.RowGroups()) || uint64(f.file.NumRows()) != s.desc.Events {
			return fmt.Errorf("it describes %d of %d row groups, and has %d events, not %d",
				len(f.groups), len(f.file.RowGroups()), f.file.NumRows(), s.desc.Events)
		}
		return nil
	})
	return f, err
}

// guardParquet makes a corrupt error of what f returns, and of a panic in it.
func guardParquet(object string, f func() error) error {
	if err := caught(f); err != nil {
		return corrupt(object, "cannot be read: %v", err)
	}
	return nil
}

// caught makes an error of a panic in f: the Parquet library panics on some files
// it did not write, and follows wrong pointers in others.
func caught(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("this is no Parquet that Leat writes: %v", p)
		}
	}()
	return f()
}

// mayHold reports whether the bounds of a row group leave room for a stream.
func (f *sortedFile) mayHold(i int, stream string) bool {
	lowest, highest, ok := f.column(i, colStream).Bounds()
	return !ok || string(lowest.ByteArray()) <= stream && stream <= string(highest.ByteArray())
}

func (f *sortedFile) column(i, column int) *parquet.FileColumnChunk {
	return f.file.RowGroups()[i].ColumnChunks()[column].(*parquet.FileColumnChunk)
}

// filter returns where the Bloom filter of a row group's streams lies.
func (f *sortedFile) filter(i int) extent {
	c := &f.file.Metadata().RowGroups[i].Columns[colStream].MetaData
	return extent{c.BloomFilterOffset, int64(c.BloomFilterLength), f.groups[i].Filter}
}

// rows returns a reader of a row group, and the number of its rows.
func (f *sortedFile) rows(ctx context.Context, s *sortedSource, i int) (*rowReader, int64, error) {
	data, err := s.part(ctx, f.groups[i].Rows)
	if err != nil {
		return nil, 0, err
	}
	r := &rowReader{}
	err = guardParquet(s.name, func() error {
		for c := range r.columns {
			f.mu.Lock()
			_, err := f.column(i, c).OffsetIndex()
			f.mu.Unlock()
			if err != nil {
				return err
			}
			r.columns[c].pages = f.column(i, c).PagesFrom(partReader{data, f.groups[i].Rows.Offset})
		}
		return nil
	})
	return r, f.file.RowGroups()[i].NumRows(), err
}

// events yields all events of sorted files in order. Their memory belongs to the
// caller.
func sortedEvents(ctx context.Context, files []*sortedSource) iter.Seq2[leat.Recorded, error] {
	return func(yield func(leat.Recorded, error) bool) {
		for _, s := range files {
			f, err := s.open(ctx)
			if err != nil {
				yield(leat.Recorded{}, err)
				return
			}
			for i := range f.groups {
				if !yieldGroup(ctx, s, f, i, yield) {
					return
				}
			}
		}
	}
}

func yieldGroup(ctx context.Context, s *sortedSource, f *sortedFile, i int, yield func(leat.Recorded, error) bool) bool {
	r, n, err := f.rows(ctx, s, i)
	if err != nil {
		yield(leat.Recorded{}, err)
		return false
	}
	defer r.close()
	var e leat.Recorded
	for range n {
		if _, err := r.proven(&e); err != nil {
			yield(leat.Recorded{}, s.corrupt(err))
			return false
		}
		if !yield(keep(&e), nil) {
			return false
		}
	}
	return true
}

// load returns the events of a stream in a row group that are wanted.
func (f *sortedFile) load(ctx context.Context, s *sortedSource, i int, stream string, wants func(uint64) bool) (events []leat.Recorded, err error) {
	r, rows, err := f.rows(ctx, s, i)
	if err != nil {
		return nil, err
	}
	defer r.close()
	first, n, err := r.find(stream, rows)
	if err == nil && n > 0 {
		err = r.seek(first)
	}
	if err != nil {
		return nil, s.corrupt(err)
	}
	var e leat.Recorded
	for range n {
		if _, err := r.proven(&e); err != nil {
			return nil, s.corrupt(err)
		}
		if e.Stream != stream {
			return nil, s.corrupt(fmt.Errorf("row groups hold stream %q where %q should be", e.Stream, stream))
		}
		if wants(e.Version) {
			events = append(events, keep(&e))
		}
	}
	return events, nil
}

// corrupt says what is the matter with the file.
func (s *sortedSource) corrupt(err error) error { return corrupt(s.name, "cannot be read: %v", err) }

// find returns the first row of a stream and how many it has, among rows sorted
// by stream.
func (r *rowReader) find(stream string, rows int64) (first, n int64, err error) {
	c := &r.columns[colStream]
	for row := range rows {
		if err := c.more(colStream); err != nil {
			return 0, 0, err
		}
		switch order := strings.Compare(c.name(), stream); {
		case order > 0:
			return first, n, nil
		case order == 0 && n == 0:
			first, n = row, 1
		case order == 0:
			n++
		}
	}
	return first, n, nil
}

// A partReader reads a part of a file that is in memory.
type partReader struct {
	data   []byte
	offset int64 // of the data in the file
}

// ReadAt implements io.ReaderAt.
func (r partReader) ReadAt(p []byte, offset int64) (int, error) {
	at := offset - r.offset
	if at < 0 {
		return 0, errors.New("read outside of the part that was fetched")
	}
	if at >= int64(len(r.data)) {
		return 0, io.EOF
	}
	n := copy(p, r.data[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

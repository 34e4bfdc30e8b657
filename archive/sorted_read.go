package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime/debug"
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

// guardParquet makes a corrupt error of what f returns, and of a panic in it: the
// Parquet library panics on some files it did not write, and follows wrong
// pointers in others.
func guardParquet(object string, f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = corrupt(object, "cannot be read as Parquet: %v", p)
		}
	}()
	if err := f(); err != nil {
		return corrupt(object, "cannot be read: %v", err)
	}
	return nil
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
			r.columns[c] = &columnReader{pages: f.column(i, c).PagesFrom(partReader{data, f.groups[i].Rows.Offset})}
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
	for range n {
		var e leat.Recorded
		err := guardParquet(s.name, func() error {
			_, err := r.row(&e)
			return err
		})
		if err != nil {
			yield(leat.Recorded{}, err)
			return false
		}
		if !yield(keep(e), nil) {
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
	err = guardParquet(s.name, func() error {
		first, n, err := r.find(stream, rows)
		if err != nil || n == 0 {
			return err
		}
		for _, c := range r.columns {
			if err := c.seek(first); err != nil {
				return err
			}
		}
		for range n {
			var e leat.Recorded
			if _, err := r.row(&e); err != nil {
				return err
			}
			if e.Stream != stream {
				return fmt.Errorf("row groups hold stream %q where %q should be", e.Stream, stream)
			}
			if wants(e.Version) {
				events = append(events, keep(e))
			}
		}
		return nil
	})
	return events, err
}

// find returns the first row of a stream and how many it has, among rows sorted
// by stream.
func (r *rowReader) find(stream string, rows int64) (first, n int64, err error) {
	for row := range rows {
		v, err := r.columns[colStream].next()
		if err != nil {
			return 0, 0, err
		}
		switch c := bytes.Compare(v.ByteArray(), []byte(stream)); {
		case c > 0:
			return first, n, nil
		case c == 0 && n == 0:
			first, n = row, 1
		case c == 0:
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

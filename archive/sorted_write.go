package archive

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/leathq/leat"
)

// groupBytes is the size of the row groups of a sorted file, in bytes of events:
// about 1 MiB compressed.
const groupBytes = 4 << 20

// groupsKey is the key of a sorted file's metadata that holds its groups.
const groupsKey = "leat.groups"

// A group is a row group of a sorted file as its metadata describe it, so that
// what is read of the file is known to be what was written.
type group struct {
	Rows   extent `json:"rows"`   // all pages of all columns
	Filter string `json:"filter"` // SHA-256 of the Bloom filter of its streams
}

// A sorted describes a file of events that are sorted by stream and version.
type sorted struct {
	SHA256    string `json:"sha256"`
	Size      int64  `json:"size"` // bytes of the object
	Events    uint64 `json:"events"`
	MinStream string `json:"min_stream"`
	MaxStream string `json:"max_stream"`
	Tail      extent `json:"tail"` // page index and footer, the end of the file
}

// writeSorted writes events, which are sorted, to files of about a size, and
// hands each to emit, in order. emit must not keep the data.
func writeSorted(events iter.Seq2[leat.Recorded, error], fileBytes int64, codec *zstd.Codec, emit func(sorted, []byte) error) error {
	var w *sortedWriter
	var last leat.Recorded
	for e, err := range events {
		if err != nil {
			return err
		}
		if last.Version > 0 && !sortsBefore(&last, &e) {
			return fmt.Errorf("%w: version %d of stream %q follows version %d of stream %q", leat.ErrCorrupt, e.Version, e.Stream, last.Version, last.Stream)
		}
		last = e
		if w == nil {
			w = newSortedWriter(codec)
		}
		if err := w.add(&e); err != nil {
			return err
		}
		if w.pending == 0 && int64(w.file.Len()) >= fileBytes {
			if err := w.finish(emit); err != nil {
				return err
			}
			w = nil
		}
	}
	if w == nil {
		return nil
	}
	return w.finish(emit)
}

// sortsBefore reports whether an event comes before another in a sorted file.
func sortsBefore(a, b *leat.Recorded) bool {
	return a.Stream < b.Stream || a.Stream == b.Stream && a.Version < b.Version
}

// A sortedWriter makes one sorted file, in memory.
type sortedWriter struct {
	rowWriter
	leaves  leafHasher
	file    bytes.Buffer
	filters keptBuffers
	desc    sorted
	groups  []group
	pending int // bytes of events in the row group
}

func newSortedWriter(codec *zstd.Codec) *sortedWriter {
	w := &sortedWriter{filters: keptBuffers{BufferPool: parquet.NewBufferPool()}}
	w.open(&w.file, sortedOptions(codec, &w.filters))
	return w
}

func (w *sortedWriter) add(e *leat.Recorded) error {
	if w.desc.Events == 0 {
		w.desc.MinStream = e.Stream
	}
	w.desc.MaxStream = e.Stream
	w.desc.Events++
	w.pending += e.Size()
	if err := w.row(e, w.leaves.hash(e)); err != nil {
		return err
	}
	if w.pending < groupBytes {
		return nil
	}
	return w.cut()
}

// cut ends the row group.
func (w *sortedWriter) cut() error {
	if w.pending == 0 {
		return nil
	}
	if err := w.flush(); err != nil {
		return err
	}
	begin, kept := int64(w.file.Len()), len(w.filters.kept)
	if err := w.parquet.Flush(); err != nil {
		return fmt.Errorf("write a sorted file: %w", err)
	}
	filter, err := w.filters.content(kept + 1) // of event_id, stream and meta, in the order of the columns
	if err != nil {
		return err
	}
	w.groups = append(w.groups, group{extentOf(w.file.Bytes(), begin, int64(w.file.Len())-begin), hexSum(filter)})
	w.pending = 0
	return nil
}

func (w *sortedWriter) finish(emit func(sorted, []byte) error) error {
	if err := w.cut(); err != nil {
		return err
	}
	groups, err := json.Marshal(w.groups)
	if err != nil {
		return err
	}
	w.parquet.SetKeyValueMetadata(groupsKey, string(groups))
	if err := w.parquet.Close(); err != nil {
		return fmt.Errorf("write a sorted file: %w", err)
	}
	data := w.file.Bytes()
	tail := w.parquet.File().Metadata().RowGroups[0].Columns[0].ColumnIndexOffset
	w.desc.Size, w.desc.SHA256 = int64(len(data)), hexSum(data)
	w.desc.Tail = extentOf(data, tail, int64(len(data))-tail)
	return emit(w.desc, data)
}

// keptBuffers remembers the buffers that it hands out, in order.
type keptBuffers struct {
	parquet.BufferPool
	kept []io.ReadWriteSeeker
}

// GetBuffer implements parquet.BufferPool.
func (k *keptBuffers) GetBuffer() io.ReadWriteSeeker {
	b := k.BufferPool.GetBuffer()
	k.kept = append(k.kept, b)
	return b
}

// content returns what the i-th buffer holds.
func (k *keptBuffers) content(i int) ([]byte, error) {
	if _, err := k.kept[i].Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(k.kept[i])
	if err != nil {
		return nil, err
	}
	_, err = k.kept[i].Seek(0, io.SeekStart)
	return data, err
}

package archive

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math"
	"unsafe"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/leathq/leat"
)

// Events are handed to the columns in chunks of so many, or of so many bytes:
// few enough that pages have about their size, enough that the calls cost
// nothing.
const (
	chunkEvents = 256
	chunkBytes  = 64 << 10
)

// A segmentWriter makes the Parquet file of one segment. Until it is finished,
// what was added lies in memory, compressed.
type segmentWriter struct {
	rowWriter
	out  deferredWriter
	desc segment // of what was added
	edge edge    // of the tree, with what was added
}

// A rowWriter hands events to the columns of a Parquet file.
type rowWriter struct {
	parquet *parquet.GenericWriter[columns]
	columns []*parquet.ColumnWriter

	chunk  [numColumns][]parquet.Value
	hashes [chunkEvents][sha256.Size]byte
	events int // in chunk
	bytes  int // in chunk
}

func newSegmentWriter(codec *zstd.Codec, e edge) *segmentWriter {
	w := &segmentWriter{edge: e}
	w.open(&w.out, segmentOptions(codec))
	return w
}

func (w *rowWriter) open(out io.Writer, options []parquet.WriterOption) {
	w.parquet = parquet.NewGenericWriter[columns](out, options...)
	w.columns = w.parquet.ColumnWriters()
}

// add writes an event and its leaf hash. It keeps parts of e until the next chunk
// is full.
func (w *segmentWriter) add(e *leat.Recorded, leaf tlog.Hash) error {
	if e.Seq > math.MaxInt64 || e.Version > math.MaxInt64 {
		return fmt.Errorf("archive %s, sequence %d: %w: sequences and versions end at %d",
			e.Shard, e.Seq, leat.ErrUnsupported, math.MaxInt64)
	}
	w.desc.add(e)
	w.edge.add(leaf)
	return w.row(e, leaf)
}

// row writes an event and its leaf hash. It keeps parts of e until the next chunk
// is full.
func (w *rowWriter) row(e *leat.Recorded, leaf tlog.Hash) error {
	hash := &w.hashes[w.events]
	*hash = leaf

	c := &w.chunk
	put := func(column int, v parquet.Value) { c[column] = append(c[column], v) }
	put(colShard, stringValue(string(e.Shard)))
	put(colSeq, parquet.Int64Value(int64(e.Seq)))
	put(colCommit, parquet.Int64Value(int64(e.Commit)))
	put(colEventID, stringValue(e.ID))
	put(colStream, stringValue(e.Stream))
	put(colCategory, stringValue(leat.Category(e.Stream)))
	put(colVersion, parquet.Int64Value(int64(e.Version)))
	put(colType, stringValue(e.Type))
	put(colSource, stringValue(e.Source))
	put(colTime, parquet.Int64Value(e.Time.UnixMicro()))
	put(colTimeNanos, parquet.Int64Value(e.Time.UnixNano()))
	put(colAt, parquet.Int64Value(e.At.UnixMicro()))
	put(colAtNanos, parquet.Int64Value(e.At.UnixNano()))
	put(colContentType, stringValue(e.ContentType))
	put(colData, parquet.ByteArrayValue(e.Data))
	w.addMeta(e.Meta)
	put(colLeafHash, parquet.FixedLenByteArrayValue(hash[:]))

	w.events++
	w.bytes += e.Size()
	if w.events == chunkEvents || w.bytes >= chunkBytes {
		return w.flush()
	}
	return nil
}

// addMeta adds a map. Levels tell the columns of its keys and values where it
// begins and whether it has entries.
func (w *rowWriter) addMeta(m leat.Meta) {
	if len(m) == 0 {
		none := parquet.NullValue()
		w.chunk[colMetaKey] = append(w.chunk[colMetaKey], none.Level(0, 0, colMetaKey))
		w.chunk[colMetaValue] = append(w.chunk[colMetaValue], none.Level(0, 0, colMetaValue))
		return
	}
	for i, a := range m {
		repetition := min(i, 1)
		w.chunk[colMetaKey] = append(w.chunk[colMetaKey], stringValue(a.Key).Level(repetition, 1, colMetaKey))
		w.chunk[colMetaValue] = append(w.chunk[colMetaValue], stringValue(a.Value).Level(repetition, 1, colMetaValue))
	}
}

// flush hands the chunk to the columns.
func (w *rowWriter) flush() error {
	for i, values := range w.chunk {
		if _, err := w.columns[i].WriteRowValues(values); err != nil {
			return fmt.Errorf("write column %s of a segment: %w", segmentSchema.Columns()[i], err)
		}
		clear(values)
		w.chunk[i] = values[:0]
	}
	w.events, w.bytes = 0, 0
	return nil
}

// A deferredWriter learns where to write when there is something to write: a
// Parquet file of one row group is written as a whole at the end.
type deferredWriter struct{ io.Writer }

// finish writes the file into an empty buffer and returns its description, all
// but the name. Nothing can be added any more.
func (w *segmentWriter) finish(file *bytes.Buffer) (segment, error) {
	w.out.Writer = file
	if err := w.flush(); err != nil {
		return segment{}, err
	}
	if err := w.parquet.Close(); err != nil {
		return segment{}, fmt.Errorf("write a segment: %w", err)
	}
	w.desc.Size, w.desc.SHA256 = int64(file.Len()), hexSum(file.Bytes())
	stream := &w.parquet.File().Metadata().RowGroups[0].Columns[colStream].MetaData
	w.desc.Filter = extentOf(file.Bytes(), stream.BloomFilterOffset, int64(stream.BloomFilterLength))
	return w.desc, nil
}

// add counts an event in.
func (s *segment) add(e *leat.Recorded) {
	if s.Events == 0 {
		s.First, s.MinAt, s.MinTime, s.MaxTime = e.Seq, e.At, e.Time, e.Time
	}
	s.Last, s.MaxAt = e.Seq, e.At
	s.Events++
	s.EventBytes += int64(e.Size())
	if e.Time.Before(s.MinTime) {
		s.MinTime = e.Time
	}
	if e.Time.After(s.MaxTime) {
		s.MaxTime = e.Time
	}
}

// stringValue returns a value that shares the memory of s.
func stringValue(s string) parquet.Value {
	return parquet.ByteArrayValue(unsafe.Slice(unsafe.StringData(s), len(s)))
}

package archive

import (
	"errors"
	"fmt"
	"io"
	"time"
	"unsafe"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/leathq/leat"
)

// A rowReader reads the events of a row group, row by row.
type rowReader struct {
	columns [numColumns]*columnReader
	names   map[string]string // strings that occur again and again
	leaves  leafHasher
}

// checkCodecs checks that the columns of a row group are compressed as they are
// written. Of the codecs that the library knows, one asks for all memory there
// is when it is given what it did not compress.
func checkCodecs(columns []format.ColumnChunk) error {
	if len(columns) != numColumns {
		return fmt.Errorf("has %d columns, not %d", len(columns), numColumns)
	}
	for i := range columns {
		want := format.Zstd
		if i == colLeafHash {
			want = format.Uncompressed
		}
		if got := columns[i].MetaData.Codec; got != want {
			return fmt.Errorf("column %s is compressed with %v, not %v", segmentSchema.Columns()[i], got, want)
		}
	}
	return nil
}

// row reads one row and returns its leaf hash, which it has computed again. The
// ID and data of the event are good until the next call, and it puts the
// attributes where those of the event were.
func (r *rowReader) row(e *leat.Recorded) (leaf tlog.Hash, err error) {
	var row [numColumns]parquet.Value
	for i, c := range r.columns {
		if i == colMetaKey || i == colMetaValue {
			continue
		}
		if row[i], err = c.next(); err != nil {
			return leaf, fmt.Errorf("column %s: %w", segmentSchema.Columns()[i], err)
		}
	}
	id := row[colEventID].ByteArray()
	*e = leat.Recorded{
		Event: leat.Event{
			ID: unsafe.String(unsafe.SliceData(id), len(id)), Stream: r.name(row[colStream]), Type: r.name(row[colType]),
			Source: r.name(row[colSource]), Time: time.Unix(0, row[colTimeNanos].Int64()).UTC(),
			ContentType: r.name(row[colContentType]), Data: row[colData].ByteArray(), Meta: e.Meta[:0],
		},
		Shard: leat.ShardID(r.name(row[colShard])), Seq: uint64(row[colSeq].Int64()), Commit: uint64(row[colCommit].Int64()),
		Version: uint64(row[colVersion].Int64()), At: time.Unix(0, row[colAtNanos].Int64()).UTC(),
	}
	leaf = tlog.Hash(row[colLeafHash].ByteArray())
	category := row[colCategory].ByteArray()
	if e.Meta, err = r.meta(e.Meta); err != nil {
		return leaf, err
	}
	switch {
	case string(category) != leat.Category(e.Stream), row[colTime].Int64() != e.Time.UnixMicro(), row[colAt].Int64() != e.At.UnixMicro():
		return leaf, errors.New("category, time or at is not what it is derived from")
	case r.leaves.hash(e) != leaf:
		return leaf, errors.New("the event does not have the leaf hash beside it")
	}
	return leaf, nil
}

// meta reads the map of one row and adds it to m.
func (r *rowReader) meta(m leat.Meta) (leat.Meta, error) {
	for {
		key, err := r.columns[colMetaKey].next()
		if err != nil {
			return nil, fmt.Errorf("column meta: %w", err)
		}
		value, err := r.columns[colMetaValue].next()
		if err != nil {
			return nil, fmt.Errorf("column meta: %w", err)
		}
		if key.DefinitionLevel() != value.DefinitionLevel() {
			return nil, errors.New("column meta: a key without a value")
		}
		if key.DefinitionLevel() > 0 {
			m = append(m, leat.Attr{Key: r.name(key), Value: r.name(value)})
		}
		if !r.columns[colMetaKey].repeats() {
			return m, nil
		}
	}
}

// maxNames bounds the strings that a reader keeps for those to come.
const maxNames = 4096

// name returns a value as a string, the same one for equal values.
func (r *rowReader) name(v parquet.Value) string {
	b := v.ByteArray()
	if s, ok := r.names[string(b)]; ok {
		return s
	}
	s := string(b)
	if r.names == nil {
		r.names = make(map[string]string)
	}
	if len(r.names) < maxNames && len(s) <= leat.MaxNameBytes {
		r.names[s] = s
	}
	return s
}

// close releases what the columns hold. Reading from memory, nothing can fail.
func (r *rowReader) close() {
	for _, c := range r.columns {
		if c != nil {
			c.close()
		}
	}
}

// A columnReader reads the values of a column one by one.
type columnReader struct {
	pages   parquet.Pages
	page    parquet.Page
	values  parquet.ValueReader
	pending []parquet.Value // in buf, read and not yet returned
	buf     [128]parquet.Value
}

// next returns a value that is good until the next call.
func (c *columnReader) next() (parquet.Value, error) {
	if len(c.pending) == 0 {
		if err := c.fill(); err != nil {
			return parquet.Value{}, err
		}
	}
	v := c.pending[0]
	c.pending = c.pending[1:]
	return v, nil
}

// repeats reports whether the next value belongs to the row of the last.
func (c *columnReader) repeats() bool {
	if len(c.pending) == 0 && c.fill() != nil {
		return false
	}
	return c.pending[0].RepetitionLevel() > 0
}

func (c *columnReader) fill() error {
	for {
		if c.values != nil {
			n, err := c.values.ReadValues(c.buf[:])
			if n > 0 {
				c.pending = c.buf[:n]
				return nil
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		}
		page, err := c.pages.ReadPage()
		if err != nil {
			return err
		}
		c.release()
		c.page, c.values = page, page.Values()
	}
}

// seek makes a row the next one to be read.
func (c *columnReader) seek(row int64) error {
	c.release()
	c.pending = nil
	return c.pages.SeekToRow(row)
}

func (c *columnReader) release() {
	if c.page != nil {
		parquet.Release(c.page)
		c.page, c.values = nil, nil
	}
}

func (c *columnReader) close() {
	c.release()
	c.pages.Close()
}

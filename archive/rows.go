package archive

import (
	"errors"
	"fmt"
	"time"

	"github.com/parquet-go/parquet-go/format"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/leathq/leat"
)

// A rowReader reads the events of a row group, row by row.
type rowReader struct {
	columns [numColumns]columnReader
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

// row reads one row and returns the leaf hash beside it, with which it does not
// compare the event. The event's ID, its data and the values of its attributes
// are good until the next call; its other texts stay, and with each of them all
// that its column has. It puts the attributes where those of the event were.
func (r *rowReader) row(e *leat.Recorded) (leaf tlog.Hash, err error) {
	c := &r.columns
	for i := range c {
		if err := c[i].more(i); err != nil {
			return leaf, err
		}
	}
	at, happened := time.Unix(0, c[colAtNanos].number()).UTC(), time.Unix(0, c[colTimeNanos].number()).UTC()
	*e = leat.Recorded{
		Event: leat.Event{
			ID: text(c[colEventID].bytes()), Stream: c[colStream].name(), Type: c[colType].name(), Source: c[colSource].name(),
			Time: happened, ContentType: c[colContentType].name(), Data: c[colData].bytes(), Meta: e.Meta[:0],
		},
		Shard: leat.ShardID(c[colShard].name()), Seq: uint64(c[colSeq].number()), Commit: uint64(c[colCommit].number()),
		Version: uint64(c[colVersion].number()), At: at,
	}
	leaf = c[colLeafHash].hash()
	category, atMicros, timeMicros := c[colCategory].name(), c[colAt].number(), c[colTime].number()
	if e.Meta, err = r.meta(e.Meta); err != nil {
		return leaf, err
	}
	if category != leat.Category(e.Stream) || timeMicros != happened.UnixMicro() || atMicros != at.UnixMicro() {
		return leaf, errors.New("category, time or at is not what it is derived from")
	}
	return leaf, nil
}

// proven reads one row as row does, and compares the event with its leaf hash.
func (r *rowReader) proven(e *leat.Recorded) (leaf tlog.Hash, err error) {
	leaf, err = r.row(e)
	if err == nil && r.leaves.hash(e) != leaf {
		err = errors.New("the event does not have the leaf hash beside it")
	}
	return leaf, err
}

// meta reads the map of one row and adds it to m.
func (r *rowReader) meta(m leat.Meta) (leat.Meta, error) {
	keys, values := &r.columns[colMetaKey], &r.columns[colMetaValue]
	for {
		key, isKey := keys.entry()
		value, isValue := values.entry()
		if isKey {
			m = append(m, leat.Attr{Key: key, Value: value})
		}
		if isKey != isValue || keys.goesOn() != values.goesOn() {
			return nil, errors.New("column meta: a key without a value")
		}
		if !keys.goesOn() {
			return m, nil
		}
	}
}

// seek makes a row the next one to be read.
func (r *rowReader) seek(row int64) error {
	return caught(func() error {
		for i := range r.columns {
			if err := r.columns[i].seek(row); err != nil {
				return err
			}
		}
		return nil
	})
}

// close releases what the columns hold. Reading from memory, nothing can fail.
func (r *rowReader) close() {
	for i := range r.columns {
		r.columns[i].close()
	}
}

// keep returns a copy of an event that a rowReader has lent, which shares no
// memory with the reader.
func keep(e *leat.Recorded) leat.Recorded {
	kept := *e
	size := len(e.ID) + len(e.Stream) + len(e.Type) + len(e.Source) + len(e.ContentType) + len(e.Shard) + len(e.Data)
	for _, a := range e.Meta {
		size += len(a.Key) + len(a.Value)
	}
	memory := make([]byte, 0, size)
	copied := func(s string) string {
		begin := len(memory)
		memory = append(memory, s...)
		return text(memory[begin:])
	}
	kept.ID, kept.Stream, kept.Type, kept.Source = copied(e.ID), copied(e.Stream), copied(e.Type), copied(e.Source)
	kept.Shard, kept.ContentType = leat.ShardID(copied(string(e.Shard))), copied(e.ContentType)
	kept.Meta = make(leat.Meta, len(e.Meta))
	for i, a := range e.Meta {
		kept.Meta[i] = leat.Attr{Key: copied(a.Key), Value: copied(a.Value)}
	}
	kept.Data = append(memory, e.Data...)[len(memory):]
	return kept
}

package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/parquet-go/parquet-go"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/leathq/leat"
)

// A segmentReader reads the events of one segment, in order.
type segmentReader struct {
	object  string // for errors
	shard   leat.ShardID
	desc    segment
	columns [numColumns]*columnReader
	names   map[string]string // strings that occur again and again
	next    uint64            // sequence to read
	commit  uint64            // of the last event
	found   segment           // of what was read
	leaves  leafHasher
}

// readSegment returns a reader of the segment that a manifest describes, once
// it is known to be the one that was archived. object is its full name.
func readSegment(object string, data []byte, shard leat.ShardID, desc segment) (*segmentReader, error) {
	if sum := hexSum(data); sum != desc.SHA256 || int64(len(data)) != desc.Size {
		return nil, corrupt(object, "has %d bytes and SHA-256 %s, its manifest says %d and %s",
			len(data), sum, desc.Size, desc.SHA256)
	}
	r := &segmentReader{object: object, shard: shard, desc: desc, names: make(map[string]string), next: desc.First}
	r.found = segment{Object: desc.Object, SHA256: desc.SHA256, Size: desc.Size}
	err := r.guard(func() error { return r.open(data) })
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *segmentReader) open(data []byte) error {
	file, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)),
		parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return err
	}
	if !parquet.EqualNodes(file.Schema(), segmentSchema) {
		return fmt.Errorf("has other columns than format %d: %s", formatVersion, file.Schema())
	}
	groups := file.RowGroups()
	if len(groups) != 1 || uint64(file.NumRows()) != r.desc.Events {
		return fmt.Errorf("has %d rows in %d row groups, its manifest says %d in one", file.NumRows(), len(groups), r.desc.Events)
	}
	for i, chunk := range groups[0].ColumnChunks() {
		r.columns[i] = &columnReader{pages: chunk.Pages()}
	}
	return nil
}

// read returns the next events, at most n, and none at the end.
func (r *segmentReader) read(n int) (events []leat.Recorded, err error) {
	n = int(min(uint64(n), r.desc.Last+1-r.next))
	events = make([]leat.Recorded, n)
	for i := range events {
		e := &events[i]
		if _, err := r.borrow(e); err != nil {
			return nil, err
		}
		e.ID, e.Data = strings.Clone(e.ID), slices.Clone(e.Data)
	}
	return events, nil
}

// borrow reads the next event and returns its leaf hash. The ID and data of the
// event are good until the next call, and it puts the attributes where those of
// the event were.
func (r *segmentReader) borrow(e *leat.Recorded) (leaf tlog.Hash, err error) {
	err = r.guard(func() error {
		if leaf, err = r.event(e); err != nil {
			return fmt.Errorf("at sequence %d: %w", r.next, err)
		}
		r.found.add(e)
		r.next, r.commit = r.next+1, e.Commit
		if r.next > r.desc.Last && r.found != r.desc {
			return fmt.Errorf("it holds %+v, its manifest says %+v", r.found, r.desc)
		}
		return nil
	})
	return leaf, err
}

// leafHashes returns the leaf hashes of all events without reading more than
// that column. The segment is what its manifest says, so they are those that its
// archiver computed.
func (r *segmentReader) leafHashes() (hashes []tlog.Hash, err error) {
	hashes = make([]tlog.Hash, r.desc.Events)
	err = r.guard(func() error {
		for i := range hashes {
			v, err := r.columns[colLeafHash].next()
			if err != nil {
				return err
			}
			hashes[i] = tlog.Hash(v.ByteArray())
		}
		return nil
	})
	return hashes, err
}

// guard makes a corrupt error of what f returns, and of a panic in it: the
// Parquet library panics on some files it did not write.
func (r *segmentReader) guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = corrupt(r.object, "cannot be read as Parquet: %v", p)
		}
	}()
	if err := f(); err != nil {
		return corrupt(r.object, "cannot be read: %v", err)
	}
	return nil
}

// event reads one row and returns its leaf hash.
func (r *segmentReader) event(e *leat.Recorded) (leaf tlog.Hash, err error) {
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
	case e.Seq != r.next || e.Shard != r.shard:
		return leaf, fmt.Errorf("it holds %s, sequence %d instead", e.Shard, e.Seq)
	case e.Commit != e.Seq && (e.Commit != r.commit || r.next == r.desc.First):
		return leaf, fmt.Errorf("its append begins at %d", e.Commit)
	case r.found.Events > 0 && !e.At.After(r.found.MaxAt):
		return leaf, fmt.Errorf("its at is %d, not after that of the event before", e.At.UnixNano())
	case r.leaves.hash(e) != leaf:
		return leaf, errors.New("the event does not have the leaf hash beside it")
	}
	return leaf, nil
}

// meta reads the map of one row and adds it to m.
func (r *segmentReader) meta(m leat.Meta) (leat.Meta, error) {
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
func (r *segmentReader) name(v parquet.Value) string {
	b := v.ByteArray()
	if s, ok := r.names[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(r.names) < maxNames && len(s) <= leat.MaxNameBytes {
		r.names[s] = s
	}
	return s
}

// close releases what the columns hold. Reading from memory, nothing can fail.
func (r *segmentReader) close() {
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

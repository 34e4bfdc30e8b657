package archive

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/leathq/leat"
)

// A segmentReader reads the events of one segment, in order.
type segmentReader struct {
	rowReader
	object string // for errors
	shard  leat.ShardID
	chunks []parquet.ColumnChunk
	desc   segment
	next   uint64  // sequence to read
	commit uint64  // of the last event
	found  segment // of what was read
}

// readSegment returns a reader of the segment that a manifest describes, once
// it is known to be the one that was archived. object is its full name.
func readSegment(object string, data []byte, shard leat.ShardID, desc segment) (*segmentReader, error) {
	if sum := hexSum(data); sum != desc.SHA256 || int64(len(data)) != desc.Size {
		return nil, corrupt(object, "has %d bytes and SHA-256 %s, its manifest says %d and %s",
			len(data), sum, desc.Size, desc.SHA256)
	}
	r := &segmentReader{object: object, shard: shard, desc: desc, next: desc.First}
	r.found = segment{Object: desc.Object, SHA256: desc.SHA256, Size: desc.Size, Filter: desc.Filter}
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
	if err := checkCodecs(file.Metadata().RowGroups[0].Columns); err != nil {
		return err
	}
	stream := &file.Metadata().RowGroups[0].Columns[colStream].MetaData
	f := r.desc.Filter
	if f.Offset != stream.BloomFilterOffset || f.Size != int64(stream.BloomFilterLength) || f != extentOf(data, f.Offset, f.Size) {
		return fmt.Errorf("its manifest says that the Bloom filter of streams is %+v", f)
	}
	r.chunks = groups[0].ColumnChunks()
	for i, chunk := range r.chunks {
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

// maxSkip is how many rows are read and left out rather than sought past.
const maxSkip = 32

// load returns the events of a stream above a sequence that are wanted. It reads
// all of the column of streams, and of the others what holds those events, so it
// is for a reader that has read nothing yet, and is its last use.
func (r *segmentReader) load(stream string, above uint64, wants func(version uint64) bool) (events []leat.Recorded, err error) {
	err = r.guard(func() error {
		rows, err := r.rowsOf(stream, max(above, r.desc.First-1)-(r.desc.First-1))
		if err != nil {
			return err
		}
		for _, chunk := range r.chunks {
			if _, err := chunk.OffsetIndex(); err != nil { // so that seeking finds the page
				return err
			}
		}
		next := int64(-maxSkip - 1) // row that the columns stand at
		for _, row := range rows {
			if row-next > maxSkip {
				for _, c := range r.columns {
					if err := c.seek(row); err != nil {
						return err
					}
				}
				next = row
			}
			var e leat.Recorded
			for ; next <= row; next++ {
				if _, err := r.row(&e); err != nil {
					return fmt.Errorf("at sequence %d: %w", r.desc.First+uint64(next), err)
				}
			}
			if seq := r.desc.First + uint64(row); e.Seq != seq || e.Shard != r.shard || e.Stream != stream {
				return fmt.Errorf("at sequence %d: it holds %s, sequence %d instead", seq, e.Shard, e.Seq)
			}
			if wants(e.Version) {
				events = append(events, keep(e))
			}
		}
		return nil
	})
	return events, err
}

// rowsOf returns the rows of a stream from one on.
func (r *segmentReader) rowsOf(stream string, from uint64) (rows []int64, err error) {
	for row := range r.desc.Events {
		v, err := r.columns[colStream].next()
		if err != nil {
			return nil, err
		}
		if row >= from && string(v.ByteArray()) == stream {
			rows = append(rows, int64(row))
		}
	}
	return rows, nil
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

func (r *segmentReader) guard(f func() error) error { return guardParquet(r.object, f) }

// event reads one row and returns its leaf hash.
func (r *segmentReader) event(e *leat.Recorded) (leaf tlog.Hash, err error) {
	if leaf, err = r.row(e); err != nil {
		return leaf, err
	}
	switch {
	case e.Seq != r.next || e.Shard != r.shard:
		return leaf, fmt.Errorf("it holds %s, sequence %d instead", e.Shard, e.Seq)
	case e.Commit != e.Seq && (e.Commit != r.commit || r.next == r.desc.First):
		return leaf, fmt.Errorf("its append begins at %d", e.Commit)
	case r.found.Events > 0 && !e.At.After(r.found.MaxAt):
		return leaf, fmt.Errorf("its at is %d, not after that of the event before", e.At.UnixNano())
	}
	return leaf, nil
}

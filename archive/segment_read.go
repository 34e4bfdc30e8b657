package archive

import (
	"bytes"
	"fmt"

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
	commit uint64  // of the last event, 0 when it is not known
	found  segment // of what was read
	sought bool    // not all of it was read, so found is not all of it
}

// readSegment returns a reader of the segment that a manifest describes, once
// it is known to be the one that was archived. object is its full name.
func readSegment(object string, data []byte, shard leat.ShardID, desc segment) (*segmentReader, error) {
	if sum := hexSum(data); sum != desc.SHA256 || int64(len(data)) != desc.Size {
		return nil, corrupt(object, "has %d bytes and SHA-256 %s, its manifest says %d and %s",
			len(data), sum, desc.Size, desc.SHA256)
	}
	r := &segmentReader{object: object, shard: shard, desc: desc, next: desc.First}
	r.found = desc.unread()
	err := guardParquet(object, func() error { return r.open(data) })
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
		r.columns[i].pages = chunk.Pages()
	}
	return nil
}

// read returns the next events, at most n, and none at the end. They are the
// caller's.
func (r *segmentReader) read(n int) ([]leat.Recorded, error) {
	n = int(min(uint64(n), r.desc.Last+1-r.next))
	events := make([]leat.Recorded, n)
	var e leat.Recorded
	for i := range events {
		if _, err := r.borrow(&e); err != nil {
			return nil, err
		}
		events[i] = keep(&e)
	}
	return events, nil
}

// borrow reads the next event, compares it with its leaf hash and returns that.
// It lends memory as row does.
func (r *segmentReader) borrow(e *leat.Recorded) (tlog.Hash, error) {
	leaf, err := r.proven(e)
	return leaf, r.advance(e, err)
}

// lend is borrow for who proves the event otherwise: it does not compare it with
// its leaf hash.
func (r *segmentReader) lend(e *leat.Recorded) (tlog.Hash, error) {
	leaf, err := r.row(e)
	return leaf, r.advance(e, err)
}

// advance counts an event in that was read with an error or without, if it is
// the next.
func (r *segmentReader) advance(e *leat.Recorded, err error) error {
	if err == nil {
		err = r.check(e)
	}
	if err != nil {
		return r.corrupt(fmt.Errorf("at sequence %d: %w", r.next, err))
	}
	r.found.add(e)
	r.next, r.commit = r.next+1, e.Commit
	if r.next > r.desc.Last && r.found != r.desc && !r.sought {
		return r.corrupt(fmt.Errorf("it holds %+v, its manifest says %+v", r.found, r.desc))
	}
	return nil
}

// check checks that an event is the next.
func (r *segmentReader) check(e *leat.Recorded) error {
	switch {
	case e.Seq != r.next || e.Shard != r.shard:
		return fmt.Errorf("it holds %s, sequence %d instead", e.Shard, e.Seq)
	case e.Commit != e.Seq && (r.next == r.desc.First || r.commit > 0 && e.Commit != r.commit):
		return fmt.Errorf("its append begins at %d", e.Commit)
	case r.found.Events > 0 && !e.At.After(r.found.MaxAt):
		return fmt.Errorf("its at is %d, not after that of the event before", e.At.UnixNano())
	}
	return nil
}

// unread returns what is known of a segment when none of its events is read.
func (s *segment) unread() segment {
	return segment{Object: s.Object, SHA256: s.SHA256, Size: s.Size, Filter: s.Filter}
}

// seekTo makes a sequence of the segment the next one to be read. From then on each
// event is checked as before, but not whether all of them are what the manifest
// sums up.
func (r *segmentReader) seekTo(seq uint64) error {
	if seq == r.next {
		return nil
	}
	err := r.index()
	if err == nil {
		err = r.seek(int64(seq - r.desc.First))
	}
	if err != nil {
		return r.corrupt(err)
	}
	r.next, r.commit, r.found, r.sought = seq, 0, r.desc.unread(), true
	return nil
}

// maxSkip is how many rows are read and left out rather than sought past.
const maxSkip = 32

// load returns the events of a stream above a sequence that are wanted. It reads
// all of the column of streams, and of the others what holds those events, so it
// is for a reader that has read nothing yet, and is its last use.
func (r *segmentReader) load(stream string, above uint64, wants func(version uint64) bool) ([]leat.Recorded, error) {
	rows, err := r.rowsOf(stream, max(above, r.desc.First-1)-(r.desc.First-1))
	if err == nil {
		err = r.index()
	}
	if err != nil {
		return nil, r.corrupt(err)
	}
	var events []leat.Recorded
	var e leat.Recorded
	next := int64(-maxSkip - 1) // row that the columns stand at
	for _, row := range rows {
		if row-next > maxSkip {
			if err := r.seek(row); err != nil {
				return nil, r.corrupt(err)
			}
			next = row
		}
		for ; next <= row; next++ {
			if _, err := r.proven(&e); err != nil {
				return nil, r.corrupt(fmt.Errorf("at sequence %d: %w", r.desc.First+uint64(next), err))
			}
		}
		if seq := r.desc.First + uint64(row); e.Seq != seq || e.Shard != r.shard || e.Stream != stream {
			return nil, r.corrupt(fmt.Errorf("at sequence %d: it holds %s, sequence %d instead", seq, e.Shard, e.Seq))
		}
		if wants(e.Version) {
			events = append(events, keep(&e))
		}
	}
	return events, nil
}

// index reads what tells where pages are, so that seeking finds them.
func (r *segmentReader) index() error {
	return caught(func() error {
		for _, chunk := range r.chunks {
			if _, err := chunk.OffsetIndex(); err != nil {
				return err
			}
		}
		return nil
	})
}

// rowsOf returns the rows of a stream from one on.
func (r *segmentReader) rowsOf(stream string, from uint64) (rows []int64, err error) {
	c := &r.columns[colStream]
	for row := range r.desc.Events {
		if err := c.more(colStream); err != nil {
			return nil, err
		}
		if name := c.name(); row >= from && name == stream {
			rows = append(rows, int64(row))
		}
	}
	return rows, nil
}

// leafHashes returns the leaf hashes of all events without reading more than
// that column. The segment is what its manifest says, so they are those that its
// archiver computed.
func (r *segmentReader) leafHashes() ([]tlog.Hash, error) {
	c := &r.columns[colLeafHash]
	hashes := make([]tlog.Hash, r.desc.Events)
	for i := range hashes {
		if err := c.more(colLeafHash); err != nil {
			return nil, r.corrupt(err)
		}
		hashes[i] = c.hash()
	}
	return hashes, nil
}

// corrupt says what is the matter with the segment.
func (r *segmentReader) corrupt(err error) error { return corrupt(r.object, "cannot be read: %v", err) }

package engine

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/leathq/leat"
)

// The layout of a block; docs/format-block.md is its description.
const (
	blockVersion    = 1
	blockHeaderSize = 24
	blockTarget     = 16 << 10 // bytes at which a block is closed
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// blockCRC returns the checksum of a block: of all of it but the checksum.
func blockCRC(block []byte) uint32 {
	return crc32.Update(crc32.Checksum(block[:4], castagnoli), castagnoli, block[8:])
}

// fillBlock writes a block of events into dst, which has the exact size: that of
// the header and of the events together.
func fillBlock(dst []byte, shard uint32, first uint64, events []*entry) {
	clear(dst[:4])
	dst[0] = blockVersion
	binary.LittleEndian.PutUint32(dst[8:], shard)
	binary.LittleEndian.PutUint32(dst[12:], uint32(len(events)))
	binary.LittleEndian.PutUint64(dst[16:], first)
	at := blockHeaderSize
	for _, e := range events {
		at += copy(dst[at:], e.raw)
	}
	binary.LittleEndian.PutUint32(dst[4:], blockCRC(dst))
}

// A blockReader yields the events of a block. Its memory is the block's.
type blockReader struct {
	shard       uint32
	first, last uint64 // sequences
	seq         uint64 // of the event that comes next
	rest        []byte // events not yet read

	lastAt    int64
	lastPlace uint32
}

// openBlock returns a reader of a block, once its header and checksum are
// found to be what its key promises.
func openBlock(key, block []byte) (blockReader, error) {
	shard, last, err := parseBlockKey(key)
	if err != nil {
		return blockReader{}, fmt.Errorf("%w: %w", leat.ErrCorrupt, err)
	}
	b := blockReader{shard: shard, last: last}
	fail := func(reason string) (blockReader, error) { return blockReader{}, b.corrupt(reason) }
	switch {
	case len(block) < blockHeaderSize:
		return fail("shorter than a header")
	case block[0] != blockVersion:
		return fail(fmt.Sprintf("version %d, this engine reads version %d", block[0], blockVersion))
	case block[1]|block[2]|block[3] != 0:
		return fail("reserved bytes are not zero")
	case binary.LittleEndian.Uint32(block[4:]) != blockCRC(block):
		return fail("checksum does not match")
	}
	b.first = binary.LittleEndian.Uint64(block[16:])
	count := uint64(binary.LittleEndian.Uint32(block[12:]))
	if binary.LittleEndian.Uint32(block[8:]) != shard || count == 0 || b.first == 0 || b.first > last || last-b.first != count-1 {
		return fail("holds other events than its key says")
	}
	b.seq, b.rest = b.first, block[blockHeaderSize:]
	return b, nil
}

func (b *blockReader) corrupt(reason string) error {
	return fmt.Errorf("block of %s that ends at sequence %d: %w: %s", leat.ShardNumber(int(b.shard)), b.last, leat.ErrCorrupt, reason)
}

// more reports whether there is a further event.
func (b *blockReader) more() bool { return b.seq <= b.last }

// next returns the next event; ask more first.
func (b *blockReader) next() (record, error) {
	r, err := parseRecord(b.rest)
	if err != nil {
		return record{}, b.corrupt(fmt.Sprintf("event %d: %v", b.seq, err))
	}
	if reason := b.misplaced(&r); reason != "" {
		return record{}, b.corrupt(fmt.Sprintf("event %d: %s", b.seq, reason))
	}
	r.shard, r.seq, r.commit = b.shard, b.seq, b.seq-uint64(r.place)
	b.rest, b.lastAt, b.lastPlace = b.rest[len(r.raw):], r.at, r.place
	b.seq++
	if !b.more() && len(b.rest) > 0 {
		return record{}, b.corrupt("bytes after the last event")
	}
	return r, nil
}

// misplaced returns why r cannot follow the event before it.
func (b *blockReader) misplaced(r *record) string {
	switch {
	case uint64(r.place) >= b.seq:
		return "begins its append below sequence 1"
	case b.seq > b.first && r.place != 0 && r.place != b.lastPlace+1:
		return "does not follow in its append"
	case b.seq > b.first && r.at <= b.lastAt:
		return "is not later than the event before it"
	}
	return ""
}

// skipTo moves on to the event of sequence seq, which the block holds and the
// reader has not passed.
func (b *blockReader) skipTo(seq uint64) error {
	for b.seq < seq {
		if _, err := b.next(); err != nil {
			return err
		}
	}
	return nil
}

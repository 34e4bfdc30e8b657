package engine

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sync/atomic"

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

// A block is a block that was checked from end to end, so that its events can
// be read without further ado. But for asked, it never changes.
type block struct {
	shard       uint32
	asked       atomic.Bool // see blockCache
	first, last uint64      // sequences
	offsets     []uint32    // in data, of the events and of their end
	data        []byte      // as it is stored
}

// blockIDOf returns the ID of a block that may be damaged.
func blockIDOf(data []byte) blockID {
	if len(data) < blockHeaderSize {
		return blockID{}
	}
	count, first := binary.LittleEndian.Uint32(data[12:]), binary.LittleEndian.Uint64(data[16:])
	return blockID{binary.LittleEndian.Uint32(data[8:]), first + uint64(count) - 1}
}

// parseBlock checks a block and returns it. The memory of data becomes the
// block's.
func parseBlock(id blockID, data []byte) (*block, error) {
	b := &block{shard: id.shard, last: id.last, data: data}
	switch {
	case len(data) < blockHeaderSize:
		return nil, b.corrupt("shorter than a header")
	case data[0] != blockVersion:
		return nil, b.corrupt(fmt.Sprintf("version %d, this engine reads version %d", data[0], blockVersion))
	case data[1]|data[2]|data[3] != 0:
		return nil, b.corrupt("reserved bytes are not zero")
	case binary.LittleEndian.Uint32(data[4:]) != blockCRC(data):
		return nil, b.corrupt("checksum does not match")
	}
	b.first = binary.LittleEndian.Uint64(data[16:])
	count := uint64(binary.LittleEndian.Uint32(data[12:]))
	if binary.LittleEndian.Uint32(data[8:]) != id.shard || count == 0 || b.first == 0 || b.first > id.last || id.last-b.first != count-1 {
		return nil, b.corrupt("holds other events than it should")
	}
	if count > uint64(len(data))/recordHeaderSize {
		return nil, b.corrupt("is too short for its events")
	}
	return b, b.parseEvents(int(count))
}

func (b *block) parseEvents(count int) error {
	b.offsets = make([]uint32, count+1)
	at := blockHeaderSize
	var before record
	for i := range count {
		r, err := parseRecord(b.data[at:])
		switch {
		case err != nil:
			return b.corruptEvent(i, err.Error())
		case uint64(r.place) >= b.first+uint64(i):
			return b.corruptEvent(i, "begins its append below sequence 1")
		case i > 0 && r.place != 0 && r.place != before.place+1:
			return b.corruptEvent(i, "does not follow in its append")
		case i > 0 && r.at <= before.at:
			return b.corruptEvent(i, "is not later than the event before it")
		}
		b.offsets[i] = uint32(at)
		at += len(r.raw)
		before = r
	}
	b.offsets[count] = uint32(at)
	if at != len(b.data) {
		return b.corruptEvent(count-1, "bytes after the last event")
	}
	return nil
}

// len returns the number of events.
func (b *block) len() int { return len(b.offsets) - 1 }

// at returns an event as it is stored.
func (b *block) at(i int) []byte { return b.data[b.offsets[i]:b.offsets[i+1]] }

// record returns the i-th event.
func (b *block) record(i int) record {
	r := readRecord(b.at(i))
	r.shard, r.seq = b.shard, b.first+uint64(i)
	return r
}

// holds reports whether the block holds the event of a sequence.
func (b *block) holds(seq uint64) bool { return b.first <= seq && seq <= b.last }

func (b *block) corrupt(reason string) error {
	return fmt.Errorf("block of %s that ends at sequence %d: %w: %s", leat.ShardNumber(int(b.shard)), b.last, leat.ErrCorrupt, reason)
}

func (b *block) corruptEvent(i int, reason string) error {
	return b.corrupt(fmt.Sprintf("event %d: %s", b.first+uint64(i), reason))
}

// id returns what the block is found by.
func (b *block) id() blockID { return blockID{b.shard, b.last} }

func missing(shard uint32, seq uint64) error {
	return fmt.Errorf("%w: event %d of %s is missing", leat.ErrCorrupt, seq, leat.ShardNumber(int(shard)))
}

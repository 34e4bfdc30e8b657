package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"
	"github.com/leathq/leat"
)

// The index as the store has it: docs/format-block.md describes its values.

func readHead(db pebble.Reader, key []byte) (uint64, error) {
	value, closer, err := db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer closer.Close()
	return parseHead(value)
}

func parseHead(value []byte) (uint64, error) {
	f := fields{rest: value}
	if v := f.uvarint(); !f.bad && len(f.rest) == 0 && v > 0 {
		return v, nil
	}
	return 0, fmt.Errorf("%w: head %x", leat.ErrCorrupt, value)
}

func readKnown(db pebble.Reader, key []byte) (known, error) {
	value, closer, err := db.Get(key)
	if err != nil {
		return known{}, err
	}
	defer closer.Close()
	return parseKnown(value)
}

func (k *known) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(k.shard))
	dst = binary.AppendUvarint(dst, k.seq)
	dst = binary.AppendUvarint(dst, k.version)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(k.at))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(k.time))
	return append(dst, k.digest[:]...)
}

func parseKnown(value []byte) (known, error) {
	f := fields{rest: value}
	k := known{shard: uint32(f.uvarint()), seq: f.uvarint(), version: f.uvarint()}
	if f.bad || len(f.rest) != 8+8+16 {
		return known{}, fmt.Errorf("%w: entry %x", leat.ErrCorrupt, value)
	}
	k.at = int64(binary.LittleEndian.Uint64(f.rest))
	k.time = int64(binary.LittleEndian.Uint64(f.rest[8:]))
	copy(k.digest[:], f.rest[16:])
	return k, nil
}

func (x extent) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(x.file))
	dst = binary.AppendUvarint(dst, uint64(x.at))
	return binary.AppendUvarint(dst, uint64(x.size))
}

func parseExtent(value []byte) (extent, error) {
	f := fields{rest: value}
	file, at, size := f.uvarint(), f.uvarint(), f.uvarint()
	if f.bad || len(f.rest) > 0 || file == 0 || max(file, at, size) > math.MaxUint32 {
		return extent{}, fmt.Errorf("%w: place of a block %x", leat.ErrCorrupt, value)
	}
	return extent{uint32(file), uint32(at), uint32(size)}, nil
}

func (e blockEnd) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(e.file))
	dst = binary.AppendUvarint(dst, uint64(e.at))
	return binary.AppendUvarint(dst, e.group)
}

func parseBlockEnd(value []byte) (blockEnd, error) {
	f := fields{rest: value}
	file, at, group := f.uvarint(), f.uvarint(), f.uvarint()
	if f.bad || len(f.rest) > 0 || file == 0 || group == 0 || max(file, at) > math.MaxUint32 {
		return blockEnd{}, fmt.Errorf("%w: end of groups %x", leat.ErrCorrupt, value)
	}
	return blockEnd{uint32(file), int64(at), group}, nil
}

func (r run) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(r.shard))
	dst = binary.AppendUvarint(dst, r.seq)
	dst = binary.AppendUvarint(dst, r.n)
	return binary.AppendUvarint(dst, r.block-r.seq)
}

func parseRun(key, value []byte) (run, error) {
	_, version, err := parseRunKey(key)
	if err != nil {
		return run{}, fmt.Errorf("%w: %w", leat.ErrCorrupt, err)
	}
	f := fields{rest: value}
	r := run{version: version, shard: uint32(f.uvarint()), seq: f.uvarint(), n: f.uvarint()}
	if len(f.rest) > 0 { // version 1 of the format ends here
		r.block = r.seq + f.uvarint()
	}
	if f.bad || len(f.rest) > 0 || r.n == 0 || r.n > r.version || r.n > r.seq || r.block > 0 && r.block < r.seq {
		return run{}, fmt.Errorf("%w: run %x of %q", leat.ErrCorrupt, value, key)
	}
	return r, nil
}

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

// A head is the end of a stream: its version, and its last runs. What comes
// before them is in chunks of runs.
type head struct {
	version uint64
	runs    []run // ascending
}

// readHead returns the version of a stream, 0 when it does not exist.
func readHead(db pebble.Reader, key []byte) (uint64, error) {
	value, closer, err := db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer closer.Close()
	version, _, err := parseVersion(value)
	return version, err
}

// parseVersion returns the version in a head and what follows it.
func parseVersion(value []byte) (version uint64, runs []byte, err error) {
	f := fields{rest: value}
	if v := f.uvarint(); !f.bad && v > 0 {
		return v, f.rest, nil
	}
	return 0, nil, fmt.Errorf("%w: head %x", leat.ErrCorrupt, value)
}

func parseHead(value []byte) (head, error) {
	version, rest, err := parseVersion(value)
	if err != nil || len(rest) == 0 {
		return head{version: version}, err
	}
	runs, err := parseRuns(nil, version, rest)
	return head{version, runs}, err
}

func (h *head) append(dst []byte) []byte {
	return appendRuns(binary.AppendUvarint(dst, h.version), h.runs)
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

// appendRuns appends the runs of a head or a chunk. Their versions follow from
// the last one, which stands before them or in the key.
func appendRuns(dst []byte, runs []run) []byte {
	for _, r := range runs {
		dst = binary.AppendUvarint(dst, uint64(r.shard))
		dst = binary.AppendUvarint(dst, r.seq)
		dst = binary.AppendUvarint(dst, r.n)
		dst = binary.AppendUvarint(dst, r.block-r.seq)
	}
	return dst
}

// parseRuns appends runs of which the last ends with a version. There is one at
// least.
func parseRuns(dst []run, last uint64, value []byte) ([]run, error) {
	f := fields{rest: value}
	begin := len(dst)
	for !f.bad && (len(f.rest) > 0 || len(dst) == begin) {
		r := run{shard: uint32(f.uvarint()), seq: f.uvarint(), n: f.uvarint()}
		if len(f.rest) > 0 || len(dst) > begin { // a chunk of version 1 of the format ends here
			r.block = r.seq + f.uvarint()
		}
		if r.n == 0 || r.n > r.seq || r.block > 0 && r.block < r.seq {
			f.bad = true
		}
		dst = append(dst, r)
	}
	for i := len(dst) - 1; i >= begin && !f.bad; i-- {
		dst[i].version = last
		f.bad = dst[i].n > last || dst[i].n == last && i > begin
		last -= dst[i].n
	}
	if f.bad {
		return dst[:begin], fmt.Errorf("%w: runs %x", leat.ErrCorrupt, value)
	}
	return dst, nil
}

// parseChunk appends the runs of a chunk.
func parseChunk(dst []run, key, value []byte) ([]run, error) {
	_, version, err := parseRunKey(key)
	if err != nil {
		return dst, fmt.Errorf("%w: %w", leat.ErrCorrupt, err)
	}
	if dst, err = parseRuns(dst, version, value); err != nil {
		err = fmt.Errorf("chunk %q: %w", key, err)
	}
	return dst, err
}

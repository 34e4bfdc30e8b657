package engine

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/leathq/leat"
)

// An index finds what blocks hold: the version of a stream, the event of an ID,
// the runs of a stream. It is written in the batch of the blocks it describes.
// The committer alone uses it; readers use runs.
type index struct {
	db    *pebble.DB
	heads headCache

	// What the group under way adds and the store does not show yet.
	ids   map[streamID]known
	dirty []*head // those that changed

	buf []byte
}

type streamID struct{ stream, id string }

// known is what is remembered of an event for good, to recognise its ID.
type known struct {
	shard        uint32
	seq, version uint64
	at, time     int64
	digest       [16]byte
}

func newIndex(db *pebble.DB, cacheBytes int64) *index {
	return &index{db: db, heads: headCache{max: cacheBytes}, ids: make(map[streamID]known)}
}

// version returns the version of a stream, 0 when it has no events.
func (x *index) version(stream string) (uint64, error) {
	if h := x.heads.get(stream); h != nil {
		return h.version, nil
	}
	x.buf = appendHeadKey(x.buf[:0], stream)
	v, err := readHead(x.db, x.buf)
	if err != nil {
		return 0, fmt.Errorf("version of stream %q: %w", stream, err)
	}
	x.heads.add(stream, v)
	return v, nil
}

// find returns what is known of an ID. Do not ask for streams without events.
func (x *index) find(stream, id string) (known, bool, error) {
	if k, ok := x.ids[streamID{stream, id}]; ok {
		return k, true, nil
	}
	x.buf = appendIDKey(x.buf[:0], stream, id)
	k, err := readKnown(x.db, x.buf)
	if errors.Is(err, pebble.ErrNotFound) {
		return known{}, false, nil
	}
	if err != nil {
		return known{}, false, fmt.Errorf("event ID %q of stream %q: %w", id, stream, err)
	}
	return k, true, nil
}

// record gives an event of the group under way the next version of its stream,
// which version was asked for in the same group, and notes its ID.
func (x *index) record(e *entry) {
	x.note(e, x.heads.get(e.stream).version+1)
}

// note notes an event of the group under way that has a version.
func (x *index) note(e *entry, version uint64) {
	h := x.heads.get(e.stream)
	h.version, e.version = version, version
	if !h.dirty {
		h.dirty = true
		x.dirty = append(x.dirty, h)
	}
	x.ids[streamID{e.stream, e.id}] = e.known
}

// addBlock writes what a block adds to the index.
func (x *index) addBlock(b *pebble.Batch, events []*entry) {
	for _, e := range events {
		x.buf = appendIDKey(x.buf[:0], e.stream, e.id)
		key := len(x.buf)
		x.buf = e.known.append(x.buf)
		set(b, x.buf[:key], x.buf[key:])
	}
	for start := 0; start < len(events); {
		end := start + 1
		for end < len(events) && events[end].stream == events[start].stream {
			end++
		}
		last := events[end-1]
		x.buf = appendRunKey(x.buf[:0], last.stream, last.version)
		key := len(x.buf)
		x.buf = binary.AppendUvarint(x.buf, uint64(last.shard))
		x.buf = binary.AppendUvarint(x.buf, last.seq)
		x.buf = binary.AppendUvarint(x.buf, uint64(end-start))
		set(b, x.buf[:key], x.buf[key:])
		start = end
	}
}

// finish writes the heads that the group changed.
func (x *index) finish(b *pebble.Batch) {
	for _, h := range x.dirty {
		h.dirty = false
		x.buf = appendHeadKey(x.buf[:0], h.stream)
		key := len(x.buf)
		x.buf = binary.AppendUvarint(x.buf, h.version)
		set(b, x.buf[:key], x.buf[key:])
	}
	clear(x.dirty)
	x.dirty = x.dirty[:0]
}

// applied forgets the group: the store shows it now.
func (x *index) applied() {
	clear(x.ids)
	x.heads.trim()
}

// set adds a pair to a batch. It fails only for indexed batches, which ours are
// not.
func set(b *pebble.Batch, key, value []byte) { _ = b.Set(key, value, nil) }

func readHead(db pebble.Reader, key []byte) (uint64, error) {
	value, closer, err := db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer closer.Close()
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

// A run is a longest sequence of neighbouring events of one stream in a block.
type run struct {
	version uint64 // of its last event
	shard   uint32
	seq     uint64 // of its last event
	n       uint64
}

func (r run) firstVersion() uint64 { return r.version - r.n + 1 }
func (r run) firstSeq() uint64     { return r.seq - r.n + 1 }

func parseRun(key, value []byte) (run, error) {
	_, version, err := parseRunKey(key)
	if err != nil {
		return run{}, fmt.Errorf("%w: %w", leat.ErrCorrupt, err)
	}
	f := fields{rest: value}
	r := run{version: version, shard: uint32(f.uvarint()), seq: f.uvarint(), n: f.uvarint()}
	if f.bad || len(f.rest) > 0 || r.n == 0 || r.n > r.version || r.n > r.seq {
		return run{}, fmt.Errorf("%w: run %x of %q", leat.ErrCorrupt, value, key)
	}
	return r, nil
}

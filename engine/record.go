package engine

import (
	"encoding/binary"
	"errors"
	"time"
	"unsafe"

	"github.com/leathq/leat"
)

// The fixed part of an event in a block.
const recordHeaderSize = 32

// appendRecord appends an event as it stands in a block, without what the
// committer decides: see setPlace.
func appendRecord(dst []byte, e *leat.Event) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, recordHeaderSize)...)
	contentType := e.ContentType
	if contentType == leat.DefaultContentType {
		contentType = ""
	}
	for _, s := range [...]string{e.Stream, e.Type, e.ID, e.Source, contentType} {
		dst = appendString(dst, s)
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.Meta)))
	for _, a := range e.Meta {
		dst = appendString(appendString(dst, a.Key), a.Value)
	}
	dst = append(dst, e.Data...)
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(dst)-start))
	return dst
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// setPlace completes an encoded event: its place in its Append, from 0, its
// version, At and Time.
func setPlace(raw []byte, place uint32, version uint64, at, happened int64) {
	binary.LittleEndian.PutUint32(raw[4:], place)
	binary.LittleEndian.PutUint64(raw[8:], version)
	binary.LittleEndian.PutUint64(raw[16:], uint64(at))
	binary.LittleEndian.PutUint64(raw[24:], uint64(happened))
}

// A record is an event where it stands in a block: what is known of it without
// looking at its texts. Its memory is the block's.
type record struct {
	raw      []byte
	shard    uint32
	place    uint32 // in its Append, from 0
	seq      uint64
	version  uint64
	at, time int64 // nanoseconds since 1970
}

// commit returns the sequence of the first event of the same Append.
func (r *record) commit() uint64 { return r.seq - uint64(r.place) }

var (
	errShort   = errors.New("longer than what is left of the block")
	errLengths = errors.New("lengths do not add up")
	errVersion = errors.New("version 0")
)

// parseRecord checks the event at the beginning of b and returns it.
func parseRecord(b []byte) (record, error) {
	if len(b) < recordHeaderSize {
		return record{}, errShort
	}
	n := binary.LittleEndian.Uint32(b)
	if n < recordHeaderSize || uint64(n) > uint64(len(b)) {
		return record{}, errShort
	}
	const names = 5 // stream, type, ID, source, content type
	raw := b[:n:n]
	p := skipTexts(raw, recordHeaderSize, names)
	if p < 0 || p == len(raw) {
		return record{}, errLengths
	}
	if stream, _ := nextText(raw, recordHeaderSize); stream == "" {
		return record{}, errLengths
	}
	attrs, size := binary.Uvarint(raw[p:])
	if size <= 0 || attrs > uint64(len(raw)) || skipTexts(raw, p+size, 2*int(attrs)) < 0 {
		return record{}, errLengths
	}
	r := readRecord(raw)
	if r.version == 0 {
		return record{}, errVersion
	}
	return r, nil
}

// skipTexts returns where n texts that begin at p end, less than 0 when they do
// not fit.
func skipTexts(raw []byte, p, n int) int {
	for ; n > 0; n-- {
		if p >= len(raw) {
			return -1
		}
		size := uint64(raw[p])
		if p++; size >= 0x80 {
			v, bytes := binary.Uvarint(raw[p-1:])
			if bytes <= 0 {
				return -1
			}
			size, p = v, p-1+bytes
		}
		if size > uint64(len(raw)-p) {
			return -1
		}
		p += int(size)
	}
	return p
}

// readRecord returns an event that parseRecord found good. Its place in the log
// is for the caller to add.
func readRecord(raw []byte) record {
	return record{
		raw:     raw,
		place:   binary.LittleEndian.Uint32(raw[4:]),
		version: binary.LittleEndian.Uint64(raw[8:]),
		at:      int64(binary.LittleEndian.Uint64(raw[16:])),
		time:    int64(binary.LittleEndian.Uint64(raw[24:])),
	}
}

// decodeEvent makes e the event at raw, which parseRecord found good and whose
// memory becomes the event's. attrs has room for its Meta, if possible, and is
// returned without what was used.
func decodeEvent(e *leat.Recorded, shard leat.ShardID, seq uint64, raw []byte, attrs []leat.Attr) []leat.Attr {
	e.Shard, e.Seq, e.Commit = shard, seq, seq-uint64(binary.LittleEndian.Uint32(raw[4:]))
	e.Version = binary.LittleEndian.Uint64(raw[8:])
	at, happened := int64(binary.LittleEndian.Uint64(raw[16:])), int64(binary.LittleEndian.Uint64(raw[24:]))
	e.At = fromNanos(at)
	if e.Time = e.At; happened != at {
		e.Time = fromNanos(happened)
	}
	p := recordHeaderSize
	e.Stream, p = nextText(raw, p)
	e.Type, p = nextText(raw, p)
	e.ID, p = nextText(raw, p)
	e.Source, p = nextText(raw, p)
	if e.ContentType, p = nextText(raw, p); e.ContentType == "" {
		e.ContentType = leat.DefaultContentType
	}
	e.Meta, e.Data = nil, nil
	n, p := nextLength(raw, p)
	if n > 0 {
		if n > cap(attrs) {
			attrs = make([]leat.Attr, max(n, moreAttrs))
		}
		e.Meta, attrs = attrs[:n:n], attrs[n:]
		for i := range e.Meta {
			a := &e.Meta[i]
			a.Key, p = nextText(raw, p)
			a.Value, p = nextText(raw, p)
		}
	}
	if p < len(raw) {
		e.Data = raw[p:len(raw):len(raw)]
	}
	return attrs
}

// nextText returns the text at p, whose length stands before it, and where it
// ends.
func nextText(raw []byte, p int) (string, int) {
	n, p := nextLength(raw, p)
	return text(raw[p : p+n]), p + n
}

func nextLength(raw []byte, p int) (n, next int) {
	if n := int(raw[p]); n < 0x80 { // as nearly always
		return n, p + 1
	}
	return longLength(raw, p)
}

func longLength(raw []byte, p int) (n, next int) {
	v, size := binary.Uvarint(raw[p:])
	return int(v), p + size
}

// moreAttrs is for how many attributes memory is taken at a time.
const moreAttrs = 24

// fields reads numbers one after the other. After one that is none, bad is set
// and everything reads as zero.
type fields struct {
	rest []byte
	bad  bool
}

func (f *fields) uvarint() uint64 {
	v, n := binary.Uvarint(f.rest)
	if n <= 0 {
		f.bad, f.rest = true, nil
		return 0
	}
	f.rest = f.rest[n:]
	return v
}

// text returns b as a string that shares its memory, which must never change
// again while the string is in use.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func fromNanos(ns int64) time.Time { return time.Unix(0, ns).UTC() }

// A gift is memory for events that the caller of the log keeps. It grows in
// pieces of a bounded size, because an event that is kept keeps all of its
// piece.
type gift struct {
	bytes     []byte
	attrs     []leat.Attr
	lastPiece int // of bytes
}

const maxPiece = 16 << 10

// event decodes an event into memory of the gift: see decodeEvent.
func (g *gift) event(e *leat.Recorded, shard leat.ShardID, seq uint64, raw []byte) {
	n := len(raw)
	if n > len(g.bytes) {
		g.lastPiece = max(n, min(2*g.lastPiece, maxPiece))
		g.bytes = make([]byte, g.lastPiece)
	}
	copied := g.bytes[:n:n]
	copy(copied, raw)
	g.bytes = g.bytes[n:]
	g.attrs = decodeEvent(e, shard, seq, copied, g.attrs)
}

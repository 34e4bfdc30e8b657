package engine

import (
	"bytes"
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

// A record is an event where it stands in a block: parsed as far as its type.
// Its memory is the block's.
type record struct {
	raw      []byte
	shard    uint32
	place    uint32 // in its Append, from 0
	seq      uint64
	commit   uint64
	version  uint64
	at, time int64 // nanoseconds since 1970
	stream   []byte
	typ      []byte
}

var (
	errShort   = errors.New("longer than what is left of the block")
	errLengths = errors.New("lengths do not add up")
	errVersion = errors.New("version 0")
)

// parseRecord parses the event at the beginning of b.
func parseRecord(b []byte) (record, error) {
	if len(b) < recordHeaderSize {
		return record{}, errShort
	}
	n := binary.LittleEndian.Uint32(b)
	if n < recordHeaderSize || uint64(n) > uint64(len(b)) {
		return record{}, errShort
	}
	r := record{
		raw:     b[:n:n],
		place:   binary.LittleEndian.Uint32(b[4:]),
		version: binary.LittleEndian.Uint64(b[8:]),
		at:      int64(binary.LittleEndian.Uint64(b[16:])),
		time:    int64(binary.LittleEndian.Uint64(b[24:])),
	}
	if r.version == 0 {
		return record{}, errVersion
	}
	f := fields{rest: r.raw[recordHeaderSize:]}
	r.stream, r.typ = f.bytes(), f.bytes()
	if f.bad || len(r.stream) == 0 {
		return record{}, errLengths
	}
	return r, nil
}

// event returns the event, of the shard called id, in memory of its own.
func (r *record) event(id leat.ShardID) (leat.Recorded, error) {
	f := fields{rest: bytes.Clone(r.raw[recordHeaderSize:])}
	e := leat.Recorded{Shard: id, Seq: r.seq, Commit: r.commit, Version: r.version, At: fromNanos(r.at)}
	e.Stream, e.Type, e.ID, e.Source = text(f.bytes()), text(f.bytes()), text(f.bytes()), text(f.bytes())
	e.ContentType, e.Time = text(f.bytes()), fromNanos(r.time)
	if e.ContentType == "" {
		e.ContentType = leat.DefaultContentType
	}
	// Every attribute takes two bytes at least: no count makes this allocate
	// more than a multiple of the block.
	attrs := f.uvarint()
	if f.bad || attrs > uint64(len(f.rest))/2 {
		return leat.Recorded{}, errLengths
	}
	if attrs > 0 {
		e.Meta = make(leat.Meta, attrs)
	}
	for i := range e.Meta {
		e.Meta[i] = leat.Attr{Key: text(f.bytes()), Value: text(f.bytes())}
	}
	if f.bad {
		return leat.Recorded{}, errLengths
	}
	if len(f.rest) > 0 {
		e.Data = f.rest[:len(f.rest):len(f.rest)]
	}
	return e, nil
}

// fields reads the variable part of an event. After a length that does not fit,
// bad is set and everything reads as empty.
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

func (f *fields) bytes() []byte {
	n := f.uvarint()
	if n > uint64(len(f.rest)) {
		f.bad, f.rest = true, nil
		return nil
	}
	b := f.rest[:n]
	f.rest = f.rest[n:]
	return b
}

// size returns the bytes of the event that count as read, a little more than
// leat.Event.Size.
func (r *record) size() int { return len(r.raw) - recordHeaderSize }

// text returns b as a string that shares its memory, which must never change
// again while the string is in use.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func fromNanos(ns int64) time.Time { return time.Unix(0, ns).UTC() }

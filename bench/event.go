package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/leathq/leat"
)

// streamName returns a name of 20 bytes for a producer's n-th stream.
func streamName(producer, n int) string { return fmt.Sprintf("order-%04d%010d", producer, n) }

// newEvent returns the event of all loads: a UUIDv7, a stream name of 20 bytes,
// three attributes and the given data.
func newEvent(stream string, data []byte) leat.Event {
	return leat.Event{
		ID: leat.NewID(), Stream: stream, Type: "OrderPlaced", Source: "bench", Time: time.Now().Truncate(time.Microsecond),
		ContentType: leat.DefaultContentType, Data: data, Meta: meta,
	}
}

var meta = leat.Meta{
	{Key: leat.MetaCausation, Value: "0199f3c0-0000-7000-8000-000000000000"},
	{Key: leat.MetaCorrelation, Value: "0199f3c0-0000-7000-8000-000000000001"},
	{Key: "tenant", Value: "a"},
}

// newData returns so many bytes that look like hexadecimal digits to a
// compressor.
func newData(size int) []byte {
	data := make([]byte, size)
	state := uint64(size)
	for i := range data {
		state = state*6364136223846793005 + 1442695040888963407
		data[i] = "0123456789abcdef"[state>>60]
	}
	return data
}

// encode appends the binary form of an event and its version: what NATS and
// Redis keep, which know no columns. Fields are preceded by their length.
func encode(b []byte, e *leat.Event, version uint64) []byte {
	b = binary.AppendUvarint(b, version)
	b = binary.AppendVarint(b, e.Time.UnixNano())
	for _, s := range []string{e.ID, e.Stream, e.Type, e.Source, e.ContentType} {
		b = appendString(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(e.Data)))
	b = append(b, e.Data...)
	return encodeMeta(b, e.Meta)
}

// encodeMeta appends the binary form of attributes, which the tables of
// PostgreSQL and SQLite keep in one column.
func encodeMeta(b []byte, m leat.Meta) []byte {
	b = binary.AppendUvarint(b, uint64(len(m)))
	for _, a := range m {
		b = appendString(b, a.Key)
		b = appendString(b, a.Value)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decode fills r from what encode made. Data then shares the memory of b.
func decode(r *leat.Recorded, b []byte) error {
	d := decoder{b: b}
	r.Version = d.uvarint()
	r.Time = time.Unix(0, d.varint()).UTC()
	r.ID, r.Stream, r.Type, r.Source, r.ContentType = d.string(), d.string(), d.string(), d.string(), d.string()
	r.Data = d.bytes()
	r.Meta = d.meta()
	return d.err
}

func decodeMeta(b []byte) (leat.Meta, error) {
	d := decoder{b: b}
	m := d.meta()
	return m, d.err
}

var errEncoding = errors.New("what was read is not an event of this comparison")

// A decoder takes fields off the front of b until one is not there.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	d.skip(n)
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	d.skip(n)
	return v
}

func (d *decoder) skip(n int) {
	if n <= 0 {
		d.b, d.err = nil, errEncoding
		return
	}
	d.b = d.b[n:]
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.b, d.err = nil, errEncoding
		return nil
	}
	field := d.b[:n:n]
	d.b = d.b[n:]
	return field
}

func (d *decoder) string() string { return string(d.bytes()) }

func (d *decoder) meta() leat.Meta {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.b, d.err = nil, errEncoding
		return nil
	}
	m := make(leat.Meta, n)
	for i := range m {
		m[i] = leat.Attr{Key: d.string(), Value: d.string()}
	}
	return m
}

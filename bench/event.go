package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/leathq/leat"
)

// streamName returns a name of 20 bytes for a producer's n-th stream. Names do
// not come in order, as those of customers or baskets do not.
func streamName(producer, n int) string {
	const bits, odd = 56, 0x9e3779b97f4a7c15 // any odd factor makes it one to one
	number := uint64(producer)<<40 | uint64(n)
	return fmt.Sprintf("order-%014x", number*odd&(1<<bits-1))
}

// newEvent returns the event of all loads: a UUIDv7, a stream name of 20 bytes,
// so many bytes of Data and three attributes. Its content follows from its ID,
// so that it can be checked when it is read.
func newEvent(stream string, size int) leat.Event {
	e := leat.Event{
		ID: leat.NewID(), Stream: stream, Type: "OrderPlaced", Source: "bench", Time: time.Now().Truncate(time.Microsecond),
		ContentType: leat.DefaultContentType,
	}
	e.Data, e.Meta = content(e.ID, size)
	return e
}

// intact returns an error unless an event is as newEvent made it.
func intact(r *leat.Recorded, size int) error {
	data, meta := content(r.ID, size)
	if r.Type != "OrderPlaced" || r.Source != "bench" || r.ContentType != leat.DefaultContentType || r.Time.IsZero() ||
		!slices.Equal(r.Meta, meta) || !bytes.Equal(r.Data, data) {
		return fmt.Errorf("version %d of %s is not as it was submitted: %+v", r.Version, r.Stream, r.Event)
	}
	return nil
}

// content returns the Data and attributes that belong to an ID. Many events
// share their memory, but no two of them have much in common.
func content(id string, size int) ([]byte, leat.Meta) {
	n := crc32.ChecksumIEEE([]byte(id))
	at := int(n) % (len(digits) - size)
	return digits[at : at+size : at+size], metas[int(n)%len(metas)]
}

// digits are what Data is taken from: hexadecimal, so that a compressor can
// make half of them at best.
var digits = func() []byte {
	random := rand.NewChaCha8([32]byte{})
	raw := make([]byte, 4<<20)
	_, _ = random.Read(raw) // never fails
	return hex.AppendEncode(nil, raw)
}()

var metas = func() []leat.Meta {
	id := func(n int) string {
		return "0199f3c0-" + string(digits[n:n+4]) + "-7000-8000-" + string(digits[n+4:n+16])
	}
	all := make([]leat.Meta, 4096)
	for i := range all {
		all[i] = leat.Meta{
			{Key: leat.MetaCausation, Value: id(32 * i)},
			{Key: leat.MetaCorrelation, Value: id(32*i + 16)},
			{Key: "tenant", Value: fmt.Sprintf("tenant-%02d", i%100)},
		}
	}
	return all
}()

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

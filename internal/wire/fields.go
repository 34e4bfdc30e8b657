package wire

import (
	"errors"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
)

// fields reads the fields of an encoded message one after the other. What is
// read shares its memory.
type fields struct {
	rest   []byte
	number protowire.Number
	kind   protowire.Type
	err    error
}

var errNumber = errors.New("a field number that is out of range")

// next reports whether there is another field. Then its value is to be read,
// with one of the methods below.
func (f *fields) next() bool {
	if len(f.rest) == 0 || f.err != nil {
		return false
	}
	number, kind, n := protowire.ConsumeTag(f.rest)
	if f.failed(n) {
		return false
	}
	if !number.IsValid() {
		f.err = errNumber
		return false
	}
	f.number, f.kind, f.rest = number, kind, f.rest[n:]
	return true
}

// is reports whether the field has this number and kind. One of another kind is
// unknown, as one of another number.
func (f *fields) is(number protowire.Number, kind protowire.Type) bool {
	return f.number == number && f.kind == kind
}

func (f *fields) bytes() []byte {
	v, n := protowire.ConsumeBytes(f.rest)
	if f.failed(n) {
		return nil
	}
	f.rest = f.rest[n:]
	return v[:len(v):len(v)]
}

func (f *fields) text() string {
	b := f.bytes()
	return unsafe.String(unsafe.SliceData(b), len(b)) // a message never changes
}

func (f *fields) varint() uint64 {
	v, n := protowire.ConsumeVarint(f.rest)
	if f.failed(n) {
		return 0
	}
	f.rest = f.rest[n:]
	return v
}

func (f *fields) fixed64() uint64 {
	v, n := protowire.ConsumeFixed64(f.rest)
	if f.failed(n) {
		return 0
	}
	f.rest = f.rest[n:]
	return v
}

// skip passes over a field that is unknown.
func (f *fields) skip() {
	if n := protowire.ConsumeFieldValue(f.number, f.kind, f.rest); !f.failed(n) {
		f.rest = f.rest[n:]
	}
}

func (f *fields) failed(n int) bool {
	if n < 0 {
		f.err = protowire.ParseError(n)
	}
	return n < 0
}

// Sizes and writers of fields whose numbers are below 16. Zero values are left
// out.

func textSize(s string) int {
	if s == "" {
		return 0
	}
	return 1 + protowire.SizeBytes(len(s))
}

func appendText(b []byte, number protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), s)
}

func varintSize(v uint64) int {
	if v == 0 {
		return 0
	}
	return 1 + protowire.SizeVarint(v)
}

func appendVarint(b []byte, number protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), v)
}

func appendFixed64(b []byte, number protowire.Number, v uint64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, number, protowire.Fixed64Type), v)
}

// appendSize begins a field of so many bytes.
func appendSize(b []byte, number protowire.Number, size int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.BytesType), uint64(size))
}

func fieldSize(size int) int { return 1 + protowire.SizeBytes(size) }

func fromBool(v bool) uint64 { return protowire.EncodeBool(v) }

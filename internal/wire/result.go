package wire

import (
	"fmt"
	"slices"

	"github.com/leathq/leat"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// EncodeResult adds the result of an append to an AppendStreamResponse: that of
// err when it is not nil.
func EncodeResult(b []byte, number uint64, r *leat.Receipt, err error) []byte {
	if err != nil {
		return encodeFailure(b, number, err)
	}
	versions := 0
	for _, v := range r.Versions {
		versions += protowire.SizeVarint(v)
	}
	receipt := textSize(string(r.Shard)) + varintSize(r.First) + varintSize(r.Last) + fieldSize(versions) +
		1 + protowire.SizeFixed64() + varintSize(fromBool(r.Duplicate))
	b = appendSize(b, 1, varintSize(number)+fieldSize(receipt))
	b = appendVarint(b, 1, number)
	b = appendSize(b, 2, receipt)
	b = appendText(b, 1, string(r.Shard))
	b = appendVarint(b, 2, r.First)
	b = appendVarint(b, 3, r.Last)
	b = appendSize(b, 4, versions)
	for _, v := range r.Versions {
		b = protowire.AppendVarint(b, v)
	}
	b = appendFixed64(b, 5, uint64(r.At.UnixNano()))
	return appendVarint(b, 6, fromBool(r.Duplicate))
}

func encodeFailure(b []byte, number uint64, err error) []byte {
	m := &leatv1.AppendStreamResponse{Results: []*leatv1.AppendResult{{
		Number: number, Outcome: &leatv1.AppendResult_Error{Error: FromError(err)},
	}}}
	encoded, e := proto.MarshalOptions{}.MarshalAppend(b, m)
	if e == nil {
		return encoded
	}
	// A name in it is no UTF-8: the log failed to refuse that.
	return encodeFailure(b, number, fmt.Errorf("%w: %s", leat.ErrUncertain, cut(err.Error())))
}

// EncodeWindow adds the window to an AppendStreamResponse.
func EncodeWindow(b []byte, window int) []byte { return appendVarint(b, 2, uint64(window)) }

// A Result is what a server answers to an append.
type Result struct {
	Number  uint64
	Receipt *leat.Receipt // nil when there is an error
	Err     *leatv1.Error // nil when there is a receipt; both are nil when the server told neither
}

// A ResultDecoder decodes the results of appends. It is for one goroutine.
type ResultDecoder struct {
	shard    leat.ShardID // that was told last
	versions []uint64
}

// EachResult calls do for each result of an AppendStreamResponse, and returns
// its window, 0 when it tells none. The receipt is for do to copy.
func (d *ResultDecoder) EachResult(message []byte, do func(*Result)) (window uint32, err error) {
	var receipt leat.Receipt
	f := fields{rest: message}
	for f.next() {
		switch {
		case f.is(1, protowire.BytesType):
			encoded := f.bytes()
			if f.err != nil {
				return window, f.err
			}
			r, err := d.result(encoded, &receipt)
			if err != nil {
				return window, err
			}
			do(&r)
		case f.is(2, protowire.VarintType):
			window = uint32(f.varint())
		default:
			f.skip()
		}
	}
	return window, f.err
}

func (d *ResultDecoder) result(encoded []byte, receipt *leat.Receipt) (r Result, err error) {
	f := fields{rest: encoded}
	for f.next() {
		switch {
		case f.is(1, protowire.VarintType):
			r.Number = f.varint()
		case f.is(2, protowire.BytesType):
			if r.Receipt == nil { // otherwise this is more of it
				*receipt = leat.Receipt{At: moment(0)}
				r.Receipt, r.Err = receipt, nil
			}
			err = d.receipt(f.bytes(), receipt)
		case f.is(3, protowire.BytesType):
			if r.Err == nil {
				r.Receipt, r.Err = nil, new(leatv1.Error)
			}
			err = proto.UnmarshalOptions{Merge: true}.Unmarshal(f.bytes(), r.Err)
		default:
			f.skip()
		}
		if err != nil {
			return r, err
		}
	}
	return r, f.err
}

func (d *ResultDecoder) receipt(encoded []byte, r *leat.Receipt) error {
	f := fields{rest: encoded}
	for f.next() {
		switch {
		case f.is(1, protowire.BytesType):
			if shard := f.bytes(); string(shard) != string(d.shard) {
				d.shard = leat.ShardID(shard)
			}
			r.Shard = d.shard
		case f.is(2, protowire.VarintType):
			r.First = f.varint()
		case f.is(3, protowire.VarintType):
			r.Last = f.varint()
		case f.is(4, protowire.BytesType):
			r.Versions = d.unpack(&f, r.Versions)
		case f.is(4, protowire.VarintType): // not packed
			r.Versions = append(r.Versions, f.varint())
		case f.is(5, protowire.Fixed64Type):
			r.At = moment(int64(f.fixed64()))
		case f.is(6, protowire.VarintType):
			r.Duplicate = protowire.DecodeBool(f.varint())
		default:
			f.skip()
		}
	}
	return f.err
}

// pieceVersions is for how many versions a ResultDecoder takes memory at a time.
const pieceVersions = 32

// unpack adds the versions of a packed field to those before.
func (d *ResultDecoder) unpack(f *fields, before []uint64) []uint64 {
	packed := fields{rest: f.bytes()}
	n := len(before)
	for _, b := range packed.rest {
		if b < 0x80 {
			n++
		}
	}
	if n > len(d.versions) {
		d.versions = make([]uint64, max(n, pieceVersions))
	}
	versions := d.versions[:0:n]
	d.versions = d.versions[n:]
	versions = append(versions, before...)
	for len(packed.rest) > 0 && packed.err == nil {
		versions = append(versions, packed.varint())
	}
	if packed.err != nil {
		f.err = packed.err
	}
	return slices.Clip(versions)
}

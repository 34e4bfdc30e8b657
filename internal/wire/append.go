package wire

import (
	"fmt"
	"strings"
	"unsafe"

	"github.com/leathq/leat"
	"google.golang.org/protobuf/encoding/protowire"
)

// The messages of AppendStream are many and small. Both ends read and write them
// here as proto/leat/v1 says, without an object for each of their parts.

// EncodedSize returns how many bytes EncodeAppend adds.
func EncodedSize(events []leat.Event, conds []leat.Condition) int {
	n := 0
	for i := range events {
		n += fieldSize(eventSize(&events[i]))
	}
	for i := range conds {
		n += fieldSize(conditionSize(&conds[i]))
	}
	return n
}

// EncodeAppend adds to b what a NumberedAppend has beside its number.
func EncodeAppend(b []byte, events []leat.Event, conds []leat.Condition) []byte {
	for i := range events {
		e := &events[i]
		b = appendEvent(appendSize(b, 2, eventSize(e)), e)
	}
	for i := range conds {
		c := &conds[i]
		b = appendSize(b, 3, conditionSize(c))
		b = appendText(b, 1, c.Stream)
		b = appendVarint(b, 2, c.Version)
		b = appendVarint(b, 3, fromBool(c.Exists))
	}
	return b
}

func eventSize(e *leat.Event) int {
	n := textSize(e.ID) + textSize(e.Stream) + textSize(e.Type) + textSize(e.Source) + textSize(e.ContentType)
	if !e.Time.IsZero() {
		n += 1 + protowire.SizeFixed64()
	}
	if len(e.Data) > 0 {
		n += fieldSize(len(e.Data))
	}
	for i := range e.Meta {
		n += fieldSize(attrSize(&e.Meta[i]))
	}
	return n
}

func attrSize(a *leat.Attr) int { return textSize(a.Key) + textSize(a.Value) }

func conditionSize(c *leat.Condition) int {
	return textSize(c.Stream) + varintSize(c.Version) + varintSize(fromBool(c.Exists))
}

func appendEvent(b []byte, e *leat.Event) []byte {
	b = appendText(b, 1, e.ID)
	b = appendText(b, 2, e.Stream)
	b = appendText(b, 3, e.Type)
	b = appendText(b, 4, e.Source)
	if !e.Time.IsZero() {
		b = appendFixed64(b, 5, uint64(e.Time.UnixNano()))
	}
	b = appendText(b, 6, e.ContentType)
	if len(e.Data) > 0 {
		b = append(appendSize(b, 7, len(e.Data)), e.Data...)
	}
	for i := range e.Meta {
		a := &e.Meta[i]
		b = appendSize(b, 8, attrSize(a))
		b = appendText(b, 1, a.Key)
		b = appendText(b, 2, a.Value)
	}
	return b
}

// EncodeLog adds the log of an AppendStreamRequest to b.
func EncodeLog(b []byte, log string) []byte { return appendText(b, 1, log) }

// Number adds a NumberedAppend to an AppendStreamRequest: a number and what
// EncodeAppend returned. That is at most NumberBytes more.
func Number(b []byte, number uint64, encoded []byte) []byte {
	b = appendSize(b, 2, varintSize(number)+len(encoded))
	return append(appendVarint(b, 1, number), encoded...)
}

// NumberBytes is what Number adds at most.
const NumberBytes = 2 * (1 + 10)

// LogOf returns the log that an AppendStreamRequest names, empty when it names
// none. The error says that the message is none.
func LogOf(message []byte) (log string, err error) {
	f := fields{rest: message}
	for f.next() {
		if f.is(1, protowire.BytesType) {
			log = f.text()
		} else {
			f.skip()
		}
	}
	return strings.Clone(log), f.err // which may be needed for longer than the message
}

// EachAppend calls do for each append of an AppendStreamRequest, as
// AppendDecoder.Decode takes it. It ends with the first error of do, or with one
// that says that the message is none.
func EachAppend(message []byte, do func(encoded []byte) error) error {
	f := fields{rest: message}
	for f.next() {
		if !f.is(2, protowire.BytesType) {
			f.skip()
			continue
		}
		encoded := f.bytes()
		if f.err != nil {
			break
		}
		if err := do(encoded); err != nil {
			return err
		}
	}
	return f.err
}

// A NumberedAppend is one append of an AppendStreamRequest.
type NumberedAppend struct {
	Number     uint64
	Events     []leat.Event
	Conditions []leat.Condition

	// Refused is why the rest was not decoded: more than it may have. The error
	// is a [*leat.InvalidError].
	Refused error
}

// An AppendDecoder decodes the appends of one message. Those that it returns
// share the memory of the message, which must not change any more, and take
// theirs from pieces that the decoder allocates. It is for one goroutine.
type AppendDecoder struct {
	// MaxEvents is how many events, and how many conditions, an append may have.
	MaxEvents int

	events []leat.Event
	attrs  []leat.Attr
	piece  int // size of the last piece, in events
}

// mostPiece is for how many events an AppendDecoder takes memory at a time. The
// first pieces are smaller, since many a message has one event.
const mostPiece = 32

// pieceAttrs is for how many attributes of an event it does.
const pieceAttrs = 3

// Decode decodes a NumberedAppend, and returns how much memory it has, that of
// the encoded form included. The error says that it is none.
func (d *AppendDecoder) Decode(encoded []byte) (a NumberedAppend, memory int, err error) {
	events, conds := 0, 0
	f := fields{rest: encoded}
	for f.next() {
		switch {
		case f.is(1, protowire.VarintType):
			a.Number = f.varint()
			continue
		case f.is(2, protowire.BytesType):
			events++
		case f.is(3, protowire.BytesType):
			conds++
		}
		f.skip()
	}
	if f.err != nil {
		return a, 0, f.err
	}
	memory = len(encoded) + events*eventMemory + conds*conditionMemory
	if events > d.MaxEvents {
		a.Refused = &leat.InvalidError{Field: "events", Limit: fmt.Sprintf("1 to %d", d.MaxEvents), Got: fmt.Sprint(events)}
		return a, len(encoded), nil
	}
	if conds > d.MaxEvents {
		a.Refused = &leat.InvalidError{Field: "conditions", Limit: fmt.Sprintf("at most %d", d.MaxEvents), Got: fmt.Sprint(conds)}
		return a, len(encoded), nil
	}
	if events > len(d.events) {
		d.piece = min(max(1, 2*d.piece), mostPiece)
		d.events = make([]leat.Event, max(events, d.piece))
	}
	a.Events, d.events = d.events[:events:events], d.events[events:]
	if conds > 0 {
		a.Conditions = make([]leat.Condition, 0, conds)
	}
	events = 0
	for f = (fields{rest: encoded}); f.next() && a.Refused == nil; {
		switch {
		case f.is(2, protowire.BytesType):
			var attrs int
			attrs, err = d.event(&a.Events[events], f.bytes())
			memory += min(attrs, leat.MaxMeta) * attrMemory
			if attrs > leat.MaxMeta {
				a.Refused = &leat.InvalidError{
					Field: fmt.Sprintf("events[%d].meta", events), Limit: fmt.Sprintf("at most %d attributes", leat.MaxMeta), Got: fmt.Sprint(attrs),
				}
			}
			events++
		case f.is(3, protowire.BytesType):
			var c leat.Condition
			c, err = decodeCondition(f.bytes())
			a.Conditions = append(a.Conditions, c)
		default:
			f.skip()
		}
		if err != nil {
			return a, 0, err
		}
	}
	return a, memory, f.err
}

// What the parts of an append have in memory beside their bytes.
const (
	eventMemory     = int(unsafe.Sizeof(leat.Event{}))
	attrMemory      = int(unsafe.Sizeof(leat.Attr{}))
	conditionMemory = int(unsafe.Sizeof(leat.Condition{}))
)

// event decodes an event, and returns how many attributes it has. It does not
// keep them when they are too many.
func (d *AppendDecoder) event(e *leat.Event, encoded []byte) (attrs int, err error) {
	var meta []leat.Attr
	f := fields{rest: encoded}
	for f.next() {
		switch {
		case f.is(1, protowire.BytesType):
			e.ID = f.text()
		case f.is(2, protowire.BytesType):
			e.Stream = f.text()
		case f.is(3, protowire.BytesType):
			e.Type = f.text()
		case f.is(4, protowire.BytesType):
			e.Source = f.text()
		case f.is(5, protowire.Fixed64Type):
			e.Time = moment(int64(f.fixed64()))
		case f.is(6, protowire.BytesType):
			e.ContentType = f.text()
		case f.is(7, protowire.BytesType):
			e.Data = f.bytes()
		case f.is(8, protowire.BytesType):
			a, err := decodeAttr(f.bytes())
			if err != nil {
				return 0, err
			}
			if attrs++; attrs <= leat.MaxMeta {
				meta = d.attr(meta, a)
			}
		default:
			f.skip()
		}
	}
	if len(meta) > 0 {
		d.attrs = d.attrs[len(meta):]
		e.Meta = meta[:len(meta):len(meta)]
	}
	return attrs, f.err
}

// attr adds an attribute to those of an event, which are at the beginning of the
// decoder's memory.
func (d *AppendDecoder) attr(meta []leat.Attr, a leat.Attr) []leat.Attr {
	if len(meta) == len(d.attrs) {
		d.attrs = make([]leat.Attr, max(2*len(meta), d.piece*pieceAttrs))
		copy(d.attrs, meta)
	}
	d.attrs[len(meta)] = a
	return d.attrs[:len(meta)+1]
}

func decodeAttr(encoded []byte) (a leat.Attr, err error) {
	f := fields{rest: encoded}
	for f.next() {
		switch {
		case f.is(1, protowire.BytesType):
			a.Key = f.text()
		case f.is(2, protowire.BytesType):
			a.Value = f.text()
		default:
			f.skip()
		}
	}
	return a, f.err
}

func decodeCondition(encoded []byte) (c leat.Condition, err error) {
	f := fields{rest: encoded}
	for f.next() {
		switch {
		case f.is(1, protowire.BytesType):
			c.Stream = f.text()
		case f.is(2, protowire.VarintType):
			c.Version = f.varint()
		case f.is(3, protowire.VarintType):
			c.Exists = protowire.DecodeBool(f.varint())
		default:
			f.skip()
		}
	}
	return c, f.err
}

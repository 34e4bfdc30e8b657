package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/leathq/leat"
)

// leafDomain begins what is hashed, so that no other hash is ever taken for the
// leaf of an event, and the encoding can have a successor.
const leafDomain = "leat event 1\n"

// A leafHasher computes leaf hashes. It is for one goroutine.
type leafHasher struct{ buf []byte }

// hash returns the RFC 6962 leaf hash of an event: the SHA-256 of a zero byte
// and the event's encoding. It covers everything the producer submitted, the
// version and At, and not the position, so that a copy of the event in another
// log has the same. docs/format-archive.md describes the encoding; it never
// changes.
func (h *leafHasher) hash(e *leat.Recorded) [sha256.Size]byte {
	h.buf = appendLeaf(append(h.buf[:0], 0), e)
	return sha256.Sum256(h.buf)
}

// appendLeaf appends the encoding of an event.
func appendLeaf(b []byte, e *leat.Recorded) []byte {
	b = append(b, leafDomain...)
	b = appendField(b, e.ID)
	b = appendField(b, e.Stream)
	b = appendField(b, e.Type)
	b = appendField(b, e.Source)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time.UnixNano()))
	b = appendField(b, e.ContentType)
	b = binary.BigEndian.AppendUint64(b, uint64(len(e.Data)))
	b = append(b, e.Data...)
	b = binary.BigEndian.AppendUint64(b, uint64(len(e.Meta)))
	for _, a := range e.Meta {
		b = appendField(b, a.Key)
		b = appendField(b, a.Value)
	}
	b = binary.BigEndian.AppendUint64(b, e.Version)
	return binary.BigEndian.AppendUint64(b, uint64(e.At.UnixNano()))
}

func appendField(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
	return append(b, s...)
}

// decodeLeaf reads the encoding of an event, which is one of one event only.
func decodeLeaf(leaf []byte) (leat.Recorded, error) {
	d := leafDecoder{rest: leaf}
	if !bytes.HasPrefix(leaf, []byte(leafDomain)) {
		return leat.Recorded{}, fmt.Errorf("%w: not the leaf of an event", leat.ErrCorrupt)
	}
	d.rest = leaf[len(leafDomain):]
	var e leat.Recorded
	e.ID, e.Stream, e.Type, e.Source = d.field(), d.field(), d.field(), d.field()
	e.Time = d.time()
	e.ContentType, e.Data = d.field(), []byte(d.field())
	for n := d.number(); n > 0 && d.err == nil; n-- {
		e.Meta = append(e.Meta, leat.Attr{Key: d.field(), Value: d.field()})
	}
	e.Version, e.At = d.number(), d.time()
	if d.err == nil && len(d.rest) > 0 {
		d.err = errors.New("it goes on after its end")
	}
	if d.err != nil {
		return leat.Recorded{}, fmt.Errorf("%w: the leaf of an event: %w", leat.ErrCorrupt, d.err)
	}
	return e, nil
}

// A leafDecoder reads fields until the first error.
type leafDecoder struct {
	rest []byte
	err  error
}

func (d *leafDecoder) number() uint64 {
	if len(d.rest) < 8 {
		d.rest, d.err = nil, errors.New("it is cut short")
		return 0
	}
	n := binary.BigEndian.Uint64(d.rest)
	d.rest = d.rest[8:]
	return n
}

func (d *leafDecoder) time() time.Time { return time.Unix(0, int64(d.number())).UTC() }

func (d *leafDecoder) field() string {
	n := d.number()
	if n > uint64(len(d.rest)) {
		d.rest, d.err = nil, errors.New("it is cut short")
		return ""
	}
	s := string(d.rest[:n])
	d.rest = d.rest[n:]
	return s
}

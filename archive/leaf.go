package archive

import (
	"crypto/sha256"
	"encoding/binary"

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
	b := h.buf[:0]
	b = append(b, 0)
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
	b = binary.BigEndian.AppendUint64(b, uint64(e.At.UnixNano()))
	h.buf = b
	return sha256.Sum256(b)
}

func appendField(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
	return append(b, s...)
}

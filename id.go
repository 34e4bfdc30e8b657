package leat

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// NewID returns a UUIDv7 (RFC 9562, section 5.7) in its canonical text form:
// 48 bits of milliseconds since 1970, then 74 random bits.
func NewID() string {
	var u [16]byte
	_, _ = rand.Read(u[6:]) // never fails: it ends the program rather than return an error
	ms := uint64(time.Now().UnixMilli())
	binary.BigEndian.PutUint16(u[0:], uint16(ms>>32))
	binary.BigEndian.PutUint32(u[2:], uint32(ms))
	u[6] = u[6]&0x0f | 0x70
	u[8] = u[8]&0x3f | 0x80

	var s [36]byte
	hex.Encode(s[0:], u[0:4])
	hex.Encode(s[9:], u[4:6])
	hex.Encode(s[14:], u[6:8])
	hex.Encode(s[19:], u[8:10])
	hex.Encode(s[24:], u[10:16])
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	return string(s[:])
}

// Digest returns what tells two events of one ID apart: the first 16 bytes of
// the SHA-256 of Type, Source, ContentType (DefaultContentType when empty),
// Data and the keys and values of Meta, each preceded by its length in eight
// bytes, big-endian. Stream and ID are what it is kept under. Time is compared
// apart, because a zero Time matches any.
//
// Logs keep digests for good, so this never changes.
func Digest(e *Event) [16]byte {
	var scratch [2048]byte
	b := scratch[:0]
	field := func(s string) {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	field(e.Type)
	field(e.Source)
	if e.ContentType == "" {
		field(DefaultContentType)
	} else {
		field(e.ContentType)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(len(e.Data)))
	b = append(b, e.Data...)
	for _, a := range e.Meta {
		field(a.Key)
		field(a.Value)
	}
	sum := sha256.Sum256(b)
	return [16]byte(sum[:16])
}

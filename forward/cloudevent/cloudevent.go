package cloudevent

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"mime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/leathq/leat"
)

// ContentType is the name of the attribute with the media type of the data.
const ContentType = "datacontenttype"

const (
	specVersion       = "1.0"
	attributeSequence = "sequence" // CloudEvents' extension: the order within a source
)

// An Attribute is one of a CloudEvent's, the data apart.
type Attribute struct{ Name, Value string }

// Attributes returns those of an event that comes from a log, in an order that
// never changes.
func Attributes(log string, e *leat.Recorded) []Attribute {
	all := []Attribute{
		{"specversion", specVersion},
		{"id", e.ID},
		{"source", sourceOf(e.Source, e.Stream)},
		{"type", e.Type},
		{"subject", e.Stream},
		{"time", e.Time.UTC().Format(time.RFC3339Nano)},
		{ContentType, e.ContentType},
	}
	for _, a := range e.OriginMeta(log).With(attributeSequence, fmt.Sprintf("%020d", e.Version)) {
		all = append(all, Attribute{a.Key, a.Value})
	}
	return all
}

// Digest returns 32 hexadecimal digits that stand for attributes and their
// order.
func Digest(all []Attribute) string {
	h := sha256.New()
	for _, a := range all {
		for _, s := range []string{a.Name, a.Value} {
			_ = binary.Write(h, binary.BigEndian, uint64(len(s)))
			_, _ = h.Write([]byte(s))
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Marshal returns an event that comes from a log in the JSON format of
// CloudEvents. Data that is JSON stands there as it is, byte for byte, other data
// in Base64.
func Marshal(log string, e *leat.Recorded) []byte {
	return Append(nil, Attributes(log, e), e)
}

// Append appends an event whose attributes are known, as Marshal does.
func Append(b []byte, all []Attribute, e *leat.Recorded) []byte {
	for i, a := range all {
		b = append(b, "{,"[min(i, 1)])
		b = appendString(b, a.Name)
		b = append(b, ':')
		b = appendString(b, a.Value)
	}
	switch {
	case len(e.Data) == 0:
	case isJSON(e.ContentType) && bare(e.Data):
		b = append(b, `,"data":`...)
		b = append(b, e.Data...)
	default:
		b = append(b, `,"data_base64":"`...)
		b = base64.StdEncoding.AppendEncode(b, e.Data)
		b = append(b, '"')
	}
	return append(b, '}')
}

// bare reports whether data is JSON that can stand in JSON and be found again
// byte for byte: without space around it.
func bare(data []byte) bool {
	return len(bytes.TrimSpace(data)) == len(data) && utf8.Valid(data) && json.Valid(data)
}

func appendString(b []byte, s string) []byte {
	text, _ := json.Marshal(s) // a string never fails
	return append(b, text...)
}

// isJSON reports whether CloudEvents takes data of a content type for JSON.
func isJSON(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (strings.HasSuffix(media, "/json") || strings.HasSuffix(media, "+json"))
}

// sourceOf returns a URI reference that holds a source and a stream, and from
// which cutSource gets both back.
func sourceOf(source, stream string) string { return escape(source) + "#" + escape(stream) }

func cutSource(uri string) (source string) {
	before, _, _ := strings.Cut(uri, "#")
	return ParseHeaderValue(before)
}

const upperHex = "0123456789ABCDEF"

// escape percent-encodes what cannot stand in a URI, and the characters "%" and
// "#".
func escape(s string) string {
	return encodeBytes(s, func(c byte) bool {
		return c > ' ' && c < 0x7f && !strings.ContainsRune("\"%#<>[]\\^`{|}", rune(c))
	})
}

// HeaderValue encodes an attribute for a header as CloudEvents has it: all but
// visible ASCII, and also the space, the double quote and "%".
func HeaderValue(s string) string {
	return encodeBytes(s, func(c byte) bool { return c > ' ' && c < 0x7f && c != '"' && c != '%' })
}

// encodeBytes percent-encodes the bytes of a string that are not plain.
func encodeBytes(s string, plain func(byte) bool) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; plain(c) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', upperHex[c>>4], upperHex[c&15]})
		}
	}
	return b.String()
}

// ParseHeaderValue decodes what HeaderValue encoded: it replaces "%XX" by the
// byte, and leaves alone what is not such.
func ParseHeaderValue(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := hex.DecodeString(s[i+1 : i+3]); err == nil {
				b.WriteByte(c[0])
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

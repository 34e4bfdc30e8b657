package webhook

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"mime"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

// Media types of CloudEvents.
const (
	typeStructured = "application/cloudevents+json"
	typeBatch      = "application/cloudevents-batch+json"
)

const (
	specVersion       = "1.0"
	contentType       = "datacontenttype"
	attributeSequence = "sequence" // CloudEvents' extension: the order within a source
)

// A message is what is sent at a time.
type message struct {
	id     string // webhook-id
	header map[string]string
	body   []byte
}

// An attribute is one of a CloudEvent's.
type attribute struct{ name, value string }

// attributes returns all of an event's but its data, in an order that never
// changes.
func attributes(log string, e *leat.Recorded) []attribute {
	all := []attribute{
		{"specversion", specVersion},
		{"id", e.ID},
		{"source", sourceOf(e.Source, e.Stream)},
		{"type", e.Type},
		{"subject", e.Stream},
		{"time", e.Time.UTC().Format(time.RFC3339Nano)},
		{contentType, e.ContentType},
	}
	meta := e.Meta.With(attributeSequence, fmt.Sprintf("%020d", e.Version))
	if meta.Get(leat.MetaOriginLog) == "" {
		meta = meta.With(leat.MetaOriginLog, log).
			With(leat.MetaOriginShard, string(e.Shard)).
			With(leat.MetaOriginSeq, strconv.FormatUint(e.Seq, 10))
	}
	for _, a := range meta {
		all = append(all, attribute{a.Key, a.Value})
	}
	return all
}

// eventPrefix is what the webhook-id of an event begins with.
const eventPrefix = "evt_"

// identify returns the webhook-id of an event: a digest of its attributes, so
// that a signature, which covers it, covers them even when they are in headers.
func identify(all []attribute) string {
	h := sha256.New()
	for _, a := range all {
		for _, s := range []string{a.name, a.value} {
			_ = binary.Write(h, binary.BigEndian, uint64(len(s)))
			_, _ = h.Write([]byte(s))
		}
	}
	return eventPrefix + hex.EncodeToString(h.Sum(nil)[:16])
}

// encode returns the request for a delivery, of one event unless it is a batch.
func encode(mode Mode, d service.Delivery) message {
	if mode == Batch {
		return batch(d)
	}
	e := &d.Events[0]
	all := attributes(d.Log, e)
	if mode == Binary && fitsHeader(e.ContentType) {
		return inHeaders(all, e)
	}
	return message{
		id: identify(all), header: map[string]string{"content-type": typeStructured},
		body: appendJSON(nil, all, e),
	}
}

// fitsHeader reports whether a content type can be a request's own: it is
// printable, and not that of a CloudEvent, which the data would then be taken
// for.
func fitsHeader(contentType string) bool {
	return strings.TrimSpace(contentType) == contentType &&
		!strings.HasPrefix(strings.ToLower(contentType), "application/cloudevents") &&
		!strings.ContainsFunc(contentType, func(r rune) bool { return r < ' ' || r > '~' })
}

func inHeaders(all []attribute, e *leat.Recorded) message {
	m := message{id: identify(all), header: make(map[string]string), body: e.Data}
	for _, a := range all {
		if a.name == contentType {
			m.header["content-type"] = a.value
			continue
		}
		m.header["ce-"+a.name] = headerValue(a.value)
	}
	return m
}

func batch(d service.Delivery) message {
	body, ids := []byte{'['}, sha256.New()
	for i := range d.Events {
		if i > 0 {
			body = append(body, ',')
		}
		all := attributes(d.Log, &d.Events[i])
		_, _ = ids.Write([]byte(identify(all)))
		body = appendJSON(body, all, &d.Events[i])
	}
	return message{
		id:     "bat_" + hex.EncodeToString(ids.Sum(nil)[:16]),
		header: map[string]string{"content-type": typeBatch},
		body:   append(body, ']'),
	}
}

// appendJSON appends an event in the JSON format of CloudEvents. Data that is
// JSON stands there as it is, byte for byte, other data in Base64.
func appendJSON(b []byte, all []attribute, e *leat.Recorded) []byte {
	for i, a := range all {
		b = append(b, "{,"[min(i, 1)])
		b = appendString(b, a.name)
		b = append(b, ':')
		b = appendString(b, a.value)
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
	return unescape(before)
}

const upperHex = "0123456789ABCDEF"

// escape percent-encodes what cannot stand in a URI, and the characters "%" and
// "#".
func escape(s string) string {
	return encodeBytes(s, func(c byte) bool {
		return c > ' ' && c < 0x7f && !strings.ContainsRune("\"%#<>[]\\^`{|}", rune(c))
	})
}

// headerValue encodes an attribute for a header as CloudEvents has it: all but
// visible ASCII, and also the space, the double quote and "%".
func headerValue(s string) string {
	return encodeBytes(s, func(c byte) bool { return c > ' ' && c < 0x7f && c != '"' && c != '%' })
}

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

// unescape replaces "%XX" by the byte, and leaves alone what is not such.
func unescape(s string) string {
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

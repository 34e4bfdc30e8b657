package webhook

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/leathq/leat"
	"github.com/leathq/leat/forward/cloudevent"
	"github.com/leathq/leat/service"
)

// Media types of CloudEvents.
const (
	typeStructured = "application/cloudevents+json"
	typeBatch      = "application/cloudevents-batch+json"
)

// A message is what is sent at a time.
type message struct {
	id     string // webhook-id
	header map[string]string
	body   []byte
}

// What the webhook-id of a message begins with, by its mode. It is signed, as the
// content type is not: nothing else says whether a body is an event or its data.
const (
	structuredPrefix = "evt_"
	binaryPrefix     = "bin_"
	batchPrefix      = "bat_"
)

// binaryID returns the webhook-id of an event in binary mode: its digest of the
// attributes, which are in headers, lets the signature cover them.
func binaryID(all []cloudevent.Attribute) string { return binaryPrefix + cloudevent.Digest(all) }

// encode returns the request for a delivery, of one event unless it is a batch.
func encode(mode Mode, d service.Delivery) message {
	if mode == Batch {
		return batch(d)
	}
	e := &d.Events[0]
	all := cloudevent.Attributes(d.Log, e)
	if mode == Binary && fitsHeader(e.ContentType) {
		return inHeaders(all, e)
	}
	return message{
		id: structuredPrefix + cloudevent.Digest(all), header: map[string]string{"content-type": typeStructured},
		body: cloudevent.Append(nil, all, e),
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

func inHeaders(all []cloudevent.Attribute, e *leat.Recorded) message {
	m := message{id: binaryID(all), header: make(map[string]string), body: e.Data}
	for _, a := range all {
		if a.Name == cloudevent.ContentType {
			m.header["content-type"] = a.Value
			continue
		}
		m.header["ce-"+a.Name] = cloudevent.HeaderValue(a.Value)
	}
	return m
}

func batch(d service.Delivery) message {
	body, ids := []byte{'['}, sha256.New()
	for i := range d.Events {
		if i > 0 {
			body = append(body, ',')
		}
		all := cloudevent.Attributes(d.Log, &d.Events[i])
		_, _ = ids.Write([]byte(cloudevent.Digest(all)))
		body = cloudevent.Append(body, all, &d.Events[i])
	}
	return message{
		id:     batchPrefix + hex.EncodeToString(ids.Sum(nil)[:16]),
		header: map[string]string{"content-type": typeBatch},
		body:   append(body, ']'),
	}
}

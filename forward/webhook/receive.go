package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/forward/cloudevent"
)

// DefaultMaxBytes is how large a body may be when Verifier.MaxBytes is 0.
const DefaultMaxBytes = 16 << 20

// Handler returns a handler that receives what a Destination sends and hands the
// events of each request to handle. It answers 204 when that succeeds, 500 when
// it fails, so that the events come again, 401 to requests that are not verified
// and 400 or 413 to those that are no CloudEvents or too large. It does not tell
// the sender why.
//
// Events come at least once, and in order within a stream: handle deduplicates
// by stream and ID, best in the transaction in which it does its work.
func (v Verifier) Handler(handle func(ctx context.Context, events []leat.Event) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "POST CloudEvents", http.StatusMethodNotAllowed)
			return
		}
		events, err := v.Receive(r)
		switch {
		case err == nil:
		case errors.Is(err, ErrUnverified):
			http.Error(w, "not verified", http.StatusUnauthorized)
			return
		case errors.Is(err, errTooLarge):
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
			return
		case errors.Is(err, leat.ErrInvalid):
			http.Error(w, "no CloudEvents", http.StatusBadRequest)
			return
		default: // it was cut off
			http.Error(w, "not read", http.StatusRequestTimeout)
			return
		}
		if err := handle(r.Context(), events); err != nil {
			http.Error(w, "not handled", http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

var errTooLarge = errors.New("too large")

// Receive reads a request, verifies it, and returns its events as they were
// recorded where they come from. Meta also has "sequence", the event's version
// in its stream, and where it was recorded. The error wraps ErrUnverified, or
// leat.ErrInvalid when it is no CloudEvent, or is that of reading the body.
func (v Verifier) Receive(r *http.Request) ([]leat.Event, error) {
	most := cmp.Or(v.MaxBytes, DefaultMaxBytes)
	body, err := io.ReadAll(io.LimitReader(r.Body, most+1))
	if err != nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	if int64(len(body)) > most {
		return nil, fmt.Errorf("%w: %w", errTooLarge, &leat.InvalidError{Field: "body", Limit: fmt.Sprintf("at most %d bytes", most)})
	}
	if err := v.Verify(r.Header, body, time.Now()); err != nil {
		return nil, err
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && media == typeBatch && !isBinary(r.Header) {
		return decodeBatch(body)
	}
	var e leat.Event
	if err == nil && media == typeStructured && !isBinary(r.Header) {
		e, err = cloudevent.Unmarshal(body)
	} else {
		e, err = decodeHeaders(r.Header, body)
	}
	if err != nil {
		return nil, err
	}
	return []leat.Event{e}, nil
}

// isBinary reports whether a body was signed as an event's data, whatever its
// content type says, which is not signed.
func isBinary(h http.Header) bool { return strings.HasPrefix(h.Get(HeaderID), binaryPrefix) }

// decodeBatch reads a JSON array of events.
func decodeBatch(body []byte) ([]leat.Event, error) {
	var all []json.RawMessage
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, &leat.InvalidError{Field: "body", Limit: "a JSON array of CloudEvents"}
	}
	events := make([]leat.Event, len(all))
	for i, one := range all {
		var err error
		if events[i], err = cloudevent.Unmarshal(one); err != nil {
			return nil, fmt.Errorf("event %d of the batch: %w", i, err)
		}
	}
	return events, nil
}

// decodeHeaders reads an event in binary mode. Its attributes must be those that
// webhook-id stands for.
func decodeHeaders(h http.Header, body []byte) (leat.Event, error) {
	values := map[string]string{cloudevent.ContentType: h.Get("Content-Type")}
	for name := range h {
		if attribute, ok := strings.CutPrefix(strings.ToLower(name), "ce-"); ok {
			values[attribute] = cloudevent.ParseHeaderValue(h.Get(name))
		}
	}
	if id := h.Get(HeaderID); id != binaryID(cloudevent.InOrder(values)) {
		return leat.Event{}, fmt.Errorf("%w: its attributes are not those that %s stands for", ErrUnverified, HeaderID)
	}
	return cloudevent.Assemble(values, body)
}

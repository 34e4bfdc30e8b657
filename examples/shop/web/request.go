package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/leathq/leat/examples/shop/field"
)

// MaxBody is how many bytes a request may have: enough for an order of the most
// lines there may be.
const MaxBody = 4 << 20

// maxKey is how many bytes an idempotency key may have: an event ID with room
// for the numbers of further events.
const maxKey = 200

// KeyHeader is the header with which a caller names a command. A command of the
// same kind that is given again to the same thing, under the same name, is
// carried out once.
const KeyHeader = "Idempotency-Key"

// CommandID returns the ID of a command of a kind: made of the name that its
// caller gave it, or otherwise of one that follows from what it is about.
func CommandID(r *http.Request, otherwise, kind string) (string, error) {
	key := r.Header.Get(KeyHeader)
	if key == "" {
		return otherwise + "/" + kind, nil
	}
	return key + "/" + kind, field.Text(KeyHeader, key, maxKey)
}

// ReadBody reads the body of a request, at most MaxBody bytes.
func ReadBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body := http.MaxBytesReader(w, r.Body, MaxBody)
	if r.ContentLength > MaxBody {
		return nil, &http.MaxBytesError{Limit: MaxBody}
	}
	data, err := io.ReadAll(body)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.Header().Set("Connection", "close")
		return nil, &Problem{
			Status: http.StatusRequestTimeout, Title: http.StatusText(http.StatusRequestTimeout),
			Detail: fmt.Sprintf("the body came too slowly: %d bytes so far", len(data)), Field: "body",
		}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, malformed("the body ended after %d bytes, before its declared length", len(data))
	case err != nil:
		return nil, fmt.Errorf("read the body: %w", err)
	}
	return data, nil
}

// Decode reads the body of a request, one JSON object without unknown fields,
// into v.
func Decode(w http.ResponseWriter, r *http.Request, v any) error {
	data, err := ReadBody(w, r)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return misread(data, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return malformed("there is more than one JSON value; the second begins after %s", place(data, d.InputOffset()))
	}
	return nil
}

// misread says where a body is no JSON, or not the JSON that was expected.
func misread(data []byte, err error) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return malformed("at %s: %v", place(data, syntax.Offset), err)
	}
	if mistyped, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		p := malformed("at %s: a %s is not what is expected here", place(data, mistyped.Offset), mistyped.Value)
		p.Field, p.Limit, p.Got = mistyped.Field, "of type "+mistyped.Type.String(), mistyped.Value
		return p
	}
	switch {
	case errors.Is(err, io.EOF):
		return malformed("the body is empty")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return malformed("at %s: the body ends inside a value", place(data, int64(len(data))))
	}
	p := malformed("%v", err)
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		p.Field, p.Limit = strings.Trim(name, `"`), "a field of this request"
	}
	return p
}

func malformed(format string, args ...any) *Problem {
	return &Problem{Status: http.StatusBadRequest, Title: "Malformed JSON", Detail: fmt.Sprintf(format, args...), Field: "body"}
}

// place names a byte of a text by line and column, from 1.
func place(data []byte, offset int64) string {
	before := data[:min(max(offset-1, 0), int64(len(data)))]
	line := bytes.Count(before, []byte{'\n'}) + 1
	return fmt.Sprintf("line %d, column %d", line, len(before)-bytes.LastIndexByte(before, '\n'))
}

package web

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/leathq/leat"
)

// A Problem says why a request was not carried out, as RFC 9457 has it. Nothing
// was changed, unless Status is 503: then a command may have been carried out,
// and giving it again is safe.
type Problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`

	// What is out of bounds, where it is one thing.
	Field string `json:"field,omitempty"`
	Limit string `json:"limit,omitempty"`
	Got   string `json:"got,omitempty"`
}

func (p *Problem) Error() string {
	return fmt.Sprintf("%d %s: %s", p.Status, p.Title, p.Detail)
}

// Refuse returns a Problem with the text of an error.
func Refuse(status int, err error) *Problem {
	p := &Problem{Status: status, Title: http.StatusText(status), Detail: err.Error()}
	if invalid, ok := errors.AsType[*leat.InvalidError](err); ok {
		p.Field, p.Limit, p.Got = invalid.Field, invalid.Limit, invalid.Got
	}
	return p
}

// statuses are those of errors that are not a Problem, the first that matches.
var statuses = []struct {
	err    error
	status int
}{
	{leat.ErrInvalid, http.StatusUnprocessableEntity},
	{leat.ErrNotFound, http.StatusNotFound},
	{leat.ErrIDReused, http.StatusConflict},
	{leat.ErrFull, http.StatusInsufficientStorage},
	{os.ErrDeadlineExceeded, http.StatusRequestTimeout},
	{leat.ErrConflict, http.StatusServiceUnavailable},
	{leat.ErrUncertain, http.StatusServiceUnavailable},
	{leat.ErrClosed, http.StatusServiceUnavailable},
	{context.Canceled, http.StatusServiceUnavailable},
	{context.DeadlineExceeded, http.StatusServiceUnavailable},
}

// problemOf returns what an error is to the caller.
func problemOf(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		p := Refuse(http.StatusRequestEntityTooLarge, err)
		p.Field, p.Limit = "body", fmt.Sprintf("at most %d bytes", large.Limit)
		return p
	}
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			return Refuse(s.status, err)
		}
	}
	return Refuse(http.StatusInternalServerError, err)
}

// Fail answers with what an error is to the caller.
func Fail(w http.ResponseWriter, err error) {
	p := problemOf(err)
	w.Header().Set("Content-Type", "application/problem+json")
	if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", cmp.Or(w.Header().Get("Retry-After"), "1"))
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the caller has gone if it fails
}

// Answer answers with a value in JSON.
func Answer(w http.ResponseWriter, status int, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n')) // the caller has gone if it fails
	return nil
}

package http

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/leathq/leat"
)

// A Problem is the answer to a request that failed: problem details as in RFC
// 9457. Nothing was changed, unless the code is "uncertain".
type Problem struct {
	Title  string `json:"title" doc:"What the status means."`
	Status int    `json:"status" doc:"The HTTP status."`
	Code   string `json:"code" doc:"Names the situation, for programs. It never changes."`
	Detail string `json:"detail" doc:"What was wrong, for people."`

	Field  string `json:"field,omitempty" doc:"The field, parameter or part of the request that is wrong."`
	Limit  string `json:"limit,omitempty" doc:"What it must be."`
	Got    string `json:"got,omitempty" doc:"What it was, in short."`
	Errors []Flaw `json:"errors,omitempty" doc:"All that is wrong, when it is more than one thing."`

	Condition *Condition `json:"condition,omitempty" doc:"With conflict: what was expected and does not hold."`

	Stream  string       `json:"stream,omitempty" doc:"The stream that is concerned."`
	Version *uint64      `json:"version,omitempty" doc:"With conflict: the version at which the stream is."`
	ID      string       `json:"id,omitempty" doc:"With id_reused: the event ID."`
	Index   *int         `json:"index,omitempty" doc:"With id_reused: the place of the event in the append, from 0."`
	Known   []int        `json:"known,omitempty" doc:"With partial: the places of the events that are recorded already."`
	Total   int          `json:"total,omitempty" doc:"With partial: the number of events in the append."`
	Shard   leat.ShardID `json:"shard,omitempty" doc:"The shard that is concerned."`
	Oldest  uint64       `json:"oldest,omitempty" doc:"With trimmed: the first sequence or version that is kept."`
	Lease   *Lease       `json:"lease,omitempty" doc:"With held: the lease that another owner holds."`
}

// A Flaw is one thing that is wrong with a request.
type Flaw struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

// Error implements error.
func (p *Problem) Error() string { return p.Detail }

// GetStatus returns the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType returns the media type of problems.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// statuses of the codes of leat.Code.
var statuses = map[string]int{
	"invalid":     http.StatusBadRequest,
	"cross_key":   http.StatusBadRequest,
	"id_reused":   http.StatusConflict,
	"partial":     http.StatusConflict,
	"conflict":    http.StatusConflict,
	"full":        http.StatusInsufficientStorage,
	"uncertain":   http.StatusServiceUnavailable,
	"not_found":   http.StatusNotFound,
	"trimmed":     http.StatusGone,
	"diverged":    http.StatusConflict,
	"denied":      http.StatusForbidden,
	"unsupported": http.StatusNotImplemented,
	"closed":      http.StatusServiceUnavailable,
	"corrupt":     http.StatusInternalServerError,
	"fenced":      http.StatusConflict,
	"held":        http.StatusConflict,
	"unavailable": http.StatusServiceUnavailable,
}

// problemOf says what an error means to a client.
func problemOf(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p.titled()
	}
	p = &Problem{Code: leat.Code(err), Detail: err.Error()}
	p.Status = statuses[p.Code]
	switch {
	case p.Status != 0:
		p.explain(err)
	case errors.Is(err, fs.ErrExist):
		p.Status, p.Code = http.StatusConflict, "exists"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		p.Status, p.Code = http.StatusServiceUnavailable, "canceled"
	default:
		p.Status, p.Code = http.StatusInternalServerError, "internal"
	}
	return p.titled()
}

// explain takes over what the error carries.
func (p *Problem) explain(err error) {
	var (
		invalid  *leat.InvalidError
		conflict *leat.ConflictError
		reused   *leat.IDReusedError
		partial  *leat.PartialError
		trimmed  *leat.TrimmedError
		held     *leat.HeldError
	)
	switch {
	case errors.As(err, &invalid):
		p.Field, p.Limit, p.Got = invalid.Field, invalid.Limit, invalid.Got
	case errors.As(err, &conflict):
		p.Stream, p.Version = conflict.Condition.Stream, &conflict.Actual
		p.Condition = expected(conflict.Condition)
	case errors.As(err, &reused):
		p.Stream, p.ID, p.Index = reused.Stream, reused.ID, &reused.Index
	case errors.As(err, &partial):
		p.Known, p.Total = partial.Known, partial.Total
	case errors.As(err, &trimmed):
		p.Stream, p.Shard, p.Oldest = trimmed.Stream, trimmed.Shard, trimmed.Oldest
	case errors.As(err, &held):
		l := Lease(held.Lease)
		p.Lease = &l
	}
}

// expected returns the form of a condition.
func expected(c leat.Condition) *Condition {
	if c.Exists {
		return &Condition{Stream: c.Stream, Exists: true}
	}
	return &Condition{Stream: c.Stream, Version: &c.Version}
}

func (p *Problem) titled() *Problem {
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	return p
}

// writeProblem answers outside of an operation of the API.
func writeProblem(w http.ResponseWriter, err error) {
	p := problemOf(err)
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // a client that is gone needs no answer
}

// huma asks these variables, which are one for the whole program: whether lists
// may be null and names have another case, and the answer to what it refuses.
func init() {
	huma.DefaultArrayNullable, huma.ValidateStrictCasing = false, true
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		return refused(status, msg, errs)
	}
}

// refused says what is wrong with a request that does not fit the API's
// description.
func refused(status int, msg string, errs []error) *Problem {
	p := &Problem{Status: status, Code: "malformed", Field: "body", Detail: msg}
	for _, err := range errs {
		var d huma.ErrorDetailer
		if !errors.As(err, &d) {
			p.Detail = err.Error()
			continue
		}
		detail := d.ErrorDetail()
		p.Errors = append(p.Errors, Flaw{Field: fieldOf(detail.Location), Detail: detail.Message})
	}
	if len(p.Errors) > 0 {
		p.Field, p.Limit = p.Errors[0].Field, p.Errors[0].Detail
		p.Detail = p.Field + ": " + p.Limit
	}
	switch status {
	case http.StatusUnsupportedMediaType:
		p.Code, p.Field, p.Limit = "unsupported_media_type", "Content-Type", "application/json"
		p.Detail = "Content-Type must be application/json"
	case http.StatusUnprocessableEntity:
		p.Status, p.Code = http.StatusBadRequest, "invalid"
	case http.StatusInternalServerError:
		p.Code = "internal"
	}
	if strings.HasPrefix(p.Limit, malformedJSON) {
		p.Limit, p.Detail = "JSON", p.Limit
	}
	if len(p.Errors) == 1 {
		p.Errors = nil
	}
	return p.titled()
}

// fieldOf returns the name of a field from where huma saw it: in the path, the
// query, a header or the body.
func fieldOf(location string) string {
	for _, part := range []string{"body.", "path.", "query.", "header."} {
		if name, ok := strings.CutPrefix(location, part); ok {
			return name
		}
	}
	return location
}

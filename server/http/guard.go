package http

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"golang.org/x/sync/semaphore"
)

// guard bounds what a client can make the server read, hold and wait for, and
// answers for handlers that panic.
func guard(c Config, next http.Handler) http.Handler {
	bodies := semaphore.NewWeighted(c.BodyBytes)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w := &writer{ResponseWriter: rw, control: http.NewResponseController(rw), patience: c.WriteTime}
		defer func() {
			if v := recover(); v != nil {
				w.recovered(c, r, v)
			}
		}()
		room, err := makeRoom(c, bodies, r)
		if err != nil {
			w.Header().Set("Retry-After", "1")
			writeProblem(w, err)
			return
		}
		defer bodies.Release(room)
		if err := readBody(c, w, r); err != nil {
			writeProblem(w, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// sameOrigin keeps web pages of other origins from changing anything with the
// help of a browser that can reach the server. Programs are not concerned.
func sameOrigin(next http.Handler) http.Handler {
	p := http.NewCrossOriginProtection()
	p.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, &Problem{Status: http.StatusForbidden, Code: "cross_origin", Field: "Origin",
			Detail: "a web page of another origin may not change anything here"})
	}))
	return p.Handler(next)
}

// smallBody is the size of bodies that need no room.
const smallBody = 64 << 10

// makeRoom waits until there is room for a request's body, and returns how much
// it takes.
func makeRoom(c Config, bodies *semaphore.Weighted, r *http.Request) (int64, error) {
	size := r.ContentLength
	switch {
	case size >= 0 && size <= smallBody || r.Body == nil:
		return 0, nil
	case size > c.MaxBody:
		return 0, nil // refused before it is read
	case size < 0: // not told
		size = c.MaxBody
	}
	ctx, cancel := context.WithTimeout(r.Context(), c.BodyTime)
	defer cancel()
	if bodies.Acquire(ctx, size) != nil {
		return 0, &Problem{Status: http.StatusServiceUnavailable, Code: "busy", Field: "body",
			Detail: "there are too many large bodies at a time; try again, or send smaller ones"}
	}
	return size, nil
}

// readBody replaces the body by one that has arrived as a whole.
func readBody(c Config, w *writer, r *http.Request) error {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	if r.ContentLength > c.MaxBody {
		return tooLarge(w, c.MaxBody)
	}
	if err := w.control.SetReadDeadline(time.Now().Add(c.BodyTime)); err != nil {
		return err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w.ResponseWriter, r.Body, c.MaxBody))
	var timeout net.Error
	switch more := (*http.MaxBytesError)(nil); {
	case errors.As(err, &more):
		return tooLarge(w, c.MaxBody)
	case errors.As(err, &timeout) && timeout.Timeout():
		w.Header().Set("Connection", "close") // the rest of the body may still come
		limit := fmt.Sprintf("complete within %v", c.BodyTime)
		return &Problem{Status: http.StatusRequestTimeout, Code: "too_slow", Field: "body", Limit: limit,
			Detail: "the body must be " + limit}
	case err != nil:
		return &Problem{Status: http.StatusBadRequest, Code: "malformed", Field: "body",
			Detail: fmt.Sprintf("the body cannot be read: %v", err)}
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return w.control.SetReadDeadline(time.Time{})
}

// tooLarge refuses a body of which more may still come.
func tooLarge(w *writer, most int64) error {
	w.Header().Set("Connection", "close")
	limit := fmt.Sprintf("at most %d bytes", most)
	return &Problem{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Field: "body", Limit: limit,
		Detail: "the body must have " + limit + "; append fewer events at once"}
}

// A writer gives the client a while to take each piece that is written to it.
type writer struct {
	http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
	begun    bool
}

// Unwrap lets http.ResponseController find what the connection can do.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *writer) WriteHeader(status int) {
	w.begun = true
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(p []byte) (int, error) {
	w.begun = true
	if err := w.control.SetWriteDeadline(time.Now().Add(w.patience)); err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(p)
}

// recovered ends a request whose handler panicked.
func (w *writer) recovered(c Config, r *http.Request, v any) {
	if v == http.ErrAbortHandler || r.Context().Err() != nil { //nolint:errorlint // as net/http compares it
		panic(http.ErrAbortHandler)
	}
	c.Logger.Error("a request failed", "method", r.Method, "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
	if w.begun {
		panic(http.ErrAbortHandler) // the client has to see that the answer is not whole
	}
	writeProblem(w, &Problem{Status: http.StatusInternalServerError, Code: "internal",
		Detail: "the server made a mistake; its log says more"})
}

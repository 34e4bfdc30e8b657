package web

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
)

// A Mux routes requests as http.ServeMux does, and answers with problems. Set it
// up before it serves.
type Mux struct {
	mux    *http.ServeMux
	logger *slog.Logger
}

// NewMux returns a Mux that knows GET /healthz. It tells logger of what is the
// shop's own fault.
func NewMux(logger *slog.Logger) *Mux {
	m := &Mux{mux: http.NewServeMux(), logger: logger}
	m.Handle("GET /healthz", func(w http.ResponseWriter, _ *http.Request) error {
		return Answer(w, http.StatusOK, struct {
			Status string `json:"status"`
		}{"ok"})
	})
	return m
}

// Handle lets f answer what matches a pattern of http.ServeMux. Until f has
// begun to write, it may return an error, which becomes a problem.
func (m *Mux) Handle(pattern string, f func(http.ResponseWriter, *http.Request) error) {
	m.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		err := f(w, r)
		if err == nil {
			return
		}
		if p := problemOf(err); p.Status >= http.StatusInternalServerError && r.Context().Err() == nil {
			m.logger.Warn("request failed", "method", r.Method, "path", r.URL.Path, "status", p.Status, "error", err)
		}
		Fail(w, err)
	})
}

// ServeHTTP implements http.Handler.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, pattern := m.mux.Handler(r)
	if pattern != "" {
		m.mux.ServeHTTP(w, r) // which, other than h, also tells the request its path values
		return
	}
	mute := &muted{header: w.Header()}
	h.ServeHTTP(mute, r)
	switch mute.status {
	case http.StatusMethodNotAllowed:
		p := Refuse(mute.status, fmt.Errorf("%s is not for %s", r.Method, r.URL.Path))
		p.Field, p.Limit, p.Got = "method", w.Header().Get("Allow"), r.Method
		Fail(w, p)
	default:
		Fail(w, NoRoute(r))
	}
}

// NoRoute is the problem of a path that leads nowhere.
func NoRoute(r *http.Request) *Problem {
	p := Refuse(http.StatusNotFound, errors.New("there is nothing at "+r.URL.Path))
	p.Field, p.Got = "path", r.URL.Path
	return p
}

// muted takes the header and status of an answer, and no body.
type muted struct {
	header http.Header
	status int
}

func (m *muted) Header() http.Header            { return m.header }
func (m *muted) WriteHeader(status int)         { m.status = status }
func (m *muted) Write(data []byte) (int, error) { return len(data), nil }

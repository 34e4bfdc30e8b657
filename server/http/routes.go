package http

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// An api holds what the operations need.
type api struct {
	Config
	huma huma.API
}

// routes returns the handler of all there is.
func routes(c Config) http.Handler {
	mux := http.NewServeMux()
	a := &api{Config: c, huma: humago.New(mux, describe())}
	a.registerLogs()
	a.registerAppend()
	a.registerRead()
	a.registerFollow()
	a.registerShards()
	a.registerBackups()
	a.registerLeases()
	a.registerApps()
	a.registerHealth()
	spec := specification(a.huma)
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(spec) // a client that is gone needs no answer
	})
	mux.Handle("GET /metrics", c.Metrics)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { noRoute(mux, w, r) })
	return mux
}

func describe() huma.Config {
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	registry.RegisterTypeAlias(reflect.TypeFor[json.RawMessage](), reflect.TypeFor[any]())
	format := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshal}
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Leat", Version: "1",
				Description: "Event logs: append events, read and follow them, share the work. " +
					"Every error is a problem (RFC 9457) with a code that never changes.",
			},
			Components: &huma.Components{Schemas: registry},
		},
		Formats:                      map[string]huma.Format{"application/json": format, "json": format},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
	}
}

// specification returns the API's description in OpenAPI.
func specification(api huma.API) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(api.OpenAPI()); err != nil {
		panic(err) // the operations are declared wrongly
	}
	return b.Bytes()
}

// register adds an operation whose errors are told as problems.
func register[I, O any](a *api, op huma.Operation, handle func(context.Context, *I) (*O, error)) {
	op.MaxBodyBytes, op.BodyReadTimeout = -1, -1 // guard has read the body already
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err != nil {
			return nil, a.problem(err)
		}
		return out, nil
	})
}

// problem tells an error to the client, and to the operator if it is theirs.
func (a *api) problem(err error) *Problem {
	p := problemOf(err)
	if p.Status == http.StatusInternalServerError {
		a.Logger.Error("a request failed", "error", err)
	}
	return p
}

// malformedJSON begins the message of what is not JSON.
const malformedJSON = "malformed JSON"

// unmarshal is json.Unmarshal that says where it failed.
func unmarshal(data []byte, v any) error {
	if !utf8.Valid(data) { // json.Unmarshal would put other characters in the place of what is not
		return fmt.Errorf("%s: it is not UTF-8; put bytes into data_base64", malformedJSON)
	}
	err := json.Unmarshal(data, v)
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	switch {
	case errors.As(err, &mismatch):
		return fmt.Errorf("%s cannot be a %s", mismatch.Field, mismatch.Value)
	case errors.As(err, &syntax):
		before := data[:min(len(data), int(syntax.Offset))]
		line := bytes.Count(before, []byte("\n")) + 1
		column := len(before) - (bytes.LastIndexByte(before, '\n') + 1)
		return fmt.Errorf("%s at line %d, column %d: %w", malformedJSON, line, column, err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%s: it ends too early", malformedJSON)
	}
	return err
}

// noRoute answers what no route takes: a path there is not, or a method that
// the path does not have.
func noRoute(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := mux.Handler(other); pattern != "/" && pattern != "" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		writeProblem(w, &Problem{Status: http.StatusNotFound, Code: "no_route", Field: "path",
			Detail: fmt.Sprintf("there is no %q here; /openapi.json describes what there is", cut(r.URL.Path))})
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	limit := strings.Join(allowed, " or ")
	writeProblem(w, &Problem{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Field: "method", Limit: limit,
		Got: cut(r.Method), Detail: fmt.Sprintf("%s %q: the method must be %s", cut(r.Method), cut(r.URL.Path), limit)})
}

// cut shortens what a client sent to what a person wants to read.
func cut(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

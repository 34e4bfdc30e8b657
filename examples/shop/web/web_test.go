package web

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/leathq/leat"
)

// answer is what a mux with the route POST /things/{name} answers: the name and
// what it decoded, or the error that the body asks for.
func answer(method, path, body string) *httptest.ResponseRecorder {
	m := NewMux(slog.New(slog.DiscardHandler))
	m.Handle("POST /things/{name}", func(w http.ResponseWriter, r *http.Request) error {
		var in struct {
			Size  int                    `json:"size"`
			Parts []struct{ Weight int } `json:"parts"`
			Fail  string                 `json:"fail"`
		}
		if err := Decode(w, r, &in); err != nil {
			return err
		}
		for name, err := range map[string]error{"full": leat.ErrFull, "uncertain": leat.ErrUncertain, "reused": leat.ErrIDReused} {
			if in.Fail == name {
				return fmt.Errorf("append: %w", err)
			}
		}
		return Answer(w, http.StatusCreated, fmt.Sprint(r.PathValue("name"), " ", in.Size))
	})
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w
}

func TestAnswers(t *testing.T) {
	w := answer(http.MethodPost, "/things/a%2Fb", `{"size": 3}`)
	if w.Code != http.StatusCreated || w.Body.String() != "\"a/b 3\"\n" {
		t.Errorf("the answer is %d, %s; want 201 and the name and size", w.Code, w.Body)
	}
	if w := answer(http.MethodGet, "/healthz", ""); w.Code != http.StatusOK {
		t.Errorf("health is %d, want 200", w.Code)
	}
}

func TestProblems(t *testing.T) {
	const post = http.MethodPost
	tests := []struct {
		name, method, path, body string
		status                   int
		field, says              string
	}{
		{"unknown route", post, "/thing/a", "{}", 404, "path", "/thing/a"},
		{"wrong method", http.MethodPut, "/things/a", "{}", 405, "method", "PUT"},
		{"nothing", post, "/things/a", "", 400, "body", "empty"},
		{"no JSON", post, "/things/a", "{\"size\":\n\t3,}", 400, "body", "line 2, column 4"},
		{"half", post, "/things/a", `{"size": 3`, 400, "body", "line 1, column 10"},
		{"more", post, "/things/a", `{} {}`, 400, "body", "more than one"},
		{"unknown field", post, "/things/a", `{"sise": 3}`, 400, "sise", "sise"},
		{"fraction", post, "/things/a", `{"size": 3.5}`, 400, "size", "number 3.5"},
		{"text in a list", post, "/things/a", `{"parts": [{"weight": "x"}]}`, 400, "parts.Weight", "string"},
		{"too much", post, "/things/a", `{"fail": "` + strings.Repeat("x", MaxBody) + `"}`, 413, "body", fmt.Sprint(MaxBody)},
		{"full disk", post, "/things/a", `{"fail": "full"}`, 507, "", "no space"},
		{"uncertain", post, "/things/a", `{"fail": "uncertain"}`, 503, "", "again"},
		{"ID in use", post, "/things/a", `{"fail": "reused"}`, 409, "", "in use"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := answer(test.method, test.path, test.body)
			var p Problem
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Header().Get("Content-Type") != "application/problem+json" {
				t.Fatalf("the answer is %v, %s, want a problem", w.Header(), w.Body)
			}
			if w.Code != test.status || p.Status != test.status || p.Field != test.field || !strings.Contains(p.Detail+p.Limit+p.Got, test.says) {
				t.Errorf("the answer is %d, %+v; want %d, field %q and %q", w.Code, p, test.status, test.field, test.says)
			}
			if again := w.Header().Get("Retry-After"); (again != "") != (test.status == 503) {
				t.Errorf("Retry-After is %q with status %d", again, test.status)
			}
			if allow := w.Header().Get("Allow"); (allow == post) != (test.status == 405) {
				t.Errorf("Allow is %q with status %d", allow, test.status)
			}
		})
	}
}

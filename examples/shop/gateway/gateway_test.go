package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leathq/leat/examples/shop/web"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const key = "open sesame"

var quiet = slog.New(slog.DiscardHandler)

// start runs a gateway to workers of the service "orders" and returns its URL.
func start(t *testing.T, c Config, workers ...string) string {
	t.Helper()
	c.Keys, c.Logger, c.Services = []string{"another", key}, quiet, map[string][]string{"orders": workers}
	g, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(g)
	t.Cleanup(func() {
		s.Close()
		for _, p := range g.pools {
			p.Transport.(*pool).transport.CloseIdleConnections()
		}
	})
	return s.URL
}

// echo starts a worker that answers with what it got.
func echo(t *testing.T, name string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(w, "%s %s %s key=%q %s", name, r.Method, r.URL, r.Header.Get(KeyHeader), body)
	}))
	t.Cleanup(s.Close)
	return s
}

// dead is the URL of a worker that is not there.
func dead(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	return s.URL
}

func ask(t *testing.T, method, url, body string, header ...string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(KeyHeader, key)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(data)
}

func TestHandsOnInTurn(t *testing.T) {
	url := start(t, Config{}, echo(t, "a").URL, echo(t, "b").URL)
	var by string
	for range 4 {
		status, _, text := ask(t, http.MethodPost, url+"/orders/1%2F2/returns?x=1", "body")
		if status != http.StatusOK || text[1:] != ` POST /orders/1%2F2/returns?x=1 key="" body` {
			t.Fatalf("the worker got %d, %q, want the request as it was sent, without the key", status, text)
		}
		by += text[:1]
	}
	if by != "abab" && by != "baba" {
		t.Errorf("the workers were asked in the order %s, want in turn", by)
	}
}

func TestPassesOverTheDead(t *testing.T) {
	url := start(t, Config{}, dead(t), echo(t, "b").URL)
	for range 4 {
		if status, _, text := ask(t, http.MethodPost, url+"/orders", "x"); status != http.StatusOK {
			t.Errorf("the answer is %d, %s; want that of the worker that lives", status, text)
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	url := start(t, Config{}, dead(t), dead(t))
	status, header, text := ask(t, http.MethodGet, url+"/orders/1", "")
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" || header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("the answer is %d, %v, %s; want a problem of status 503 with Retry-After", status, header, text)
	}
}

// TestCutOff: a worker that dies with a request in its hands may have carried it
// out, so it goes to another only when that does no harm.
func TestCutOff(t *testing.T) {
	tests := []struct {
		name, method string
		header       []string
		status       int
	}{
		{"a query", http.MethodGet, nil, http.StatusOK},
		{"a command with an ID", http.MethodPost, []string{web.KeyHeader, "1"}, http.StatusOK},
		{"a command without one", http.MethodPost, nil, http.StatusServiceUnavailable},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var cut atomic.Int64
			dying := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				cut.Add(1)
				panic(http.ErrAbortHandler)
			}))
			defer dying.Close()
			url := start(t, Config{}, echo(t, "b").URL, dying.URL) // whose turn is first
			status, _, text := ask(t, test.method, url+"/orders", "", test.header...)
			if status != test.status || cut.Load() != 1 {
				t.Errorf("the answer is %d, %s, after %d cut off; want %d after 1", status, text, cut.Load(), test.status)
			}
		})
	}
}

// TestSlowWorker: one that does not begin to answer is as good as dead.
func TestSlowWorker(t *testing.T) {
	over := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-over }))
	defer slow.Close()
	defer close(over)
	url := start(t, Config{Patience: 50 * time.Millisecond}, echo(t, "b").URL, slow.URL)
	if status, _, text := ask(t, http.MethodGet, url+"/orders/1", ""); status != http.StatusOK {
		t.Errorf("the answer is %d, %s; want that of the other worker", status, text)
	}
}

func TestRefuses(t *testing.T) {
	url := start(t, Config{Rate: 1e-9, Burst: 2}, echo(t, "a").URL)
	tests := []struct {
		name, path, key string
		status          int
		field           string
	}{
		{"no key", "/orders", "", http.StatusUnauthorized, KeyHeader},
		{"a wrong key", "/orders", key + "!", http.StatusUnauthorized, KeyHeader},
		{"an unknown service", "/shipping", key, http.StatusNotFound, "path"},
		{"nothing", "/orders", key, http.StatusOK, ""},
		{"the third in a row", "/orders", key, http.StatusTooManyRequests, KeyHeader},
		{"nothing of another caller", "/orders", "another", http.StatusOK, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status, header, text := ask(t, http.MethodGet, url+test.path, "", KeyHeader, test.key)
			var p web.Problem
			if status != http.StatusOK && json.Unmarshal([]byte(text), &p) != nil {
				t.Errorf("the answer is %q, want a problem", text)
			}
			if status != test.status || p.Field != test.field {
				t.Errorf("the answer is %d, %s; want %d and field %q", status, text, test.status, test.field)
			}
			if again := header.Get("Retry-After"); (again != "") != (status == http.StatusTooManyRequests) {
				t.Errorf("Retry-After is %q with status %d", again, status)
			}
		})
	}
}

// TestSlowBody: who declares a body has to send it in time.
func TestSlowBody(t *testing.T) {
	g, err := New(Config{Keys: []string{key}, Logger: quiet, Services: map[string][]string{"orders": {dead(t)}}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(ctx, address, g, 200*time.Millisecond, quiet) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	c := connect(t, address)
	defer c.Close()
	fmt.Fprintf(c, "POST /orders HTTP/1.1\r\nHost: shop\r\n%s: %s\r\nContent-Length: 100\r\n\r\n{", KeyHeader, key)
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var p web.Problem
	if err := json.NewDecoder(response.Body).Decode(&p); err != nil || response.StatusCode != http.StatusRequestTimeout || p.Field != "body" {
		t.Errorf("the answer is %d, %+v, %v; want a problem of status 408 with the body", response.StatusCode, p, err)
	}
}

// connect waits until somebody listens.
func connect(t *testing.T, address string) net.Conn {
	t.Helper()
	for {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err == nil {
			return c
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

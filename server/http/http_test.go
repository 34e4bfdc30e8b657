package http_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	door "github.com/leathq/leat/server/http"
	"go.uber.org/goleak"
)

// net/http waits half a second for who sent too much to take the answer.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// memory is the logs of a door under test.
type memory struct {
	mu     sync.Mutex
	logs   map[string]leat.Log
	apps   map[string]leat.Reporter
	leases map[string]leat.Leases
}

func (m *memory) Log(_ context.Context, name string) (leat.Log, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l, ok := m.logs[name]; ok {
		return l, nil
	}
	return nil, fmt.Errorf("log %q: %w", name, leat.ErrNotFound)
}

func (m *memory) Leases(_ context.Context, name string) (leat.Leases, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l, ok := m.leases[name]; ok {
		return l, nil
	}
	return nil, fmt.Errorf("log %q: %w", name, leat.ErrNotFound)
}

func (m *memory) Reporter(_ context.Context, name string) (leat.Reporter, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r, ok := m.apps[name]; ok {
		return r, nil
	}
	return nil, fmt.Errorf("log %q: %w", name, leat.ErrNotFound)
}

func (m *memory) List(context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.logs)), nil
}

func (m *memory) Create(ctx context.Context, name string, c leat.Config) (leat.Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.logs[name]; ok {
		return leat.Info{}, fs.ErrExist
	}
	l, err := leattest.New(c, nil)
	if err != nil {
		return leat.Info{}, err
	}
	m.logs[name] = l
	return l.Info(ctx)
}

func (m *memory) Backup(ctx context.Context, name, _ string) error {
	if _, err := m.Log(ctx, name); err != nil {
		return err
	}
	return leat.ErrUnsupported
}

// A fixture is a door on a real socket, with one log, "orders", in memory.
type fixture struct {
	*memory
	url   string
	drain context.CancelFunc
}

// open opens a door; configure may change what it is opened with.
func open(t testing.TB, configure ...func(*door.Config)) *fixture {
	t.Helper()
	draining, drain := context.WithCancel(context.Background())
	f := &fixture{memory: &memory{logs: make(map[string]leat.Log), leases: make(map[string]leat.Leases), apps: make(map[string]leat.Reporter)}, drain: drain}
	c := door.Config{
		Logs: f.memory, Draining: draining, NotReady: func() []string { return nil },
		Metrics: http.NotFoundHandler(),
		Logger:  slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	if _, err := f.Create(t.Context(), "orders", leat.Config{}); err != nil {
		t.Fatal(err)
	}
	for _, change := range configure {
		change(&c)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := door.NewServer(c)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		drain()
		_ = server.Close()
		<-served
		http.DefaultClient.CloseIdleConnections()
	})
	f.url = "http://" + listener.Addr().String()
	return f
}

// testWriter passes what a server logs on to its test.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// An answer is what came back, read as a whole.
type answer struct {
	*http.Response
	body []byte
}

// problem returns the problem that an answer is.
func (a answer) problem(t testing.TB) door.Problem {
	t.Helper()
	if ct := a.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Fatalf("got status %d and Content-Type %q, want a problem: %s", a.StatusCode, ct, a.body)
	}
	return parse[door.Problem](t, a.body)
}

// parse reads all of a JSON value, and nothing but what T has.
func parse[T any](t testing.TB, body []byte) T {
	t.Helper()
	var v T
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return v
}

func (f *fixture) do(t testing.TB, method, path, body string, header ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, f.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp, read}
}

func (f *fixture) get(t testing.TB, path string) answer { return f.do(t, http.MethodGet, path, "") }

func (f *fixture) post(t testing.TB, path, body string) answer {
	return f.do(t, http.MethodPost, path, body)
}

package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
	"github.com/leathq/leat/engine"
	"github.com/leathq/leat/server"
	"github.com/leathq/leat/server/local"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A running server, and how to stop it.
type running struct {
	*server.Server
	stop func() error // drains, and returns what Run did
}

// start runs a server of dir on any free ports.
func start(t testing.TB, dir string, configure ...func(*server.Config)) *running {
	t.Helper()
	c := server.Config{
		Dir: dir, Engine: local.Engine{}, GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0",
		Logger: slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	for _, change := range configure {
		change(&c)
	}
	s, err := server.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := stop(); err != nil {
			t.Errorf("stop the server: %v", err)
		}
	})
	return &running{s, stop}
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func (r *running) logURL(name string) string { return fmt.Sprintf("leat://%s/%s", r.GRPC(), name) }

// create makes a log and returns it over gRPC.
func (r *running) create(t testing.TB, name string) *client.Log {
	t.Helper()
	if _, err := client.Create(t.Context(), r.logURL(name), leat.Config{}, client.Options{}); err != nil {
		t.Fatal(err)
	}
	return r.dial(t, name)
}

func (r *running) dial(t testing.TB, name string) *client.Log {
	t.Helper()
	log, err := client.Dial(t.Context(), r.logURL(name), client.Options{Retry: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return log
}

func (r *running) get(t testing.TB, path string) (int, string) {
	t.Helper()
	resp, err := http.Get(fmt.Sprintf("http://%s%s", r.HTTP(), path))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func event(stream string) []leat.Event {
	return []leat.Event{{Stream: stream, Type: "Counted", Source: "test", Data: []byte(`{"n":1}`)}}
}

// Both doors lead to the same logs, which are there again after a restart.
func TestDoorsShareLogs(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir)
	resp, err := http.Post(fmt.Sprintf("http://%s/v1/logs", s.HTTP()), "application/json", strings.NewReader(`{"name":"orders","shards":2}`))
	if err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("create a log: %v, %v", resp, err)
	}
	resp.Body.Close()
	if _, err := s.dial(t, "orders").Append(t.Context(), event("order-1"), leat.ExpectNew("order-1")); err != nil {
		t.Fatal(err)
	}
	lease, err := s.dial(t, "orders").Acquire(t.Context(), "app", leat.ShardNumber(0), "me", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if status, body := s.get(t, "/v1/logs/orders/streams/order-1"); status != 200 || !strings.Contains(body, `"data":{"n":1}`) {
		t.Errorf("read over HTTP what was appended over gRPC: status %d, %s", status, body)
	}
	for _, want := range []string{
		`leat_appends_total{door="grpc",log="orders",result="ok"} 1`,
		`leat_append_events_total{door="grpc",log="orders"} 1`,
		`leat_append_seconds_count{door="grpc"} 1`,
		`leat_reads_total{door="http",log="orders",result="ok"} 1`,
		`leat_read_events_total{door="http",log="orders"} 1`,
		`leat_log_disk_bytes{log="orders"}`, `leat_log_groups_total{log="orders"} `,
		`leat_log_events{log="orders"} `, `leat_log_sync_seconds_bucket{log="orders",le="0.001"} `,
		`leat_log_block_files{log="orders"} 1`, `leat_log_block_bytes{log="orders"} `, `leat_store_ingested_bytes_total{log="orders"} `, `leat_store_l0_files{log="orders"} `,
		`leat_clock_behind_seconds{log="orders"} 0`, `leat_leases{log="orders"} 1`, "leat_ready 1", "leat_logs_broken 0",
	} {
		if status, body := s.get(t, "/metrics"); status != 200 || !strings.Contains(body, want) {
			t.Errorf("/metrics: status %d, want %s in\n%s", status, want, body)
		}
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}

	s = start(t, dir)
	if got := s.Names(); !slices.Equal(got, []string{"orders"}) {
		t.Fatalf("after a restart there are the logs %v", got)
	}
	log := s.dial(t, "orders")
	if _, err := log.Append(t.Context(), event("order-1"), leat.ExpectVersion("order-1", 1)); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	again, err := log.Acquire(t.Context(), "app", leat.ShardNumber(0), "other", time.Minute)
	if err != nil || again.Token <= lease.Token {
		t.Errorf("after a restart a lease has token %d, %v, want one above %d", again.Token, err, lease.Token)
	}
}

func TestNames(t *testing.T) {
	s := start(t, t.TempDir())
	for _, name := range []string{"a", "orders-2_x", strings.Repeat("z", 64)} {
		if err := server.CheckName(name); err != nil {
			t.Error(err)
		}
		s.create(t, name)
	}
	var invalid *leat.InvalidError
	for _, name := range []string{"", ".", "..", "A", "a/b", "a.b", strings.Repeat("z", 65), "é", "a\n"} {
		if err := server.CheckName(name); !errors.As(err, &invalid) || invalid.Field != "log" {
			t.Errorf("name %q: %v, want an InvalidError of the log", name, err)
		}
	}
	for _, body := range []string{`{"name":"../x"}`, `{"name":""}`, `{"name":"X"}`} {
		resp, err := http.Post(fmt.Sprintf("http://%s/v1/logs", s.HTTP()), "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("create a log of %s: status %d, want 400", body, resp.StatusCode)
		}
	}
	if _, err := client.Create(t.Context(), s.logURL("a"), leat.Config{}, client.Options{}); err == nil {
		t.Error("a log was created twice")
	}
	if got := s.Names(); len(got) != 3 {
		t.Errorf("there are the logs %v, want three", got)
	}
}

func TestOneServerOwnsADirectory(t *testing.T) {
	dir := t.TempDir()
	start(t, dir)
	_, err := server.New(server.Config{Dir: dir, Engine: local.Engine{}, GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0"})
	if err == nil || !strings.Contains(err.Error(), "another process") || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second server: %v, want an error that names the directory and why", err)
	}
}

func TestNewFails(t *testing.T) {
	dir := t.TempDir()
	taken := start(t, dir).HTTP().String()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]server.Config{
		"data directory": {Engine: local.Engine{}},
		"engine":         {Dir: t.TempDir()},
		"drain":          {Dir: t.TempDir(), Engine: local.Engine{}, Drain: -1},
		file:             {Dir: file, Engine: local.Engine{}},
		taken:            {Dir: t.TempDir(), Engine: local.Engine{}, GRPC: "127.0.0.1:0", HTTP: taken},
		"nowhere":        {Dir: t.TempDir(), Engine: local.Engine{}, GRPC: "nowhere"},
	} {
		if s, err := server.New(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("New(%+v): %v, %v, want an error with %q", c, s, err, name)
		}
	}
}

// A log whose making was interrupted does not exist, and can be made.
func TestInterruptedCreate(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "logs", "orders"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := start(t, dir)
	if got := s.Names(); len(got) > 0 {
		t.Errorf("there are the logs %v, want none", got)
	}
	s.create(t, "orders")
}

// An engine whose logs a test can meddle with.
type meddled struct {
	local.Engine
	open func(name string, log server.Log) (server.Log, error)
}

func (m meddled) Open(dir string) (server.Log, error) {
	log, err := m.Engine.Open(dir)
	if err != nil {
		return nil, err
	}
	return m.open(filepath.Base(dir), log)
}

func (m meddled) Create(dir string, c leat.Config) (server.Log, error) {
	log, err := m.Engine.Create(dir, c)
	if err != nil {
		return nil, err
	}
	return m.open(filepath.Base(dir), log)
}

// One log that cannot be opened does not keep the others from being served, and
// readiness names it.
func TestBrokenLog(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir)
	s.create(t, "good")
	s.create(t, "bad")
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s = start(t, dir, func(c *server.Config) {
		c.Engine = meddled{open: func(name string, log server.Log) (server.Log, error) {
			if name == "bad" {
				return nil, errors.Join(leat.ErrCorrupt, log.Close())
			}
			return log, nil
		}}
	})
	if _, err := s.dial(t, "good").Append(t.Context(), event("order-1")); err != nil {
		t.Errorf("append to the log that is well: %v", err)
	}
	if status, body := s.get(t, "/v1/logs/bad"); status != 500 || !strings.Contains(body, `"corrupt"`) {
		t.Errorf("the broken log: status %d, %s", status, body)
	}
	if status, body := s.get(t, "/v1/logs"); status != 200 || body != `{"logs":["bad","good"]}`+"\n" {
		t.Errorf("the logs: status %d, %s", status, body)
	}
	if status, body := s.get(t, "/readyz"); status != 503 || !strings.Contains(body, "bad") || strings.Contains(body, "good") {
		t.Errorf("/readyz: status %d, %s, want the log that is broken", status, body)
	}
}

// Leases whose file is damaged could give out a token twice: the log is not
// served.
func TestBrokenLeases(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b") // made as well
	s := start(t, dir)
	s.create(t, "orders")
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "leases", "orders.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = start(t, dir)
	if reasons := s.NotReady(); len(reasons) != 1 || !strings.Contains(reasons[0], "orders.json") {
		t.Errorf("not ready because %q, want the file of the leases", reasons)
	}
	if _, err := client.Dial(t.Context(), s.logURL("orders"), client.Options{Retry: -1}); err == nil {
		t.Error("the log is served")
	}
}

// figures is a log that says what it is told to.
type figures struct {
	server.Log
	stats *server.Stats
}

func (f figures) Stats() server.Stats { return *f.stats }

func TestNotReady(t *testing.T) {
	var stats server.Stats
	s := start(t, t.TempDir(), func(c *server.Config) {
		c.Engine = meddled{open: func(_ string, log server.Log) (server.Log, error) { return figures{log, &stats}, nil }}
	})
	s.create(t, "orders")
	for _, c := range []struct {
		name  string
		stats server.Stats
		want  string
	}{
		{"well", server.Stats{ClockBehind: 10 * time.Second}, ""},
		{"clock set back", server.Stats{ClockBehind: 11 * time.Second}, `log "orders" is 11s ahead of this machine's clock`},
		{"full", server.Stats{Full: leat.ErrFull}, `log "orders" cannot take events: no space left`},
		{"stopped", server.Stats{Stopped: engine.ErrStopped}, `log "orders": the log has stopped`},
	} {
		stats = c.stats
		reasons := s.NotReady()
		if c.want == "" && len(reasons) > 0 || c.want != "" && (len(reasons) != 1 || !strings.HasPrefix(reasons[0], c.want)) {
			t.Errorf("%s: not ready because %q, want %q", c.name, reasons, c.want)
		}
	}
	stats = server.Stats{}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if reasons := s.NotReady(); !slices.Equal(reasons, []string{"the server is shutting down"}) {
		t.Errorf("after the end: not ready because %q", reasons)
	}
}

// The engine's own figures say when the clock was set back, and when it is right
// again, without an append.
func TestClockSetBack(t *testing.T) {
	var mu sync.Mutex
	now := time.Now()
	set := func(to time.Time) {
		mu.Lock()
		defer mu.Unlock()
		now = to
	}
	began := now
	s := start(t, t.TempDir(), func(c *server.Config) {
		c.Engine = local.Engine{Options: engine.Options{Clock: func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return now
		}}}
	})
	if _, err := s.create(t, "orders").Append(t.Context(), event("order-1")); err != nil {
		t.Fatal(err)
	}
	set(began.Add(-time.Minute))
	if status, body := s.get(t, "/readyz"); status != 503 || !strings.Contains(body, "1m0s ahead") {
		t.Errorf("a minute back: status %d, %s", status, body)
	}
	set(began)
	if status, body := s.get(t, "/readyz"); status != 200 {
		t.Errorf("right again: status %d, %s", status, body)
	}
}

// slow is a log whose appends wait until they are let go. It tells of each, and
// of each read that waits.
type slow struct {
	server.Log
	arrived chan struct{}
	let     chan struct{}
}

func (s slow) ReadShard(ctx context.Context, shard leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	if o.Wait > 0 {
		s.arrived <- struct{}{}
	}
	return s.Log.ReadShard(ctx, shard, after, o)
}

func (s slow) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	s.arrived <- struct{}{}
	select {
	case <-s.let:
		return s.Log.Append(ctx, events, conds...)
	case <-ctx.Done():
		return leat.Receipt{}, errors.Join(ctx.Err(), leat.ErrUncertain)
	}
}

func slowly(c *server.Config) (arrived, let chan struct{}) {
	arrived, let = make(chan struct{}, 8), make(chan struct{})
	c.Engine = meddled{open: func(_ string, log server.Log) (server.Log, error) { return slow{log, arrived, let}, nil }}
	return arrived, let
}

// What is under way when a server drains is finished: appends are acknowledged,
// waiting readers get their answer, and nobody new is let in.
func TestDrainFinishes(t *testing.T) {
	dir := t.TempDir()
	var arrived, let chan struct{}
	s := start(t, dir, func(c *server.Config) { arrived, let = slowly(c) })
	log := s.create(t, "orders")
	appended := make(chan error, 2)
	go func() {
		_, err := log.Append(t.Context(), event("grpc-1"))
		appended <- err
	}()
	go func() {
		resp, err := http.Post(fmt.Sprintf("http://%s/v1/logs/orders/events", s.HTTP()), "application/json",
			strings.NewReader(`{"events":[{"stream":"http-1","type":"T","source":"s"}]}`))
		if err == nil {
			if resp.Body.Close(); resp.StatusCode != http.StatusCreated {
				err = fmt.Errorf("status %d", resp.StatusCode)
			}
		}
		appended <- err
	}()
	polled := make(chan error, 2)
	go func() {
		b, err := log.ReadShard(t.Context(), leat.ShardNumber(0), 0, leat.ReadOptions{Wait: time.Hour})
		if err == nil && len(b.Events) > 0 {
			err = fmt.Errorf("got %v", b.Events)
		}
		if errors.Is(err, client.ErrUnreachable) { // it got its answer and asked again, as it was told to wait for an hour
			err = nil
		}
		polled <- err
	}()
	go func() {
		resp, err := http.Get(fmt.Sprintf("http://%s/v1/logs/orders/shards/shardId-000000000000/events?wait=1m", s.HTTP()))
		if err == nil {
			if resp.Body.Close(); resp.StatusCode != http.StatusOK {
				err = fmt.Errorf("status %d", resp.StatusCode)
			}
		}
		polled <- err
	}()
	for range 4 {
		<-arrived
	}
	address := s.HTTP().String()
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	for range 2 {
		if err := <-polled; err != nil {
			t.Errorf("a waiting read: %v", err)
		}
	}
	for { // the door is closed while the append is still under way
		resp, err := http.Get("http://" + address + "/healthz")
		if err != nil {
			break
		}
		resp.Body.Close()
		http.DefaultClient.CloseIdleConnections()
	}
	select {
	case err := <-stopped:
		t.Fatalf("the server stopped, %v, before the appends had finished", err)
	default:
	}
	close(let)
	for range 2 {
		if err := <-appended; err != nil {
			t.Errorf("an append that was under way: %v", err)
		}
	}
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	s = start(t, dir)
	shards, err := s.dial(t, "orders").Shards(t.Context())
	if err != nil || shards[0].Head != 2 {
		t.Errorf("after the restart: %+v, %v, want the two events acknowledged", shards, err)
	}
}

// What does not finish in time is cut off.
func TestDrainCutsOff(t *testing.T) {
	var arrived chan struct{}
	s := start(t, t.TempDir(), func(c *server.Config) {
		arrived, _ = slowly(c)
		c.Drain = 10 * time.Millisecond
	})
	log := s.create(t, "orders")
	appended := make(chan error, 1)
	go func() {
		_, err := log.Append(context.Background(), event("order-1"))
		appended <- err
	}()
	<-arrived
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if err := <-appended; !errors.Is(err, leat.ErrUncertain) {
		t.Errorf("an append that was cut off: %v, want ErrUncertain", err)
	}
}

// Close ends a server that runs, and one that never did.
func TestClose(t *testing.T) {
	s := start(t, t.TempDir())
	s.create(t, "orders")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	idle, err := server.New(server.Config{Dir: t.TempDir(), Engine: local.Engine{}, GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := idle.Close(); err != nil {
		t.Error(err)
	}
}

// A backup is made while the server serves, and served itself once it takes the
// log's place.
func TestBackup(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir)
	post := func(path, body string) (int, string) {
		t.Helper()
		resp, err := http.Post(fmt.Sprintf("http://%s%s", s.HTTP(), path), "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	if status, body := post("/v1/logs", `{"name":"orders"}`); status != http.StatusCreated {
		t.Fatalf("create a log: status %d: %s", status, body)
	}
	if _, err := s.dial(t, "orders").Append(t.Context(), event("order-1")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, body string
		status     int
		says       string
	}{
		{"/v1/logs/orders/backups", `{"directory":"monday"}`, http.StatusCreated, `{"path":"backups/monday"}`},
		{"/v1/logs/orders/backups", `{"directory":"monday"}`, http.StatusConflict, `"code":"exists"`},
		{"/v1/logs/orders/backups", `{"directory":"../logs/other"}`, http.StatusBadRequest, `"field":"directory"`},
		{"/v1/logs/orders/backups", `{"directory":""}`, http.StatusBadRequest, `"field":"directory"`},
		{"/v1/logs/none/backups", `{"directory":"tuesday"}`, http.StatusNotFound, `"code":"not_found"`},
	} {
		if status, body := post(c.path, c.body); status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("POST %s %s: status %d, %s; want status %d, %s", c.path, c.body, status, body, c.status, c.says)
		}
	}
	if _, err := s.dial(t, "orders").Append(t.Context(), event("order-2")); err != nil {
		t.Fatal(err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "backups", "monday"), filepath.Join(dir, "logs", "restored")); err != nil {
		t.Fatal(err)
	}
	s = start(t, dir)
	if status, body := s.get(t, "/v1/logs/restored"); status != 200 || !strings.Contains(body, `"epoch":2`) || !strings.Contains(body, `"head":1`) {
		t.Errorf("the backup in the place of a log: status %d, %s, want epoch 2 and head 1", status, body)
	}
}

package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// metric returns the value of a metric of a server, and whether there is one.
func (p *process) metric(t *testing.T, name string) (float64, bool) {
	t.Helper()
	resp, err := http.Get(p.http + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(string(body))
	if m == nil {
		return 0, false
	}
	value, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return value, true
}

// await waits until a metric has a value that will do.
func (p *process) await(t *testing.T, name string, will func(float64) bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		value, there := p.metric(t, name)
		if there && will(value) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is %v, %v", name, value, there)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func zero(v float64) bool { return v == 0 }

// count50 appends 50 events to 10 streams, in one Append.
func count50(t *testing.T, log string) {
	t.Helper()
	var lines strings.Builder
	for i := range 50 {
		fmt.Fprintf(&lines, `{"stream":"order-%d","type":"Counted","source":"test","data":"%s"}`+"\n", i%10, strings.Repeat("x", 1000))
	}
	ok(t, lines.String(), "append", "--log", log, "--jsonl", "-")
}

// A server archives its logs, is killed, gives back what is archived, and both
// doors go on reading all of it.
func TestServeArchive(t *testing.T) {
	dir := t.TempDir()
	data, to := filepath.Join(dir, "data"), "file://"+filepath.Join(dir, "archive")
	args := append(freePorts(data), "--archive", to, "--archive-max-age", "100ms", "--archive-segment-size", "40KB")
	p := serve(t, args...)
	log := p.url + "/orders"
	ok(t, "", "log", "create", log, "--id", "the-orders")
	for range 6 {
		count50(t, log)
	}
	p.await(t, `leat_archive_lag_events{log="orders"}`, zero)
	if n, _ := p.metric(t, `leat_archive_events_total{log="orders"}`); n != 300 {
		t.Errorf("%v events are archived, want 300", n)
	}
	count50(t, log) // may be archived, or not
	_ = p.Process.Kill()
	_ = p.Wait()

	key := filepath.Join(data, "archive.key")
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key file: %v, %v; want one that only its owner may read", info, err)
	}
	p = serve(t, args...)
	log = p.url + "/orders"
	before := ok(t, "", "read", "--log", log, "--json", "--system")
	p.await(t, `leat_archive_lag_events{log="orders"}`, zero)
	if out := ok(t, "", "archive", "verify", "--archive", to, "--log", log); !strings.Contains(out, "350") {
		t.Errorf("archive verify: %s", out)
	}
	if out := ok(t, "", "retain", log, "--archive", to, "--bytes", "1KB"); !strings.Contains(out, "removed 350 events") {
		t.Errorf("retain: %s", out)
	}
	p.await(t, `leat_log_oldest{log="orders",shard="shardId-000000000000"}`, func(v float64) bool { return v == 351 })
	fails(t, "not known to be archived", "log", "trim", "--log", log, "--shard", "shardId-000000000000", "--below", "999")

	if after := ok(t, "", "read", "--log", log, "--json", "--system"); !strings.HasPrefix(after, before) || !strings.Contains(after, "$Trimmed") {
		t.Error("what the log held cannot be read any more, or reads otherwise")
	}
	if out := ok(t, "", "read", "order-7", "--log", log, "--json"); strings.Count(out, "\n") != 35 {
		t.Errorf("order-7 has %d events over gRPC, want 35", strings.Count(out, "\n"))
	}
	resp, err := http.Get(p.http + "/v1/logs/orders/streams/order-7?limit=100")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK || strings.Count(string(body), `"version":`) != 35 {
		t.Errorf("order-7 over HTTP: status %d, %d events, %v; want 35", resp.StatusCode, strings.Count(string(body), `"version":`), err)
	}
	if n, _ := p.metric(t, "leat_archive_cache_misses_total"); n == 0 {
		t.Error("nothing was read through the cache")
	}
	if out := ok(t, "", "retain", log, "--archive", to, "--bytes", "1KB", "--json"); !strings.Contains(out, `"from":351`) {
		t.Errorf("retain does not know what the log keeps: %s", out)
	}

	p.await(t, `leat_archive_lag_events{log="orders"}`, zero)                         // nobody writes there any more
	if err := os.RemoveAll(filepath.Join(dir, "archive", "the-orders")); err != nil { // the bucket is lost
		t.Fatal(err)
	}
	count50(t, log)
	p.await(t, `leat_archive_errors_total{log="orders"}`, func(v float64) bool { return v > 0 })
	if out := ok(t, "", "read", "order-7", "--log", log, "--json", "--after", "35"); strings.Count(out, "\n") != 5 {
		t.Errorf("without the archive the log has %s", out)
	}
	if resp, err := http.Get(p.http + "/readyz"); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("/readyz without the archive: %v, %v", resp, err)
	} else {
		resp.Body.Close()
	}
	p.term(t)
	for _, args := range []string{"--retain-days 3", "--retain-bytes 1GB"} {
		fails(t, "together with --archive", append([]string{"serve", "--data", data}, strings.Fields(args)...)...)
	}
	fails(t, "only file://PATH", "serve", "--data", data, "--archive", "ftp://somewhere")
}

// A server whose archive cannot be reached serves its logs, and archives them
// when it can.
func TestServeArchiveUnreachable(t *testing.T) {
	dir := t.TempDir()
	place := filepath.Join(dir, "place")
	if err := os.WriteFile(place, nil, 0o600); err != nil { // a file where the directory is to be
		t.Fatal(err)
	}
	p := serve(t, append(freePorts(filepath.Join(dir, "data")), "--archive", "file://"+filepath.Join(place, "archive"), "--archive-max-age", "100ms")...)
	log := p.url + "/orders"
	ok(t, "", "log", "create", log)
	count50(t, log)
	p.await(t, `leat_archive_failing{log="orders"}`, func(v float64) bool { return v == 1 })
	if n, _ := p.metric(t, `leat_archive_store_failures_total{call="get"}`); n == 0 {
		t.Error("no call of the store has failed")
	}
	if err := os.Remove(place); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(place, 0o755); err != nil {
		t.Fatal(err)
	}
	p.await(t, `leat_archive_events_total{log="orders"}`, func(v float64) bool { return v == 50 })
	p.await(t, `leat_archive_failing{log="orders"}`, zero)
	p.term(t)
	for _, want := range []string{"the archive cannot be reached", "the log cannot be archived; it is tried again"} {
		if !strings.Contains(p.said.String(), want) {
			t.Errorf("the server said\n%s\nwant %q", p.said, want)
		}
	}
}

// Object storage that answers 503, or nothing, is told by metrics, takes nothing
// from the log, and does not hold up the end of the server.
func TestServeArchiveS3(t *testing.T) {
	fake := fakeS3(t)
	var mode atomic.Value
	mode.Store("well")
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch mode.Load() {
		case "busy":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "stalls":
			_, _ = io.Copy(io.Discard, r.Body) // else nobody notices that the client is gone
			<-r.Context().Done()
		default:
			fake.ServeHTTP(w, r)
		}
	}))
	defer storage.Close()

	p := serve(t, append(freePorts(t.TempDir()), "--archive", "s3://events/leat?endpoint="+storage.URL, "--archive-max-age", "100ms")...)
	log := p.url + "/orders"
	ok(t, "", "log", "create", log)
	count50(t, log)
	p.await(t, `leat_archive_events_total{log="orders"}`, func(v float64) bool { return v == 50 })
	requests, _ := p.metric(t, "leat_archive_store_requests_total")
	failed, there := p.metric(t, "leat_archive_store_requests_failed_total")
	if requests == 0 || failed != 0 || !there {
		t.Errorf("%v requests, of which %v failed", requests, failed)
	}

	mode.Store("busy")
	count50(t, log)
	p.await(t, "leat_archive_store_requests_failed_total", func(v float64) bool { return v > 1 })
	p.await(t, `leat_archive_lag_events{log="orders"}`, func(v float64) bool { return v == 50 })
	p.await(t, `leat_archive_lag_seconds{log="orders"}`, func(v float64) bool { return v > 0.2 })
	mode.Store("well")
	p.await(t, `leat_archive_lag_events{log="orders"}`, zero)

	mode.Store("stalls")
	count50(t, log)
	p.await(t, "leat_archive_store_waiting_seconds", func(v float64) bool { return v > 0.2 })
	p.await(t, `leat_archive_lag_events{log="orders"}`, func(v float64) bool { return v == 50 })
	if resp, err := http.Get(p.http + "/readyz"); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("/readyz: %v, %v", resp, err)
	} else {
		resp.Body.Close()
	}
	p.term(t)
}

package server_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
)

// What a worker reports over gRPC is shown there, over HTTP and in metrics; what
// is paused over HTTP stays so when the server starts again.
func TestApps(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir)
	log := s.create(t, "orders")
	at := time.Now().Add(-time.Minute).UTC()
	said := leat.AppStatus{
		Name: "stock/v1", Owner: "a/1", Rate: 2.5, Waiting: 3, LastError: "no such SKU", LastAt: at,
		Tally: leat.Tally{Seen: 1, Filtered: 2, Handled: 3, Skipped: 4, Forwarded: 5, Parked: 6, Unparked: 7, Failures: 8},
		Shards: []leat.ShardStatus{{
			ID: leat.ShardNumber(0), Held: true, Next: 10, Head: 30, Oldest: at, Replay: 25, Tally: leat.Tally{Seen: 1},
		}},
	}
	idle := leat.AppStatus{Name: said.Name, Owner: said.Owner} // as at the beginning
	if _, err := log.Report(t.Context(), []leat.AppStatus{idle}, time.Minute); err != nil {
		t.Fatal(err)
	}
	paused, err := log.Report(t.Context(), []leat.AppStatus{said}, time.Minute)
	if err != nil || len(paused) > 0 {
		t.Fatalf("report: %v, paused %q", err, paused)
	}
	apps, err := log.Apps(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	said.Sum()
	if len(apps) != 1 || len(apps[0].Workers) != 1 || fmt.Sprint(apps[0].Workers[0].AppStatus) != fmt.Sprint(said) {
		t.Errorf("over gRPC: %+v\nwant %+v", apps, said)
	}
	_, body := s.get(t, "/v1/logs/orders/apps")
	for _, want := range []string{
		`"name":"stock/v1"`, `"owner":"a/1"`, `"state":"running"`, `"lag":20`, `"replay":15`, `"eta_seconds":6`, `"waiting":3`,
		`"behind_seconds":6`, `"holds":["shardId-000000000000"]`, `"last_error":"no such SKU"`, `"forwarded":5`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("over HTTP: no %s in %s", want, body)
		}
	}
	_, body = s.get(t, "/metrics")
	for _, want := range []string{
		`leat_app_lag_events{app="stock/v1",log="orders"} 20`,
		`leat_app_shard_lag_events{app="stock/v1",log="orders",shard="shardId-000000000000"} 20`,
		`leat_app_waiting_events{app="stock/v1",log="orders"} 3`,
		`leat_app_replay_events{app="stock/v1",log="orders"} 15`,
		`leat_app_workers{app="stock/v1",log="orders",state="alive"} 1`,
		`leat_app_events_total{app="stock/v1",log="orders",outcome="unparked"} 7`,
		`leat_app_paused{app="stock/v1",log="orders"} 0`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("metrics: no %s", want)
		}
	}

	change := func(method string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.HTTP().String()+"/v1/logs/orders/apps/stock%2Fv1/pause", nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if got.Body.Close(); got.StatusCode != http.StatusNoContent {
			t.Fatalf("%s: status %d", method, got.StatusCode)
		}
		http.DefaultClient.CloseIdleConnections()
	}
	change(http.MethodPut)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s = start(t, dir)
	log = s.dial(t, "orders")
	if paused, err = log.Report(t.Context(), []leat.AppStatus{said}, time.Minute); err != nil || !slices.Equal(paused, []string{"stock/v1"}) {
		t.Errorf("after a restart: %v, paused %q", err, paused)
	}
	change(http.MethodDelete)
	if err := log.Pause(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	if _, body = s.get(t, "/metrics"); strings.Contains(body, `_lag_events{app="other"`) || strings.Contains(body, `_behind_seconds{app="other"`) || !strings.Contains(body, `leat_app_paused{app="other",log="orders"} 1`) {
		t.Error("metrics tell how far an application is that never reported, or not that it is paused")
	}
	if _, body = s.get(t, "/v1/logs/orders/apps"); strings.Count(body, `"status":{"lag"`) != 2 {
		t.Errorf("over HTTP: want a status of stock/v1 and its worker, not of other: %s", body)
	}
	if apps, err = log.Apps(t.Context()); err != nil || len(apps) != 2 || !apps[0].Paused || apps[1].Paused {
		t.Errorf("applications: %v, %+v", err, apps)
	}
	if err := log.Resume(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	forget := func(name string, want int) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "http://"+s.HTTP().String()+"/v1/logs/orders/apps/"+name, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if got.Body.Close(); got.StatusCode != want {
			t.Errorf("forget %s: status %d, want %d", name, got.StatusCode, want)
		}
	}
	forget("stock%2Fv1", http.StatusConflict) // its worker is at work
	said.Ended = true
	if _, err = log.Report(t.Context(), []leat.AppStatus{said}, time.Minute); err != nil {
		t.Fatal(err)
	}
	forget("stock%2Fv1", http.StatusNoContent)
	forget("stock%2Fv1", http.StatusNotFound)
	if status, body := s.get(t, "/v1/logs/nolog/apps"); status != http.StatusNotFound {
		t.Errorf("of a log that is not there: %d %s", status, body)
	}
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
	"github.com/leathq/leat/internal/pgtest"
	"github.com/leathq/leat/postgres"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/sqlite"
)

// postgresURL returns the URL of an empty database.
func postgresURL(t *testing.T) string {
	t.Helper()
	q := make(url.Values)
	for _, pair := range strings.Fields(pgtest.Database(t)) {
		key, value, _ := strings.Cut(pair, "=")
		q.Set(key, value)
	}
	return "postgres:///?" + q.Encode()
}

// A sickly service cannot handle an order that is a test, until it is mended.
type sickly struct {
	service.CheckpointStore
	log    *engine.Log
	mended atomic.Bool
}

// run runs the service until it is done with all there is and a condition holds.
func (s *sickly) run(t *testing.T, until func([]service.Parked) bool) {
	t.Helper()
	r := service.Reactor{Name: "billing", Checkpoints: s, React: func(_ context.Context, r leat.Recorded) error {
		if strings.Contains(string(r.Data), "test") && !s.mended.Load() {
			return service.Permanent(errors.New("no such customer\nat line 7\x1b[2J"))
		}
		return nil
	}}
	app, err := service.NewApp(service.Config{Log: s.log, Logger: slog.New(slog.DiscardHandler)}, r)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	to, err := leat.Start(t.Context(), s.log, leat.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := app.WaitCaughtUp(ctx, to); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		events, err := s.Parked(t.Context(), "billing", "")
		if err != nil {
			t.Fatal(err)
		}
		if until(events) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("parked after a minute: %+v", events)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestParked(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a b.db")
		db, err := sqlite.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		testParked(t, "sqlite:"+path, sqlite.ReadModel(db))
	})
	t.Run("postgres", func(t *testing.T) {
		url := postgresURL(t)
		pool, err := postgres.Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		testParked(t, url, postgres.ReadModel(pool))
	})
}

func testParked(t *testing.T, url string, store service.CheckpointStore) {
	dir := filepath.Join(t.TempDir(), "log")
	log, err := engine.Create(dir, leat.Config{}, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range [][2]string{{"order-1", "test"}, {"order-2", "real"}, {"order-1", "real"}, {"order-3", "test"}, {"order-1", "test"}} {
		_, err := log.Append(t.Context(), []leat.Event{{Stream: e[0], Type: "Placed", Source: "test", Data: []byte(`{"is":"` + e[1] + `"}`)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	s := &sickly{CheckpointStore: store, log: log}
	s.run(t, func(events []service.Parked) bool { return len(events) == 4 })
	t.Setenv("LEAT_DB", url)
	t.Setenv("LEAT_LOG", "")

	matches(t, ok(t, "", "parked"), `(?m)^APPLICATION +STREAM +VERSION +TYPE +STATE +ATTEMPTS +LAST +WAITING +ERROR
billing +order-1 +1 +Placed +failed +1 +\S+ ago +3 +no such customer at line 7.\[2J
billing +order-3 +1 +Placed +failed +1 +\S+ ago +1 +no such customer .*
$`)
	matches(t, ok(t, "", "parked", "list", "billing", "--all"), `(?m)^billing +order-1 +3 +Placed +waiting +0 +\S+ ago$`)

	matches(t, ok(t, "", "parked", "show", "billing", "order-1", "1"), `^event  Placed, version 1 of order-1
id     \S+
place  shardId-000000000000, sequence 1
state  tried 1 times, last \S+; 2 wait behind it
error
  no such customer
  at line 7.\[2J
$`)
	refused(t, "in this log", "parked", "show", "billing", "order-1", "--log", newLog(t))
	if err := log.Close(); err != nil { // one process at a time has it
		t.Fatal(err)
	}
	matches(t, ok(t, "", "parked", "show", "billing", "order-1", "--log", "dir:"+dir), `(?s)recorded\n  \{.*"is": "test".*state  waits behind another.*"version": 3`)
	var shown struct {
		State string
		Event struct{ Data struct{ Is string } }
	}
	if err := json.Unmarshal([]byte(ok(t, "", "parked", "show", "billing", "order-1", "2", "--log", "dir:"+dir, "--json")), &shown); err != nil {
		t.Fatal(err)
	}
	if shown.State != "waiting" || shown.Event.Data.Is != "real" {
		t.Errorf("as JSON: %+v", shown)
	}

	refused(t, "answer y", "parked", "discard", "billing", "order-1", "1", "--reason", "a test")
	matches(t, ok(t, "y\n", "parked", "discard", "billing", "order-1", "1", "--reason", "a test"), `will never handle it. Discard it\? \[y/N\] discarded version 1 of order-1`)
	matches(t, ok(t, "", "parked", "discard", "billing", "order-3", "1", "--reason", "a test", "--yes"), `^discarded version 1 of order-3\n$`)
	matches(t, ok(t, "", "parked", "list"), `(?m)^billing +order-1 +2 +Placed +retrying +0 +\S+ ago +2$`)
	matches(t, ok(t, "", "parked", "list", "--all"), `(?m)^billing +order-3 +1 +Placed +discarded +1 +\S+ ago +discarded: a test$`)

	if s.log, err = engine.Open(dir, engine.Options{}); err != nil {
		t.Fatal(err)
	}
	defer s.log.Close()
	waiting := func(n int) func([]service.Parked) bool {
		return func(events []service.Parked) bool {
			for _, p := range events {
				if p.Waits() {
					n--
				}
			}
			return n == 0
		}
	}
	failed := func(events []service.Parked) bool { // version 2 is handled, 3 was tried
		return len(events) == 3 && events[1].Version == 3 && events[1].Error != ""
	}
	s.run(t, failed)
	matches(t, ok(t, "", "parked", "list", "--json"), `^\{"application":"billing","stream":"order-1","version":3,.*"state":"failed",.*"waiting":1\}\n$`)
	s.mended.Store(true)
	matches(t, ok(t, "", "parked", "retry", "--all"), `^asked for 1 of the streams`)
	matches(t, ok(t, "", "parked", "list"), `retrying`)
	s.run(t, func(events []service.Parked) bool { return waiting(0)(events) })
	for args, want := range map[string]string{"list": "nothing is parked\n", "retry --all": "nothing is parked\n", "retry billing --all": "nothing is parked\n"} {
		if got := ok(t, "", append([]string{"parked"}, strings.Fields(args)...)...); got != want {
			t.Errorf("leat parked %s: %q, want %q", args, got, want)
		}
	}

	for args, want := range map[string]string{
		"list bill":             `application "bill": not found in this database, which has ["billing"]`,
		"show billing order-9":  `stream "order-9": not parked by "billing"; leat parked list`,
		"retry billing order-9": "not parked",
		"retry billing":         "say what to retry",
		"retry":                 "say what to retry",
		"retry billing a --all": "say what to retry",
		"discard billing order-1 3 --reason x --yes": "not parked",
		"discard billing order-1 3":                  "--reason",
		"discard billing order-1 3 --reason=":        "invalid --reason",
	} {
		refused(t, want, append([]string{"parked"}, strings.Fields(args)...)...)
	}
}

func TestParkedInNoDatabase(t *testing.T) {
	t.Setenv("LEAT_DB", "")
	missing := filepath.Join(t.TempDir(), "missing.db")
	other := filepath.Join(t.TempDir(), "other.db")
	db, err := sqlite.Open(other)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("create table stock (sku text)"); err != nil {
		t.Fatal(err)
	}
	refused(t, "--db", "parked", "list")
	refused(t, "no such file", "parked", "list", "--db", "sqlite:"+missing)
	refused(t, "is it the right database?", "parked", "list", "--db", "sqlite:"+other)
	refused(t, "is it the right database?", "parked", "list", "--db", postgresURL(t))
	code, _, errOut := leatCmd(t, "", "parked", "list", "--db", "mysql://me:secret@db/stock")
	if code == 0 || !strings.Contains(errOut, "invalid --db: must be sqlite:PATH or postgres://") || strings.Contains(errOut, "secret") {
		t.Errorf("another database: %s", errOut)
	}
	var tables int
	if err := db.QueryRow("select count(*) from sqlite_master where name like 'leat%'").Scan(&tables); err != nil || tables > 0 {
		t.Errorf("%d tables were made: %v", tables, err)
	}
}

// refused runs a command line that has to fail.
func refused(t *testing.T, want string, args ...string) {
	t.Helper()
	if code, _, errOut := leatCmd(t, "", args...); code == 0 || !strings.Contains(errOut, want) {
		t.Errorf("leat %s: exit %d, said %q, want an error with %q", strings.Join(args, " "), code, errOut, want)
	}
}

func matches(t *testing.T, got, want string) {
	t.Helper()
	if !regexp.MustCompile(want).MatchString(got) {
		t.Errorf("got\n%s\nwant a match of\n%s", got, want)
	}
}

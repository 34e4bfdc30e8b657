package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
	"github.com/leathq/leat/internal/pages"
	"github.com/leathq/leat/server"
	"github.com/leathq/leat/server/local"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a server with the log "bank" and returns the log's URL.
func serve(t *testing.T) string {
	t.Helper()
	s, err := server.New(server.Config{Dir: t.TempDir(), Engine: local.Engine{}, GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	url := "leat://" + s.GRPC().String() + "/bank"
	if _, err := client.Create(t.Context(), url, leat.Config{}, client.Options{}); err != nil {
		t.Fatal(err)
	}
	return url
}

func TestRun(t *testing.T) {
	url, db := serve(t), filepath.Join(t.TempDir(), "account.db")
	for _, c := range []struct{ command, out, err string }{
		{"balance anna", "anna has 0 pence\n", ""},
		{"deposit anna 500", "anna has 500 pence\n", ""},
		{"withdraw anna 20", "anna has 480 pence\n", ""},
		{"withdraw anna 481", "", "not enough in the account: 480 of 481 pence"},
		{"deposit bert -1", "", `PENCE must be 1 to 100,000,000, got "-1"`},
		{"deposit bert", "", "say deposit NAME PENCE"},
		{"balance anna", "anna has 480 pence\n", ""},
	} {
		var out bytes.Buffer
		err := run(t.Context(), &out, url, db, strings.Fields(c.command))
		if out.String() != c.out || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("account %s: said %q, %v; want %q, %q", c.command, out.String(), err, c.out, c.err)
		}
	}
}

// What the README and the guides show is this program.
func TestPages(t *testing.T) {
	pages.Check(t, "../../README.md", "../../docs/your-first-service.md", "../../docs/testing-services.md")
}

package http_test

import (
	"bytes"
	"flag"
	"net/http"
	"os"
	"testing"

	door "github.com/leathq/leat/server/http"
)

var update = flag.Bool("update", false, "write what the API says of itself to testdata")

// The API describes itself. What it says is kept, so that a change of what
// programs out there rely on is seen before it is made.
func TestDescription(t *testing.T) {
	const golden = "testdata/openapi.json"
	got := open(t).get(t, "/openapi.json")
	if ct := got.Header.Get("Content-Type"); got.StatusCode != http.StatusOK || ct != "application/json" {
		t.Errorf("status %d, Content-Type %q", got.StatusCode, ct)
	}
	if *update {
		if err := os.WriteFile(golden, got.body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.body, want) {
		t.Errorf("the API describes itself otherwise than %s; if that is meant, run: go test ./server/http -run Description -update", golden)
	}
}

func TestHealth(t *testing.T) {
	var reasons []string
	f := open(t, func(c *door.Config) { c.NotReady = func() []string { return reasons } })
	for _, path := range []string{"/healthz", "/readyz"} {
		if got := f.get(t, path); got.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d: %s", path, got.StatusCode, got.body)
		}
	}
	reasons = []string{"the disk is full", "the clock is behind"}
	got := f.get(t, "/readyz")
	if p := got.problem(t); got.StatusCode != http.StatusServiceUnavailable || p.Code != "not_ready" || p.Detail != "the disk is full; the clock is behind" {
		t.Errorf("/readyz: status %d: %s", got.StatusCode, got.body)
	}
	if got := f.get(t, "/healthz"); got.StatusCode != http.StatusOK {
		t.Errorf("/healthz of a server that is not ready: status %d, want it alive", got.StatusCode)
	}
}

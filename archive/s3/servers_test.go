package s3_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"go.uber.org/goleak"

	"github.com/leathq/leat/archive/s3"
	"github.com/leathq/leat/internal/versitygw"
)

func TestMain(m *testing.M) {
	for name, value := range versitygw.Env() {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	// The client keeps connections for later. They end with their server, or by
	// and by; so does looking for a role, which outlives who waits for it.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds.(*Provider).Retrieve"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

const bucket = versitygw.Bucket

// impatient are limits for servers that are near, and tests that make them fail.
var impatient = s3.Limits{Attempt: 2 * time.Second, Attempts: 10, Pause: time.Millisecond, MaxPause: 20 * time.Millisecond}

// fake returns a store in memory with an empty bucket, which honours
// If-None-Match.
func fake(t testing.TB) http.Handler {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket(bucket); err != nil {
		t.Fatal(err)
	}
	return gofakes3.New(backend, gofakes3.WithLogger(gofakes3.DiscardLog())).Server()
}

// serve serves a handler and returns the URL of the store.
func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(func() {
		server.CloseClientConnections() // of requests that a test lets hang
		server.Close()
	})
	return fmt.Sprintf("s3://%s/some/prefix?endpoint=%s", bucket, server.URL)
}

func open(t testing.TB, url string, l s3.Limits) *s3.Store {
	t.Helper()
	store, err := s3.Open(t.Context(), url, l)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

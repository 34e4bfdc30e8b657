package s3_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"go.uber.org/goleak"

	"github.com/leathq/leat/archive/s3"
)

func TestMain(m *testing.M) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "not-secret", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
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

const bucket = "bucket"

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

// versitygw starts a versitygw over a new directory and returns the URL of a
// bucket in it.
func versitygw(t testing.TB) string {
	t.Helper()
	binary := findVersitygw(t)
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, bucket), 0o755); err != nil {
		t.Fatal(err)
	}
	var started error
	for range 5 { // another process may take the port between looking for a free one and using it
		address := freeAddress(t)
		if started = startVersitygw(t, binary, root, address); started == nil {
			return fmt.Sprintf("s3://%s/some/prefix?endpoint=http://%s", bucket, address)
		}
	}
	t.Fatal(started)
	return ""
}

// freeAddress returns an address of this machine that nobody listens at.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startVersitygw starts a versitygw that ends with the test, and waits until it
// accepts connections.
func startVersitygw(t testing.TB, binary, root, address string) error {
	t.Helper()
	cmd := exec.Command(binary, "--port", address, "--access", "test", "--secret", "not-secret", "--keep-alive", "--quiet", "posix", root)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // killed below, or it says why in what it printed
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // may have ended
		<-ended
	})
	for look := time.Tick(10 * time.Millisecond); ; {
		select {
		case <-ended:
			return fmt.Errorf("versitygw ended:\n%s", &out)
		case <-look:
			if c, err := net.Dial("tcp", address); err == nil {
				return c.Close()
			}
		}
	}
}

// findVersitygw skips the test where versitygw is not installed.
func findVersitygw(t testing.TB) string {
	t.Helper()
	if path, err := exec.LookPath("versitygw"); err == nil {
		return path
	}
	for _, folder := range []string{os.Getenv("GOBIN"), filepath.Join(os.Getenv("GOPATH"), "bin"), filepath.Join(os.Getenv("HOME"), "go", "bin")} {
		if path := filepath.Join(folder, "versitygw"); filepath.IsAbs(path) {
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				return path
			}
		}
	}
	t.Skip("versitygw is not installed: go install github.com/versity/versitygw/cmd/versitygw@v1.8.0")
	return ""
}

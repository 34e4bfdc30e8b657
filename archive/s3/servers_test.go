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
	"sync"
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

// A gateway is a versitygw over a directory, which holds one bucket. It ends with
// the test.
type gateway struct {
	binary, root, address string

	mu    sync.Mutex
	kill  func()
	kills int
}

// versitygw starts a versitygw over a new directory.
func versitygw(t testing.TB) *gateway {
	t.Helper()
	g := &gateway{binary: findVersitygw(t), root: t.TempDir(), kill: func() {}}
	if err := os.Mkdir(filepath.Join(g.root, bucket), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.kill() })
	var err error
	for range 5 { // another process may take the address between looking for a free one and using it
		g.address = freeAddress(t)
		if err = g.start(); err == nil {
			return g
		}
	}
	t.Fatal(err)
	return nil
}

// url returns the URL of a store in the gateway's bucket.
func (g *gateway) url() string {
	return fmt.Sprintf("s3://%s/some/prefix?endpoint=http://%s", bucket, g.address)
}

// start starts the process and waits until it accepts connections.
func (g *gateway) start() error {
	cmd := exec.Command(g.binary, "--port", g.address, "--access", "test", "--secret", "not-secret", "--keep-alive", "--quiet", "posix", g.root)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // killed, or it says why in what it printed
	}()
	g.kill = func() {
		_ = cmd.Process.Kill() // may have ended
		<-ended
	}
	for look := time.Tick(10 * time.Millisecond); ; {
		select {
		case <-ended:
			return fmt.Errorf("versitygw ended:\n%s", &out)
		case <-look:
			if c, err := net.Dial("tcp", g.address); err == nil {
				return c.Close()
			}
		}
	}
}

// restart kills the process and starts it again.
func (g *gateway) restart(t testing.TB) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.kill()
	g.kills++
	if err := g.start(); err != nil {
		t.Errorf("start versitygw again: %v", err)
	}
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

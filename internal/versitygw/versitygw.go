// Package versitygw starts versitygw, an S3 server over a directory, for tests.
package versitygw

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Bucket is the one bucket that a gateway holds.
const Bucket = "bucket"

// Env returns the environment in which clients have the credentials that a gateway
// takes, and look for no others.
func Env() map[string]string {
	return map[string]string{
		"AWS_ACCESS_KEY_ID": accessKey, "AWS_SECRET_ACCESS_KEY": secretKey, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	}
}

const (
	accessKey = "test"
	secretKey = "not-secret"
)

// startTries is how often a gateway is started again: another process may hold its
// address for a moment.
const startTries = 20

// A Gateway is a versitygw. Its methods are safe for concurrent use.
type Gateway struct {
	// Address is where it listens, HOST:PORT.
	Address string

	binary, root string

	mu   sync.Mutex
	kill func()
}

// Start starts a gateway over a directory that is empty. In it the bucket becomes a
// directory, and each object a file. The gateway ends with the test, which is
// skipped where versitygw is not installed.
func Start(t testing.TB, root string) *Gateway {
	t.Helper()
	g := &Gateway{binary: Need(t), root: root, kill: func() {}}
	if err := os.Mkdir(filepath.Join(root, Bucket), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Kill)
	err := errors.New("not tried")
	for n := 0; err != nil && n < startTries; n++ {
		if g.Address, err = freeAddress(t.Context()); err == nil {
			err = g.start()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// URL returns the URL of a store below a prefix of the bucket.
func (g *Gateway) URL(prefix string) string {
	return fmt.Sprintf("s3://%s/%s?endpoint=http://%s", Bucket, prefix, g.Address)
}

// Kill kills the process.
func (g *Gateway) Kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.kill()
}

// Restart kills the process and starts it again at the same address.
func (g *Gateway) Restart() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.kill()
	err := errors.New("not tried")
	for n := 0; err != nil && n < startTries; n++ {
		err = g.start()
	}
	return err
}

// start starts the process and waits until it accepts connections.
func (g *Gateway) start() error {
	ctx, cancel := context.WithCancel(context.Background()) // until it is killed
	cmd := exec.CommandContext(ctx, g.binary, "--port", g.Address, "--access", accessKey, "--secret", secretKey, "--keep-alive", "--quiet", "posix", g.root)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		cancel()
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // killed, or it says why in what it printed
	}()
	g.kill = func() {
		cancel()
		<-ended
	}
	for look := time.Tick(10 * time.Millisecond); ; {
		select {
		case <-ended:
			return fmt.Errorf("versitygw ended:\n%s", &out)
		case <-look:
			if c, err := new(net.Dialer).DialContext(ctx, "tcp", g.Address); err == nil {
				return c.Close()
			}
		}
	}
}

// freeAddress returns an address of this machine that nobody listens at.
func freeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// Need returns the path of versitygw, and skips the test where it is not installed.
func Need(t testing.TB) string {
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

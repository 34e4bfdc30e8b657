package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
	"github.com/leathq/leat/internal/pgtest"
	"github.com/leathq/leat/internal/proxy"
)

// binaryDir is where binary built.
var binaryDir string

// binary is the leat command, built once for the tests that need a process.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "leat-test-")
	if err != nil {
		return "", err
	}
	binaryDir = dir
	path := filepath.Join(dir, "leat")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build leat: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	if args := os.Getenv(workerEnv); args != "" {
		if err := work(args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := pgtest.Main(m)
	if binaryDir != "" {
		_ = os.RemoveAll(binaryDir)
	}
	os.Exit(code)
}

// A process is a leat serve.
type process struct {
	*exec.Cmd
	url, http string // leat://HOST:PORT and http://HOST:PORT
	said      *strings.Builder
}

// serve starts leat serve and waits until it says where.
func serve(t *testing.T, args ...string) *process {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.Command(path, append([]string{"serve"}, args...)...), said: &strings.Builder{}}
	p.Stderr = p.said
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
	})
	lines := bufio.NewScanner(out)
	for (p.url == "" || p.http == "") && lines.Scan() {
		if u := regexp.MustCompile(`leat://[^/ ]+`).FindString(lines.Text()); u != "" {
			p.url = u
		}
		if u := regexp.MustCompile(`http://[^/ ]+`).FindString(lines.Text()); u != "" {
			p.http = u
		}
	}
	if p.url == "" || p.http == "" {
		_ = p.Wait()
		t.Fatalf("leat serve %v does not say where it listens: %s", args, p.said)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // until the process ends
	return p
}

// serveBehind starts leat serve where a proxy leads from now on, and returns it
// with the proxy's URL: that stays the same when the next is started.
func serveBehind(t *testing.T, in *proxy.Proxy, data string, args ...string) *process {
	t.Helper()
	p := serve(t, append(freePorts(data), args...)...)
	in.Lead(strings.TrimPrefix(p.url, "leat://"))
	p.url = "leat://" + in.Address
	return p
}

func freePorts(data string) []string {
	return []string{"--data", data, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"}
}

// term asks the process to end and checks that it does, in order and in time.
func (p *process) term(t *testing.T) {
	t.Helper()
	began := time.Now()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v\n%s", err, p.said)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v to end", took)
	}
}

// Every command works on a log at a server as on one in a directory.
func TestCommandsAtServer(t *testing.T) {
	data := t.TempDir()
	p := serve(t, freePorts(data)...)
	url := p.url + "/orders"
	if out := ok(t, "", "log", "create", url, "--shards", "4", "--id", "the-orders"); out != "created log the-orders in "+url+"\n" {
		t.Errorf("log create printed %q", out)
	}
	t.Setenv("LEAT_LOG", url)
	ok(t, "", "append", "order-1", "OrderPlaced", `{"total":1250}`, "--id", "place-1", "--expect", "new")
	if out := ok(t, "", "append", "order-1", "OrderPlaced", `{"total":1250}`, "--id", "place-1", "--expect", "new"); !strings.HasPrefix(out, "recorded before: order-1 version 1") {
		t.Errorf("the same append again printed %q", out)
	}
	ok(t, "\x00\xff", "append", "order-1", "Scanned", "--content-type", "image/png")
	if out := ok(t, "", "read", "order-1", "--json"); !strings.Contains(out, `"data":{"total":1250}`) || !strings.Contains(out, `"data_base64":"AP8="`) {
		t.Errorf("read printed %s", out)
	}
	if out := ok(t, "", "log", "show"); strings.Count(out, "shardId-") < 8 || !strings.Contains(out, "the-orders") {
		t.Errorf("log show printed\n%s", out)
	}
	lines := ok(t, "", "read", "--json")
	ok(t, "", "log", "create", p.url+"/copy")
	if out := ok(t, lines, "append", "--log", p.url+"/copy", "--jsonl", "-"); out != "recorded 2 events, 0 were recorded before\n" {
		t.Errorf("append --jsonl printed %q", out)
	}
	for args, want := range map[string]string{
		"append order-1 X {} --expect new":       `conflict: stream "order-1" is at version 2, expected to be new`,
		"log create " + url:                      "there is one of that name",
		"read --log " + p.url + "/none":          "not found",
		"read --log leat://127.0.0.1/orders":     "must be leat://HOST:PORT/LOG",
		"read --log leat://127.0.0.1:1/orders":   "cannot be reached",
		"log create " + p.url + "/ORDERS":        "a name of 1 to 64 characters",
		"doctor":                                 "stop the server",
		"doctor dir:" + data + "/logs/orders":    "in use by the process",
		"serve --data " + data + " --http :none": "",
	} {
		code, out, errOut := leatCmd(t, "", strings.Fields(args)...)
		if code != exitFailed || !strings.Contains(errOut, want) {
			t.Errorf("leat %s: exit %d, %s%s\nwant an error with %q", args, code, out, errOut, want)
		}
	}
	p.term(t)
	if out := ok(t, "", "doctor", "dir:"+filepath.Join(data, "logs", "orders")); !strings.HasPrefix(out, "✓ log the-orders: 2 events") {
		t.Errorf("doctor said %q of the log of a server that was stopped", out)
	}
}

// load appends from several goroutines until told to stop, and keeps what was
// acknowledged.
type load struct {
	log      *client.Log
	stop     atomic.Bool
	writers  sync.WaitGroup
	acked    [4]atomic.Uint64 // by stream: the version of the last event acknowledged
	running  chan struct{}    // a writer has 20 events acknowledged
	failures chan error
}

func startLoad(t *testing.T, url string) *load {
	t.Helper()
	log, err := client.Dial(t.Context(), url, client.Options{Retry: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	l := &load{log: log, running: make(chan struct{}, 4), failures: make(chan error, 4)}
	for i := range l.acked {
		l.writers.Go(func() {
			for !l.stop.Load() {
				e := leat.Event{Stream: fmt.Sprintf("load-%d", i), Type: "Counted", Source: "test", Data: []byte("1")}
				r, err := log.Append(t.Context(), []leat.Event{e})
				if err != nil {
					l.failures <- err
					return
				}
				l.acked[i].Store(r.Versions[0])
				if r.Versions[0] == 20 {
					l.running <- struct{}{}
				}
			}
		})
	}
	return l
}

// wait returns once each stream has some events acknowledged.
func (l *load) wait(t *testing.T) {
	t.Helper()
	for range l.acked {
		select {
		case <-l.running:
		case err := <-l.failures:
			t.Fatal(err)
		}
	}
}

// check reads what is there after a restart.
func (l *load) check(t *testing.T, url string) {
	t.Helper()
	log, err := client.Dial(t.Context(), url, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for i := range l.acked {
		stream := fmt.Sprintf("load-%d", i)
		var version uint64
		for r, err := range log.ReadStream(t.Context(), stream, leat.Range{}) {
			if err != nil {
				t.Fatal(err)
			}
			if version++; r.Version != version {
				t.Fatalf("%s: version %d follows %d", stream, r.Version, version-1)
			}
		}
		// One append of each writer was under way at the end.
		if acked := l.acked[i].Load(); version != acked && version != acked+1 {
			t.Errorf("%s has %d events, %d were acknowledged", stream, version, acked)
		}
	}
}

// A server that is asked to end, or killed, in the middle of appends has
// everything that it acknowledged when it starts again.
func TestServerEnds(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *process){
		"SIGTERM": func(t *testing.T, p *process) { p.term(t) },
		"SIGKILL": func(_ *testing.T, p *process) {
			_ = p.Process.Kill()
			_ = p.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			data := t.TempDir()
			p := serve(t, freePorts(data)...)
			ok(t, "", "log", "create", p.url+"/orders")
			l := startLoad(t, p.url+"/orders")
			l.wait(t)
			end(t, p)
			l.stop.Store(true)
			l.writers.Wait()
			close(l.failures)
			for err := range l.failures {
				if !errors.Is(err, leat.ErrUncertain) && !errors.Is(err, leat.ErrClosed) && !errors.Is(err, client.ErrUnreachable) {
					t.Errorf("an append failed with %v", err)
				}
			}
			p = serve(t, append(freePorts(data), "--log-format", "json")...)
			l.check(t, p.url+"/orders")
			resp, err := http.Get(p.http + "/readyz")
			if err != nil {
				t.Fatal(err)
			}
			if resp.Body.Close(); resp.StatusCode != http.StatusOK {
				t.Errorf("/readyz after the restart: status %d", resp.StatusCode)
			}
			p.term(t)
			if !strings.Contains(p.said.String(), `"msg":"stopped"`) {
				t.Errorf("it logged\n%swant JSON that ends with: stopped", p.said)
			}
		})
	}
}

// follow goes on where it was when its server comes back.
func TestFollowAtServer(t *testing.T) {
	data, in := t.TempDir(), proxy.New(t, "tcp", "")
	p := serveBehind(t, in, data)
	ok(t, "", "log", "create", p.url+"/orders")
	path, _ := binary()
	follow := exec.Command(path, "follow", "--json", "--log", p.url+"/orders")
	out, err := follow.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	next := func(want string) {
		t.Helper()
		if !lines.Scan() || !strings.Contains(lines.Text(), want) {
			t.Fatalf("follow printed %q, %v, want %s", lines.Text(), lines.Err(), want)
		}
	}
	ok(t, "", "append", "--log", p.url+"/orders", "order-1", "Counted", "1")
	next(`"version":1`)
	_ = p.Process.Kill()
	_ = p.Wait()
	p = serveBehind(t, in, data)
	ok(t, "", "append", "--log", p.url+"/orders", "order-1", "Counted", "2")
	next(`"version":2`)
	if err := follow.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := follow.Wait(); err != nil {
		t.Errorf("follow ended with %v after Ctrl-C", err)
	}
}

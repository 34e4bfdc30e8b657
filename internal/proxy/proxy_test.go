package proxy_test

import (
	"io"
	"net"
	"testing"

	"github.com/leathq/leat/internal/proxy"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo starts a server that sends back what it gets, after a greeting.
func echo(t *testing.T, greeting string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, greeting)
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
	})
	return l.Addr().String()
}

func greeted(t *testing.T, p *proxy.Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if b := make([]byte, 2); read(c, b) != "hi" {
		t.Fatalf("the greeting is %q", b)
	}
	return c
}

func read(c net.Conn, b []byte) string {
	n, _ := io.ReadFull(c, b)
	return string(b[:n])
}

func TestWhatHappensToConnections(t *testing.T) {
	p := proxy.New(t, "tcp", echo(t, "hi"))
	c := greeted(t, p)
	if _, err := io.WriteString(c, "abc"); err != nil {
		t.Fatal(err)
	}
	if got := read(c, make([]byte, 3)); got != "abc" {
		t.Errorf("%q came back", got)
	}
	p.Cut()
	if got := read(c, make([]byte, 1)); got != "" {
		t.Errorf("%q came through a connection that was cut", got)
	}
	p.Decide(func() proxy.Fate { return proxy.Fate{Up: -1, Down: 4} })
	c = greeted(t, p)
	_, _ = io.WriteString(c, "abc")
	if got := read(c, make([]byte, 3)); got != "ab" || p.Cuts.Load() != 1 {
		t.Errorf("%q came back and %d were cut", got, p.Cuts.Load())
	}
	p.Decide(proxy.Kind)
	p.Lead(echo(t, "ho"))
	c, err := net.Dial("tcp", p.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := read(c, make([]byte, 2)); got != "ho" {
		t.Errorf("the other server greets with %q", got)
	}
}

// Connections that are made while the proxy ends do not keep it from ending,
// whatever their peers do.
func TestEndsWhateverConnects(t *testing.T) {
	server := echo(t, "")
	for range 100 {
		t.Run("", func(proxied *testing.T) {
			p := proxy.New(proxied, "tcp", server)
			c, err := net.Dial("tcp", p.Address) // the proxy may not have accepted it yet
			if err != nil {
				proxied.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() }) // after the proxy has ended
		})
	}
}

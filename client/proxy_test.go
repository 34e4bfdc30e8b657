package client_test

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A proxy stands between a client and a server, and does to their connections
// what fate decides.
type proxy struct {
	address string
	target  string

	swallow atomic.Bool // what comes down is lost

	mu      sync.Mutex
	fate    func() fate
	conns   map[net.Conn]bool
	closed  bool
	pumping sync.WaitGroup
	cuts    atomic.Int64
}

// A fate is what happens to one connection.
type fate struct {
	up, down int64         // bytes after which it is cut in each direction; never when negative
	delay    time.Duration // of each piece that is passed on
}

// kind is the fate of a connection to which nothing happens.
func kind() fate { return fate{up: -1, down: -1} }

// newProxy returns a proxy that leads to target until the test ends. decide is
// asked for the fate of each connection.
func newProxy(t testing.TB, target string, decide func() fate) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{address: listener.Addr().String(), target: target, fate: decide, conns: make(map[net.Conn]bool)}
	p.pumping.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p.pumping.Go(func() { p.pass(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.cutAll()
		p.pumping.Wait()
	})
	return p
}

func (p *proxy) url() string { return "leat://" + p.address + "/log" }

// cutAll cuts the connections that are open.
func (p *proxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

// decide changes the fate of connections to come.
func (p *proxy) decide(f func() fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fate = f
}

// keep takes note of a connection, and reports false when it is too late.
func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.conns[c] = true
	return true
}

func (p *proxy) drop(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *proxy) pass(client net.Conn) {
	defer p.drop(client)
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer p.drop(server)
	if !p.keep(client) || !p.keep(server) {
		return
	}
	p.mu.Lock()
	f := p.fate()
	p.mu.Unlock()
	var both sync.WaitGroup
	copyAndCut := func(to io.Writer, from net.Conn, limit int64) {
		defer func() { _, _ = client.Close(), server.Close() }()
		if cut := pump(to, from, limit, f.delay); cut {
			p.cuts.Add(1)
		}
	}
	both.Go(func() { copyAndCut(server, client, f.up) })
	both.Go(func() { copyAndCut(throat{p, client}, server, f.down) })
	both.Wait()
}

// A throat passes on what comes down, unless the proxy swallows it.
type throat struct {
	proxy  *proxy
	client io.Writer
}

func (t throat) Write(b []byte) (int, error) {
	if t.proxy.swallow.Load() {
		return len(b), nil
	}
	return t.client.Write(b)
}

// pump passes bytes on until there are no more or limit have passed, and reports
// whether the limit was reached.
func pump(to io.Writer, from io.Reader, limit int64, delay time.Duration) bool {
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		if delay > 0 && n > 0 {
			<-time.After(delay)
		}
		cut := limit >= 0 && int64(n) >= limit
		if cut {
			n = int(limit)
		}
		limit -= int64(n)
		if _, e := to.Write(buffer[:n]); e != nil || err != nil || cut {
			return cut
		}
	}
}

// cruel returns fates at random: most connections are cut after 128 B to 64 KiB,
// within a frame as often as not, some are slow, a quarter live.
func cruel(seed uint64) func() fate {
	r := rand.New(rand.NewPCG(seed, 0))
	bytes := func() int64 { return int64(1) << (7 + r.IntN(9)) * int64(64+r.IntN(64)) / 64 }
	return func() fate {
		f := kind()
		switch r.IntN(8) {
		case 0, 1, 2:
			f.down = bytes()
		case 3, 4:
			f.up = bytes()
		case 5:
			f.up, f.down = bytes(), bytes()
		}
		if r.IntN(4) == 0 {
			f.delay = time.Duration(r.IntN(3000)) * time.Microsecond
		}
		return f
	}
}

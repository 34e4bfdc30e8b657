// Package proxy stands, in tests, between a server and those who connect to it,
// and does to their connections what fate decides.
package proxy

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A Proxy passes on what comes to its Address. Its methods are safe for
// concurrent use.
type Proxy struct {
	Address string // HOST:PORT on loopback

	// Swallow, while it is set, loses what comes from the server.
	Swallow atomic.Bool

	// Cuts counts the connections that were cut by their fate.
	Cuts atomic.Int64

	ctx     context.Context // ends with the proxy
	group   sync.WaitGroup
	network string

	mu     sync.Mutex
	server string
	fate   func() Fate
	conns  map[net.Conn]bool // both sides of each connection
}

// A Fate is what happens to one connection. Nothing does when it is [Kind].
type Fate struct {
	Up, Down int64         // bytes after which it is cut in each direction; never when negative
	Delay    time.Duration // of each piece that is passed on
}

// Kind lets connections live.
func Kind() Fate { return Fate{Up: -1, Down: -1} }

// Cruel returns fates at random: most connections are cut after 128 B to 64 KiB,
// within a frame as often as not, some are slow, a quarter live.
func Cruel(seed uint64) func() Fate {
	r := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // to be repeated, not to be secret
	bytes := func() int64 { return int64(1) << (7 + r.IntN(9)) * int64(64+r.IntN(64)) / 64 }
	return func() Fate {
		f := Kind()
		switch r.IntN(8) {
		case 0, 1, 2:
			f.Down = bytes()
		case 3, 4:
			f.Up = bytes()
		case 5:
			f.Up, f.Down = bytes(), bytes()
		}
		if r.IntN(4) == 0 {
			f.Delay = time.Duration(r.IntN(3000)) * time.Microsecond
		}
		return f
	}
}

// New returns a proxy to a server, which is kind and ends with the test.
func New(t testing.TB, network, server string) *Proxy {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Address: listener.Addr().String(), ctx: ctx, network: network, server: server, fate: Kind, conns: make(map[net.Conn]bool)}
	p.group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			p.group.Go(func() { p.pass(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		cancel() // before Cut, so that no connection comes to be known after it
		p.Cut()
		p.group.Wait()
	})
	return p
}

// Cut cuts all connections, wherever they are. New ones can be made.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

// Decide has the fate of each connection to come decided so.
func (p *Proxy) Decide(fate func() Fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fate = fate
}

// Lead leads connections to come to another server.
func (p *Proxy) Lead(server string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server = server
}

// keep takes note of a connection, and reports false when it is too late.
func (p *Proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return false
	}
	p.conns[c] = true
	return true
}

func (p *Proxy) drop(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// pass passes on what a connection brings, both ways, until one side is gone or
// its fate comes.
func (p *Proxy) pass(client net.Conn) {
	defer p.drop(client)
	p.mu.Lock()
	to, fate := p.server, p.fate()
	p.mu.Unlock()
	server, err := new(net.Dialer).DialContext(p.ctx, p.network, to)
	if err != nil {
		return // it is away
	}
	defer p.drop(server)
	if !p.keep(client) || !p.keep(server) {
		return
	}
	var both sync.WaitGroup
	pass := func(to io.Writer, from io.Reader, limit int64) {
		defer func() { _, _ = client.Close(), server.Close() }()
		if cut := pump(to, from, limit, fate.Delay); cut {
			p.Cuts.Add(1)
		}
	}
	both.Go(func() { pass(server, client, fate.Up) })
	both.Go(func() { pass(throat{p, client}, server, fate.Down) })
	both.Wait()
}

// A throat passes on what comes down, unless the proxy swallows it.
type throat struct {
	proxy  *Proxy
	client io.Writer
}

func (t throat) Write(b []byte) (int, error) {
	if t.proxy.Swallow.Load() {
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

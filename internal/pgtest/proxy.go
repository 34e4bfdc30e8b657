package pgtest

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// A Proxy stands between a server and those who connect through it. Its methods
// are safe for concurrent use.
type Proxy struct {
	dir      string
	server   string
	listener net.Listener
	group    sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool // both sides of each connection
}

const socket = ".s.PGSQL.5432"

// NewProxy returns a proxy, which ends with the test.
func (s *Server) NewProxy(t testing.TB) *Proxy {
	t.Helper()
	dir, err := os.MkdirTemp("", "leat-pgproxy")
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(dir, socket))
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{dir: dir, server: filepath.Join(s.dir, socket), listener: l, conns: make(map[net.Conn]bool)}
	p.group.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.Cut()
		p.group.Wait()
		_ = os.RemoveAll(dir)
	})
	return p
}

// URL returns the connection string of a database, through the proxy.
func (p *Proxy) URL(database string) string { return urlAt(p.dir, database) }

// Cut cuts all connections, wherever they are. New ones can be made.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		server, err := new(net.Dialer).DialContext(context.Background(), "unix", p.server)
		if err != nil {
			_ = client.Close() // the server is away
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		p.group.Go(func() { p.copy(server, client) })
		p.group.Go(func() { p.copy(client, server) })
	}
}

// copy copies until one side is gone, and ends the other then.
func (p *Proxy) copy(to, from net.Conn) {
	_, _ = io.Copy(to, from) // however it ends, both do
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range []net.Conn{to, from} {
		_ = c.Close()
		delete(p.conns, c)
	}
}

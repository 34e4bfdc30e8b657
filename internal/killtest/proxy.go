//go:build unix

package killtest

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
)

// A Proxy stands between a server and those who connect to its Address. Its
// methods are safe for concurrent use.
type Proxy struct {
	Address         string // HOST:PORT on loopback
	network, server string
	listener        net.Listener
	group           sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool // both sides of each connection
}

// NewProxy returns a proxy to a server, which ends with the test.
func NewProxy(t testing.TB, network, server string) *Proxy {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Address: l.Addr().String(), network: network, server: server, listener: l, conns: make(map[net.Conn]bool)}
	p.group.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
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
	clear(p.conns)
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		server, err := new(net.Dialer).DialContext(context.Background(), p.network, p.server)
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

package client_test

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
	"github.com/leathq/leat/engine"
	"github.com/leathq/leat/internal/proxy"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/server/lease"
	"github.com/leathq/leat/server/rpc"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLogOverReference(t *testing.T) {
	t.Parallel()
	leattest.TestLog(t, func(t testing.TB, s leattest.Setup) leattest.Instance {
		log, err := leattest.New(s.Config, s.Clock)
		if err != nil {
			t.Fatal(err)
		}
		return leattest.Instance{Log: dial(t, serve(t, log, nil).url, client.Options{})}
	})
}

func TestLogOverEngine(t *testing.T) {
	t.Parallel()
	leattest.TestLog(t, func(t testing.TB, s leattest.Setup) leattest.Instance {
		log := create(t, s)
		return leattest.Instance{Log: dial(t, serve(t, log, nil).url, client.Options{})}
	})
}

// create makes a log in a directory of the test.
func create(t testing.TB, s leattest.Setup) *engine.Log {
	t.Helper()
	log, err := engine.Create(t.TempDir(), s.Config, engine.Options{Clock: s.Clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Errorf("close the log: %v", err)
		}
	})
	return log
}

// A served is a log at a server of its own on loopback.
type served struct {
	rpc     *rpc.Server
	address string
	url     string
	ended   chan error // what Serve returned
}

// serve serves a log as "log" until the test ends.
func serve(t testing.TB, log leat.Log, leases leat.Leases) *served {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &served{
		rpc:     rpc.New(rpc.One("log", log, leases), rpc.Options{}),
		address: listener.Addr().String(), ended: make(chan error, 1),
	}
	s.url = "leat://" + s.address + "/log"
	go func() { s.ended <- s.rpc.Serve(listener) }()
	t.Cleanup(s.stop(t))
	return s
}

// stop returns what stops the server, once.
func (s *served) stop(t testing.TB) func() {
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.rpc.Shutdown(ctx); err != nil {
			t.Errorf("shut down: %v", err)
		}
		if err := <-s.ended; err != nil {
			t.Errorf("serve: %v", err)
		}
		s.ended <- nil
	}
}

// proxied returns a proxy to a server.
func proxied(t testing.TB, s *served) *proxy.Proxy { return proxy.New(t, "tcp", s.address) }

// url returns that of the log behind a proxy.
func url(p *proxy.Proxy) string { return "leat://" + p.Address + "/log" }

// dial connects to a log until the test ends.
func dial(t testing.TB, url string, o client.Options) *client.Log {
	t.Helper()
	log, err := client.Dial(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Errorf("close the client: %v", err)
		}
	})
	return log
}

func TestLeases(t *testing.T) {
	leattest.TestLeases(t, func(t testing.TB, clock func() time.Time) leattest.Keeper {
		path := filepath.Join(t.TempDir(), "leases")
		log, err := leattest.New(leat.Config{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		open := func() leat.Leases {
			k, err := lease.Open(path, clock)
			if err != nil {
				t.Fatal(err)
			}
			return dial(t, serve(t, log, k).url, client.Options{})
		}
		return leattest.Keeper{Leases: open(), Reopen: open}
	})
}

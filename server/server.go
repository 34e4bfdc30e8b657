package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	nethttp "net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/leathq/leat"
	"github.com/leathq/leat/server/http"
)

// A Server serves the logs in a data directory. Make one with New, and either
// Run or Close it. Its methods are safe for concurrent use.
type Server struct {
	config  Config
	logger  *slog.Logger
	lock    io.Closer // of the data directory
	logs    *logs
	metrics *metrics

	draining context.Context // ends when the server begins to drain
	drain    context.CancelFunc

	listeners []net.Listener // all of them, for Close
	http      *nethttp.Server
	httpLn    net.Listener

	closing sync.Once
	closed  error
}

// New takes the data directory, opens its logs and begins to listen. Nobody is
// answered before Run.
func New(c Config) (_ *Server, err error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	s := &Server{config: c, logger: c.Logger, metrics: newMetrics()}
	s.draining, s.drain = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("serve %s: %w", c.Dir, err), s.Close())
		}
	}()
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	// Pebble's lock works on every system that Pebble works on.
	if s.lock, err = vfs.Default.Lock(filepath.Join(c.Dir, "lock")); err != nil {
		return nil, fmt.Errorf("another process has it: %w", err)
	}
	if s.logs, err = openLogs(filepath.Join(c.Dir, "logs"), c.Engine); err != nil {
		return nil, err
	}
	for name, err := range s.logs.failed() {
		c.Logger.Error("a log cannot be opened, the others are served", "log", name, "error", err)
	}
	s.metrics.registry.MustRegister(newCollector(s))
	if s.httpLn, err = s.listen(c.HTTP); err != nil {
		return nil, err
	}
	s.http = http.NewServer(http.Config{
		Logs: s.newDoor("http"), NotReady: s.NotReady, Draining: s.draining, Logger: c.Logger,
		Metrics: promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(c.Logger.Handler(), slog.LevelWarn)}),
	})
	return s, nil
}

func (s *Server) listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address) //nolint:noctx // it does not wait for anything
	if err != nil {
		return nil, err
	}
	s.listeners = append(s.listeners, l)
	return l, nil
}

// HTTP returns the address of the HTTP door.
func (s *Server) HTTP() net.Addr { return s.httpLn.Addr() }

// Log returns a log of the server's, for use in its own process.
func (s *Server) Log(name string) (leat.Log, error) { return s.logs.get(name) }

// Create makes a log: fs.ErrExist when there is one of that name.
func (s *Server) Create(ctx context.Context, name string, c leat.Config) (leat.Log, error) {
	return s.logs.create(ctx, name, c)
}

// Names returns the logs that there are, sorted.
func (s *Server) Names() []string { return s.logs.names() }

// Run serves until ctx ends or a door fails, then drains and closes. Call it
// once.
func (s *Server) Run(ctx context.Context) error {
	failed := make(chan error, 1)
	var doors sync.WaitGroup
	doors.Go(func() {
		if err := s.http.Serve(s.httpLn); !errors.Is(err, nethttp.ErrServerClosed) {
			failed <- fmt.Errorf("http: %w", err)
		}
	})
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.logger.Info("draining", "patience", s.config.Drain)
	s.shut()
	doors.Wait()
	err = errors.Join(err, s.Close())
	s.logger.Info("stopped")
	return err
}

// shut closes the doors: at once for who comes, with patience for who is in.
func (s *Server) shut() {
	s.drain()
	patience, cancel := context.WithTimeout(context.Background(), s.config.Drain)
	defer cancel()
	if err := s.http.Shutdown(patience); err != nil {
		s.logger.Warn("requests were cut off because they did not finish in time", "door", "http", "error", err)
		_ = s.http.Close()
	}
}

// Close stops at once: connections are cut, the logs finish what they were
// given and are closed. It does nothing after Run.
func (s *Server) Close() error {
	s.closing.Do(func() {
		s.drain()
		if s.http != nil {
			_ = s.http.Close()
		}
		for _, l := range s.listeners {
			_ = l.Close() // the doors have closed theirs; those that never served have not
		}
		var errs []error
		if s.logs != nil {
			errs = append(errs, s.logs.close())
		}
		if s.lock != nil {
			errs = append(errs, s.lock.Close())
		}
		s.closed = errors.Join(errs...)
	})
	return s.closed
}

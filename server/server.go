package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	nethttp "net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/leathq/leat/server/http"
	"github.com/leathq/leat/server/rpc"
)

// A Server serves the logs in a data directory. Make one with New, and either
// Run or Close it. Its methods are safe for concurrent use.
type Server struct {
	config  Config
	logger  *slog.Logger
	lock    io.Closer // of the data directory
	logs    *logs
	archive Archive // nil when there is none
	metrics *metrics

	draining context.Context // ends when the server begins to drain
	drain    context.CancelFunc

	grpc           *rpc.Server
	http           *nethttp.Server
	grpcLn, httpLn net.Listener

	shutting, closing sync.Once
	closed            error // what Close returned
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
	if err := makeDir(c.Dir); err != nil {
		return nil, err
	}
	if s.lock, err = lockDir(c.Dir); err != nil {
		return nil, fmt.Errorf("another process has it: %w", err)
	}
	if c.Archive != nil {
		if s.archive, err = c.Archive(); err != nil {
			return nil, err
		}
	}
	if s.logs, err = openLogs(c.Dir, c.Engine, s.archive); err != nil {
		return nil, err
	}
	for name, err := range s.logs.failed() {
		c.Logger.Error("a log cannot be opened, the others are served", "log", name, "error", err)
	}
	s.metrics.registry.MustRegister(newCollector(s), newAppCollector(s))
	if s.grpcLn, err = listen("gRPC", c.GRPC); err != nil {
		return nil, err
	}
	if s.httpLn, err = listen("HTTP", c.HTTP); err != nil {
		return nil, err
	}
	s.grpc = rpc.New(s.newDoor("grpc"), rpc.Options{Logger: c.Logger})
	s.http = http.NewServer(http.Config{
		Logs: s.newDoor("http"), NotReady: s.NotReady, Draining: s.draining, Logger: c.Logger,
		Metrics: promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(c.Logger.Handler(), slog.LevelWarn)}),
	})
	return s, nil
}

func listen(door, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address) //nolint:noctx // it does not wait for anything
	if err != nil {
		return nil, fmt.Errorf("listen for %s: %w", door, err)
	}
	return l, nil
}

// GRPC returns the address of the gRPC door.
func (s *Server) GRPC() net.Addr { return s.grpcLn.Addr() }

// HTTP returns the address of the HTTP door.
func (s *Server) HTTP() net.Addr { return s.httpLn.Addr() }

// Names returns the logs that there are, sorted.
func (s *Server) Names() []string { return s.logs.names() }

// Run serves until ctx ends or a door fails, then drains and closes. Call it
// once.
func (s *Server) Run(ctx context.Context) error {
	failed := make(chan error, 2)
	var doors sync.WaitGroup
	doors.Go(func() {
		if err := s.http.Serve(s.httpLn); !errors.Is(err, nethttp.ErrServerClosed) {
			failed <- fmt.Errorf("serve HTTP on %s: %w", s.httpLn.Addr(), err)
		}
	})
	doors.Go(func() {
		if err := s.grpc.Serve(s.grpcLn); err != nil {
			failed <- err
		}
	})
	var err error
	select {
	case <-ctx.Done():
	case <-s.draining.Done(): // somebody called Close
	case err = <-failed:
	}
	s.logger.Info("draining", "patience", s.config.Drain)
	s.shut(s.config.Drain)
	doors.Wait()
	err = errors.Join(err, s.Close())
	s.logger.Info("stopped")
	return err
}

// shut closes the doors, the first time it is called: at once for who comes,
// with patience for who is in.
func (s *Server) shut(patience time.Duration) {
	s.drain()
	s.shutting.Do(func() { s.shutDoors(patience) })
}

func (s *Server) shutDoors(patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var doors sync.WaitGroup
	doors.Go(func() {
		if err := s.grpc.Shutdown(ctx); err != nil {
			s.logger.Warn("calls were cut off, because they did not finish in time", "door", "grpc", "error", err)
		}
	})
	doors.Go(func() {
		if err := s.http.Shutdown(ctx); err != nil {
			s.logger.Warn("requests were cut off, because they did not finish in time", "door", "http", "error", err)
			_ = s.http.Close()
		}
	})
	doors.Wait()
}

// Close stops at once: connections are cut, the logs finish what they were
// given and are closed. It does nothing after Run.
func (s *Server) Close() error {
	s.closing.Do(func() {
		if s.http != nil { // then there is the other door too
			s.shut(0)
		}
		for _, l := range []net.Listener{s.grpcLn, s.httpLn} {
			if l != nil {
				_ = l.Close() // a door that served has closed its own
			}
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

package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// How long a caller may take for the header, and for all of a request; and how
// long those that are under way may go on when a server is to end.
const (
	headerTimeout = 5 * time.Second
	ReadTimeout   = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	drainTimeout  = 3 * time.Second
)

// Serve answers requests on an address until ctx ends, and then lets those that
// are under way come to their end. A request has to come within readTimeout.
func Serve(ctx context.Context, address string, h http.Handler, readTimeout time.Duration, logger *slog.Logger) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("serve HTTP on %s: %w", address, err)
	}
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: min(headerTimeout, readTimeout), ReadTimeout: readTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: 64 << 10,
		ErrorLog:       slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve HTTP on %s: %w", address, err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	err = s.Shutdown(drain)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.Close()
	}
	return errors.Join(err, closed(<-ended))
}

// closed returns an error other than that a server was closed.
func closed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

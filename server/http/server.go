package http

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/leathq/leat"
)

// Logs are the logs that the door leads to, by name. Its methods are safe for
// concurrent use.
type Logs interface {
	// Log returns a log: leat.ErrNotFound when there is none.
	Log(ctx context.Context, name string) (leat.Log, error)

	// Leases returns the keeper of a log's leases: leat.ErrNotFound when there is
	// no such log.
	Leases(ctx context.Context, name string) (leat.Leases, error)

	// Reporter returns who keeps how the applications of a log fare:
	// leat.ErrNotFound when there is no such log.
	Reporter(ctx context.Context, name string) (leat.Reporter, error)

	// List returns the names of all logs, sorted.
	List(ctx context.Context) ([]string, error)

	// Create makes a log: fs.ErrExist when there is one of that name,
	// leat.ErrInvalid when there can be none.
	Create(ctx context.Context, name string, c leat.Config) (leat.Info, error)

	// Backup makes a copy of a log in a directory of that name among the server's
	// backups: fs.ErrExist when there is one, leat.ErrInvalid when there can be
	// none of that name, leat.ErrUnsupported when the log cannot be copied.
	Backup(ctx context.Context, name, directory string) error
}

// Config says what a door serves. Logs, NotReady, Draining and Metrics are
// needed.
type Config struct {
	Logs     Logs
	NotReady func() []string // why there should be no requests; nothing when ready
	Draining context.Context // ends when waiting requests shall come to an end
	Metrics  http.Handler    // GET /metrics
	Logger   *slog.Logger    // nobody when nil

	// MaxBody is the largest body that is read, in bytes; 16 MiB when 0. It takes
	// the smallest append that every log must take, however it is escaped.
	MaxBody int64

	// BodyBytes bounds the bodies that are at work at a time, together; 64 MiB
	// when 0, at least MaxBody. Decoding takes about four times as much. Bodies
	// of up to 64 KiB are not counted and never wait.
	BodyBytes int64

	// BodyTime is how long a body may take to arrive, and WriteTime how long a
	// client may take to read what is written to it at once; 30 seconds when 0.
	BodyTime, WriteTime time.Duration
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.MaxBody == 0 {
		c.MaxBody = 16 << 20
	}
	if c.BodyBytes == 0 {
		c.BodyBytes = 64 << 20
	}
	c.BodyBytes = max(c.BodyBytes, c.MaxBody)
	if c.BodyTime == 0 {
		c.BodyTime = 30 * time.Second
	}
	if c.WriteTime == 0 {
		c.WriteTime = 30 * time.Second
	}
	return c
}

// NewServer returns an HTTP server that is ready to be given a listener. There
// is no limit to the time a request takes as a whole, because some wait for
// events; there is one for each of its parts.
func NewServer(c Config) *http.Server {
	c = c.withDefaults()
	return &http.Server{
		Handler:           guard(c, sameOrigin(routes(c))),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(c.Logger.Handler(), slog.LevelDebug),
	}
}

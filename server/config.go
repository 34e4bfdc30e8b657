package server

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/leathq/leat"
)

// Where a server listens when nothing else is said: on this machine only.
const (
	DefaultGRPC = "127.0.0.1:7070"
	DefaultHTTP = "127.0.0.1:7071"
)

// Config says what a Server serves, and where.
type Config struct {
	// Dir is the data directory. It is made if need be, and one process owns it.
	Dir string

	// Engine makes and opens the logs. Package local is the one that keeps a log
	// in a directory of its own.
	Engine Engine

	// Archive returns what keeps the logs for good, as package keep does. It is
	// called once, when Dir is there and this server owns it; nothing keeps the
	// logs when it is nil.
	Archive func() (Archive, error)

	// GRPC and HTTP are the addresses to listen on, host:port; DefaultGRPC and
	// DefaultHTTP when empty. Port 0 takes any that is free.
	GRPC, HTTP string

	// Drain is how long requests under way have to finish once Run's context has
	// ended; 7 seconds when 0. Closing the logs comes after that.
	Drain time.Duration

	// Logger is told of what an operator should know; nobody when nil.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.GRPC == "" {
		c.GRPC = DefaultGRPC
	}
	if c.HTTP == "" {
		c.HTTP = DefaultHTTP
	}
	if c.Drain == 0 {
		c.Drain = 7 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.Dir == "":
		return &leat.InvalidError{Field: "data directory", Limit: "a path", Got: "nothing"}
	case c.Engine == nil:
		return &leat.InvalidError{Field: "engine", Limit: "set", Got: "nothing"}
	case c.Drain < 0:
		return &leat.InvalidError{Field: "drain", Limit: "a duration above 0", Got: c.Drain.String()}
	}
	return nil
}

// An Engine makes and opens logs in directories. Its methods are safe for
// concurrent use.
type Engine interface {
	// Create makes a log in a directory that is empty or does not exist. A log
	// whose making was interrupted does not exist.
	Create(dir string, c leat.Config) (Log, error)

	// Open opens a log; leat.ErrNotFound when there is none.
	Open(dir string) (Log, error)
}

// Log is what an Engine makes. Close finishes what was handed to Append and
// ends waiting readers.
type Log interface {
	leat.Log
	io.Closer
	Stats() Stats
}

// A Backuper is a Log that can be copied while it is in use.
type Backuper interface {
	// Backup makes a copy in a directory that does not exist; fs.ErrExist when it
	// does. When it fails there is no copy.
	Backup(ctx context.Context, dir string) error
}

// An Archive keeps logs for good. Its methods are safe for concurrent use.
type Archive interface {
	// Keep returns what archives a log, from Start to Close. What goes wrong with
	// the archive is no error of Keep: it is told in figures, and the log is
	// served meanwhile.
	Keep(ctx context.Context, name string, log Log) (Kept, error)

	// Figures are those that are about no one log.
	Figures() []Figure
}

// A Kept is a log that is archived. Its methods are safe for concurrent use.
type Kept interface {
	// Reader returns the log to read from: with what only the archive still has.
	Reader() leat.Log

	// Trim does what leat.Trimmer does, and refuses to remove what is not
	// archived.
	leat.Trimmer

	Figures() []Figure

	// Start begins to archive the log, once Keep was called for all logs that
	// there are.
	Start()

	// Close ends that, before the log itself is closed.
	io.Closer
}

// Stats are a log's figures at one moment.
type Stats struct {
	Groups      uint64        // commits since the log was opened; each holds many appends
	DiskBytes   uint64        // taken by the log's files
	MemoryBytes uint64        // of the log's caches
	ClockBehind time.Duration // by which the log's time is ahead of the clock
	Full        error         // why appends get leat.ErrFull; nil while they do not
	Stopped     error         // why the log takes no more appends; nil while it does
	Figures     []Figure      // that only the engine knows the meaning of
}

// A Figure is a metric of a log, named as Prometheus has it.
type Figure struct {
	Name, Help string
	Labels     map[string]string // beside that of the log
	Total      bool              // it only grows, until the log is opened anew
	Value      float64
	Latency    *Latency // takes the place of Value, unless it is nil
}

// A Latency is how long calls of one kind took.
type Latency struct {
	Count  uint64
	Sum    time.Duration
	Within map[time.Duration]uint64 // how many took at most that long
}

package service

import (
	"context"
	"log/slog"
	"time"

	"github.com/leathq/leat"
)

// A Config says how an App runs. Log is needed.
type Config struct {
	Log    leat.Log
	Logger *slog.Logger // where retries and parked events are told; slog.Default() when nil
	Retry  Retry

	// Drain is how long handlers that are at work when Run's context ends may go
	// on before their own context ends; 10 s when 0.
	Drain time.Duration
}

// An App runs projections and reactors in one process.
type App struct {
	config Config
	runs   []run
}

// NewApp returns an App that runs the given applications, or an error that names
// the field which is wrong.
func NewApp(c Config, runners ...Runner) (*App, error) { return &App{config: c}, nil }

// Run runs all applications until ctx ends; then it lets handlers that are at
// work finish, saves checkpoints and returns nil. When an application fails for
// good it stops all others in the same way and returns the error. That is when
// the log is closed (leat.ErrClosed) or does not hold what a checkpoint says
// (leat.ErrDiverged), or when another process has moved a checkpoint
// (leat.ErrFenced). Run can be called once.
func (a *App) Run(ctx context.Context) error { return ctx.Err() }

// Status tells how each application fares, in the order given to NewApp.
func (a *App) Status() []Status { return nil }

// WaitCaughtUp waits until every application is done with all events up to a
// checkpoint. A parked event counts as done. It returns the error of ctx, saying
// who lags, or of Run when that ended.
func (a *App) WaitCaughtUp(ctx context.Context, to leat.Checkpoint) error { return ctx.Err() }

// WaitFor waits until every application is done with the events of an Append.
func (a *App) WaitFor(ctx context.Context, r leat.Receipt) error { return ctx.Err() }

// A Status tells how an application fares. Counts are since Run began.
type Status struct {
	Name    string
	Seen    uint64 // events that the filter let through
	Handled uint64
	Skipped uint64 // passed over by the handler: ErrSkipped
	Parked  uint64 // could not be handled, or wait behind one of their stream
	Retries uint64 // failed attempts that were tried again

	Shards []ShardStatus // in the order of the log
	Lag    uint64        // events of all shards that it is not yet done with, whether the filter selects them or not

	LastError string // of the last attempt that failed; empty when there was none
	LastAt    time.Time
}

// A ShardStatus tells how far an application has got in a shard.
type ShardStatus struct {
	ID     leat.ShardID
	Next   uint64 // last sequence it is done with
	Head   uint64 // last sequence of the shard, at most about a second ago
	Closed bool   // it is done with all of a closed shard
}

type env struct{}
type run interface{}

func (p Projection[Tx]) appName() string { return p.Name }
func (p Projection[Tx]) validate() error { return nil }
func (p Projection[Tx]) start(env) run   { return nil }
func (p Reactor) appName() string        { return p.Name }
func (p Reactor) validate() error        { return nil }
func (p Reactor) start(env) run          { return nil }

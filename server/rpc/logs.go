package rpc

import (
	"context"
	"fmt"

	"github.com/leathq/leat"
)

// Logs are the logs that a door leads to, by name. Its methods are safe for
// concurrent use.
type Logs interface {
	// Log returns a log, or an error that is leat.ErrNotFound.
	Log(ctx context.Context, name string) (leat.Log, error)

	// Leases returns the keeper of a log's leases, or an error that is
	// leat.ErrNotFound.
	Leases(ctx context.Context, name string) (leat.Leases, error)

	// Reporter returns who keeps how the applications of a log fare, or an error
	// that is leat.ErrNotFound.
	Reporter(ctx context.Context, name string) (leat.Reporter, error)

	// List returns the names of all logs, sorted.
	List(ctx context.Context) ([]string, error)

	// Create makes a new log.
	Create(ctx context.Context, name string, c leat.Config) (leat.Info, error)
}

// One returns the Logs that hold one log, and no others ever.
func One(name string, log leat.Log, leases leat.Leases) Logs { return one{name, log, leases} }

type one struct {
	name   string
	log    leat.Log
	leases leat.Leases
}

func (o one) find(name string) error {
	if name != o.name {
		return fmt.Errorf("log %q: %w: this server has only %q", name, leat.ErrNotFound, o.name)
	}
	return nil
}

func (o one) Log(_ context.Context, name string) (leat.Log, error) { return o.log, o.find(name) }

func (o one) Leases(_ context.Context, name string) (leat.Leases, error) {
	if err := o.find(name); err != nil {
		return nil, err
	}
	if o.leases == nil {
		return nil, fmt.Errorf("leases of log %q: %w", name, leat.ErrUnsupported)
	}
	return o.leases, nil
}

// Reporter implements Logs. The reporter is the log, if it is one.
func (o one) Reporter(_ context.Context, name string) (leat.Reporter, error) {
	if err := o.find(name); err != nil {
		return nil, err
	}
	r, ok := o.log.(leat.Reporter)
	if !ok {
		return nil, fmt.Errorf("applications of log %q: %w", name, leat.ErrUnsupported)
	}
	return r, nil
}

func (o one) List(context.Context) ([]string, error) { return []string{o.name}, nil }

func (o one) Create(_ context.Context, name string, _ leat.Config) (leat.Info, error) {
	return leat.Info{}, fmt.Errorf("create log %q: %w by a server of one log", name, leat.ErrUnsupported)
}

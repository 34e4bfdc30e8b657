//go:build unix

package killtest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/leathq/leat/client"
	"github.com/leathq/leat/service"
)

// Environment of a worker.
const (
	envLog    = "LEAT_KILLTEST_LOG"    // URL of the log
	envWorker = "LEAT_KILLTEST_WORKER" // its name
)

const (
	application = "count"
	leaseTTL    = 300 * time.Millisecond
)

// IsWorker reports whether this process was started as a worker, and so has to
// call Work and nothing else.
func IsWorker() bool { return os.Getenv(envWorker) != "" }

// Work runs a projection as one of the fleet until the process is killed. It
// returns when the projection fails for good.
func Work[Tx any](p service.Projection[Tx]) error {
	ctx := context.Background()
	log, err := client.Dial(ctx, os.Getenv(envLog), client.Options{Wait: true})
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process ends with it
	p.Name = application
	app, err := service.NewApp(service.Config{
		Log: log, Leases: log, Instance: os.Getenv(envWorker), LeaseTTL: leaseTTL,
		Logger: slog.New(slog.DiscardHandler), Retry: service.Retry{First: 5 * time.Millisecond, Most: 100 * time.Millisecond},
	}, p)
	if err != nil {
		return err
	}
	err = app.Run(ctx)
	return fmt.Errorf("the app ended: %w", err)
}

//go:build unix

package killtest

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
	"github.com/leathq/leat/service"
)

// Environment of a worker.
const (
	envLog    = "LEAT_KILLTEST_LOG"    // URL of the log
	envWorker = "LEAT_KILLTEST_WORKER" // its name
	envTask   = "LEAT_KILLTEST_TASK"   // what it does
)

// What a worker does.
const (
	taskCount  = "count"
	taskOutbox = "outbox"
)

const (
	application = "count"
	relay       = "relay"
	leaseTTL    = 300 * time.Millisecond
)

// Main does what a worker does, through [Work] in count or [WorkOutbox] in outbox,
// and ends the process, when it was started as one. Otherwise it returns.
func Main(count, outbox func(ctx context.Context) error) {
	work := map[string]func(context.Context) error{taskCount: count, taskOutbox: outbox}[os.Getenv(envTask)]
	if work == nil {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	code := 0
	if err := work(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	stop()
	os.Exit(code)
}

// Work runs a projection as one of the fleet until the worker is killed or ctx
// ends. It returns when the projection fails for good.
func Work[Tx any](ctx context.Context, p service.Projection[Tx]) error {
	p.Name = application
	var stop atomic.Bool
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, stopWithin)
	go func() {
		for range asked {
			stop.Store(true)
		}
	}()
	apply := p.Apply
	p.Apply = func(ctx context.Context, tx Tx, r leat.Recorded) error {
		if stop.Swap(false) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP) // until somebody lets it go on
		}
		return apply(ctx, tx, r)
	}
	return work(ctx, p)
}

// stopWithin makes a worker that counts stop itself within its next transaction.
const stopWithin = syscall.SIGUSR1

// WorkOutbox changes something in random streams, through change, and relays
// what that puts into an outbox, until the worker is killed or ctx ends. It
// returns when the relay fails for good.
func WorkOutbox(ctx context.Context, outbox service.Outbox, change func(ctx context.Context, stream string) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var changing sync.WaitGroup
	defer changing.Wait()
	defer cancel()
	for range 2 {
		changing.Go(func() {
			for ctx.Err() == nil {
				_ = change(ctx, streamName(rand.IntN(streams))) //nolint:gosec // the database may be away, and what was not done is not told
				time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
			}
		})
	}
	return work(ctx, service.Relay{Name: relay, Outbox: outbox})
}

func streamName(n int) string { return fmt.Sprintf("stock-%d", n) }

func work(ctx context.Context, r service.Runner) error {
	log, err := client.Dial(ctx, os.Getenv(envLog), client.Options{Wait: true})
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process ends with it
	app, err := service.NewApp(service.Config{
		Log: log, Leases: log, Instance: os.Getenv(envWorker), LeaseTTL: leaseTTL,
		Logger: slog.New(slog.DiscardHandler), Retry: service.Retry{First: 5 * time.Millisecond, Most: 100 * time.Millisecond},
	}, r)
	if err != nil {
		return err
	}
	return fmt.Errorf("the app ended: %w", app.Run(ctx))
}

package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/examples/shop/billing"
	"github.com/leathq/leat/examples/shop/inventory"
	"github.com/leathq/leat/examples/shop/orders"
	"github.com/leathq/leat/examples/shop/web"
	"github.com/leathq/leat/service"
)

// A worked service is one that workers run.
type worked interface {
	Routes(m *web.Mux)
	Runners() []service.Runner
	Store() service.CheckpointStore
	Close() error
}

// A serviceRole is the role of a service's workers. The name is also what the
// service's paths begin with.
type serviceRole struct {
	name string
	open func(ctx context.Context, log leat.Log, path string) (worked, error)

	forwards bool // its events to the accountant
}

var services = []serviceRole{
	{name: "orders", open: func(ctx context.Context, log leat.Log, path string) (worked, error) {
		return opened(orders.Open(ctx, log, path))
	}},
	{name: "inventory", open: func(ctx context.Context, log leat.Log, path string) (worked, error) {
		return opened(inventory.Open(ctx, log, path))
	}},
	{name: "billing", open: func(ctx context.Context, log leat.Log, path string) (worked, error) {
		return opened(billing.Open(ctx, log, path))
	}, forwards: true},
}

func opened[S worked](s S, err error) (worked, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// role runs a worker: it takes commands, answers queries, and shares the
// applications of its service with the other workers.
func (s serviceRole) role(f *flag.FlagSet) func(context.Context, *slog.Logger) error {
	url := f.String("log", "", "`URL` of the log")
	db := f.String("db", "", "`FILE` of the service's database")
	listen := f.String("listen", "", "`ADDRESS` to serve HTTP on")
	name := f.String("worker", "", "`NAME` of this worker")
	hook := f.String("webhook", "", "`URL` to forward the service's events to; none by default")
	return func(ctx context.Context, logger *slog.Logger) error {
		if err := required(f, "log", "db", "listen", "worker"); err != nil {
			return err
		}
		log, err := dial(ctx, *url)
		if err != nil {
			return err
		}
		defer log.Close()
		service, err := s.open(ctx, log, *db)
		if err != nil {
			return err
		}
		runners := service.Runners()
		if *hook != "" {
			forwarder, hangUp, err := toWebhook(service, *hook)
			if err != nil {
				return errors.Join(err, service.Close())
			}
			defer hangUp() //nolint:errcheck // it closes what is idle, which cannot fail
			runners = append(runners, forwarder)
		}
		w, err := newWorker(*name, log, service, logger, runners)
		if err != nil {
			return errors.Join(err, service.Close())
		}
		err = together(ctx, w.app.Run, func(ctx context.Context) error {
			return web.Serve(ctx, *listen, w.api(s.name), web.ReadTimeout, logger)
		})
		return errors.Join(err, service.Close())
	}
}

// A worker is one process of a service.
type worker struct {
	name    string
	service worked
	app     *service.App
	logger  *slog.Logger
}

func newWorker(name string, log network, s worked, logger *slog.Logger, runners []service.Runner) (*worker, error) {
	app, err := service.NewApp(appConfig(name, log, logger), runners...)
	if err != nil {
		return nil, err
	}
	return &worker{name: name, service: s, app: app, logger: logger}, nil
}

// A workerStatus is how a worker and the applications of its service fare.
type workerStatus struct {
	Worker       string              `json:"worker"`
	PID          int                 `json:"pid"`
	Applications []applicationStatus `json:"applications"`
}

// An applicationStatus says how far an application is, whoever of its fleet got
// it there, and what of it this worker did since it was started.
type applicationStatus struct {
	Name   string          `json:"name"`
	At     leat.Checkpoint `json:"at"`
	Parked uint64          `json:"parked"` // events that wait

	Lag       uint64 `json:"lag"` // events of all shards up to now
	Handled   uint64 `json:"handled"`
	Failures  uint64 `json:"failures"`
	LastError string `json:"lastError,omitempty"`
}

func (w *worker) api(service string) http.Handler {
	m := web.NewMux(w.logger)
	w.service.Routes(m)
	m.Handle("GET /"+service+"/-/status", func(out http.ResponseWriter, r *http.Request) error {
		s, err := w.status(r.Context())
		if err != nil {
			return err
		}
		return web.Answer(out, http.StatusOK, s)
	})
	return m
}

func (w *worker) status(ctx context.Context) (*workerStatus, error) {
	s := &workerStatus{Worker: w.name, PID: os.Getpid()}
	for _, a := range w.app.Status() {
		at, err := w.service.Store().Checkpoint(ctx, a.Name)
		if err != nil {
			return nil, err
		}
		waiting, err := w.service.Store().Waiting(ctx, a.Name)
		if err != nil {
			return nil, err
		}
		status := applicationStatus{Name: a.Name, At: at, Handled: a.Handled, Failures: a.Failures, LastError: a.LastError}
		for _, n := range waiting {
			status.Parked += n
		}
		for _, shard := range a.Shards {
			status.Lag += shard.Head - min(shard.Head, at.Seqs[shard.ID])
		}
		s.Applications = append(s.Applications, status)
	}
	return s, nil
}

// leaseTTL is how long the shards of a worker that died wait for another.
const leaseTTL = 3 * time.Second

// appRetry makes a worker patient: while the store or a database is away for a
// moment, events are not to blame.
var appRetry = service.Retry{Attempts: 30, Most: 2 * time.Second}

// appConfig says how a worker runs the applications of its service.
func appConfig(name string, log network, logger *slog.Logger) service.Config {
	return service.Config{
		Log: log, Logger: logger, Retry: appRetry, Drain: roleDrain,
		Leases: log, Instance: name, LeaseTTL: leaseTTL,
	}
}

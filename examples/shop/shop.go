package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/examples/shop/accountant"
	"github.com/leathq/leat/examples/shop/supervisor"
	"github.com/leathq/leat/forward/webhook"
	"golang.org/x/sync/errgroup"
)

const (
	workersEach = 2
	drainAll    = 9 * time.Second
	startWithin = time.Minute
)

// A shop is the whole house, seen from outside: its processes, the API of its
// gateway, and the log.
type shop struct {
	dir        string
	billing    string // URL of billing's database; empty: a file
	at         addresses
	key        string         // to the gateway
	secret     webhook.Secret // between billing and the accountant
	processes  *supervisor.Supervisor
	log        network
	api        *api   // the gateway's
	archiver   *api   // the archiver's
	accountant *api   // the accountant's
	workers    []*api // the workers' own, past the gateway
	applied    *applied
	closeFiles []io.Closer
}

// addresses are where the processes listen: host:port.
type addresses struct {
	grpc, http string // of the store
	archive    string
	gateway    string
	accountant string
	workers    map[string][]string // of each service
}

// openShop starts the shop in a directory that exists, billing with its database
// at a URL if there is one. Close it.
func openShop(ctx context.Context, dir, billing string) (_ *shop, err error) {
	s := &shop{dir: dir, billing: billing, key: rand.Text(), secret: webhook.NewSecret(), applied: newApplied()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	journal, err := os.OpenFile(filepath.Join(dir, "shop.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the shop: %w", err)
	}
	s.closeFiles = append(s.closeFiles, journal)
	if s.at, err = newAddresses(ctx); err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the program to start: %w", err)
	}
	s.processes, err = supervisor.New(supervisor.Config{
		Program: program, Logs: filepath.Join(dir, "logs"), Patience: drainAll,
		Logger: slog.New(slog.NewTextHandler(journal, nil)),
	})
	if err != nil {
		return nil, err
	}
	return s, s.start(ctx)
}

// newAddresses returns free ones.
func newAddresses(ctx context.Context) (addresses, error) {
	free, err := freeAddresses(ctx, 5+workersEach*len(services))
	if err != nil {
		return addresses{}, err
	}
	a := addresses{grpc: free[0], http: free[1], archive: free[2], gateway: free[3], accountant: free[4], workers: make(map[string][]string)}
	free = free[5:]
	for _, s := range services {
		a.workers[s.name], free = free[:workersEach], free[workersEach:]
	}
	return a, nil
}

// logURL returns the URL of the log.
func (a addresses) logURL() string { return "leat://" + a.grpc + "/" + logName }

// start starts the processes: the store, then what works on it, then what lets
// people in.
func (s *shop) start(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	if err := s.processes.Start(ctx, s.store()); err != nil {
		return err
	}
	if err := makeLog(ctx, s.at.logURL()); err != nil {
		return err
	}
	if err := s.processes.Start(ctx, append(s.allWorkers(), s.archive(), s.books())...); err != nil {
		return err
	}
	if err := s.processes.Start(ctx, s.gateway()); err != nil {
		return err
	}
	s.api, s.archiver = newAPI("http://"+s.at.gateway, s.key), newAPI("http://"+s.at.archive, "")
	s.accountant = newAPI("http://"+s.at.accountant, "")
	for _, of := range services {
		for _, address := range s.at.workers[of.name] {
			s.workers = append(s.workers, newAPI("http://"+address+"/"+of.name, ""))
		}
	}
	s.log, err = dial(ctx, s.at.logURL())
	return err
}

func (s *shop) store() supervisor.Process {
	return supervisor.Process{
		Name:  "store",
		Args:  []string{"store", "--data", filepath.Join(s.dir, "store"), "--grpc", s.at.grpc, "--http", s.at.http},
		Ready: answers("http://" + s.at.http + "/readyz"),
	}
}

func (s *shop) archive() supervisor.Process {
	return supervisor.Process{
		Name: "archive",
		Args: []string{
			"archive", "--log", s.at.logURL(), "--store", "file://" + filepath.ToSlash(filepath.Join(s.dir, "archive")),
			"--key", filepath.Join(s.dir, "archive.key"), "--listen", s.at.archive,
		},
		Ready: answers("http://" + s.at.archive + "/healthz"),
	}
}

func (s *shop) allWorkers() []supervisor.Process {
	var all []supervisor.Process
	for _, of := range services {
		for i, address := range s.at.workers[of.name] {
			name := fmt.Sprintf("%s-%d", of.name, i+1)
			p := supervisor.Process{
				Name:  name,
				Args:  []string{of.name, "--worker", name, "--log", s.at.logURL(), "--db", s.database(of), "--listen", address},
				Ready: answers("http://" + address + "/healthz"),
			}
			if of.forwards {
				p.Args = append(p.Args, "--webhook", "http://"+s.at.accountant+accountant.Path)
				p.Env = []string{secretVariable + "=" + s.secret.Text()}
			}
			all = append(all, p)
		}
	}
	return all
}

// database names the database of a service: a file, unless billing is to keep
// its books at a server.
func (s *shop) database(of serviceRole) string {
	if of.name == "billing" && s.billing != "" {
		return s.billing
	}
	return filepath.Join(s.dir, of.name+".db")
}

// books is the accountant, who is no part of the shop but hears of it.
func (s *shop) books() supervisor.Process {
	return supervisor.Process{
		Name: "accountant", Args: []string{"accountant", "--db", filepath.Join(s.dir, "accountant.db"), "--listen", s.at.accountant},
		Env:   []string{secretVariable + "=" + s.secret.Text()},
		Ready: answers("http://" + s.at.accountant + "/healthz"),
	}
}

func (s *shop) gateway() supervisor.Process {
	args := []string{"gateway", "--listen", s.at.gateway}
	for _, of := range services {
		urls := make([]string, 0, workersEach)
		for _, address := range s.at.workers[of.name] {
			urls = append(urls, "http://"+address)
		}
		args = append(args, "--"+of.name, strings.Join(urls, ","))
	}
	return supervisor.Process{
		Name: "gateway", Args: args, Env: []string{keyVariable + "=" + s.key},
		Ready: answers("http://" + s.at.gateway + "/healthz"),
	}
}

// answers returns a function that reports whether a URL answers 200.
func answers(url string) func(context.Context) bool {
	return func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return false
		}
		r.Close = true
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	}
}

// Close drains all processes, the gateway first and the store last.
func (s *shop) Close() error {
	var errs []error
	for _, a := range append(s.workers, s.api, s.archiver, s.accountant) {
		if a != nil {
			a.close()
		}
	}
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	if s.processes != nil {
		errs = append(errs, s.processes.Stop())
	}
	for _, f := range s.closeFiles {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// run does work and watches meanwhile, and returns when all have ended. If a
// process cannot be kept going, the context of work ends.
func (s *shop) run(ctx context.Context, work func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	open, shut := context.WithCancel(ctx)
	var failed error // why a process died for good, which work may notice before we do
	g.Go(func() error {
		failed = s.processes.Wait(open)
		return failed
	})
	g.Go(func() error { s.watch(open); return nil })
	g.Go(func() error {
		defer shut()
		return work(ctx)
	})
	err := g.Wait()
	return cmp.Or(failed, err)
}

// heads returns a checkpoint at the end of the log.
func (s *shop) heads(ctx context.Context) (end leat.Checkpoint, err error) {
	err = s.untilStore(ctx, func() error {
		end, err = leat.Start(ctx, s.log, leat.Now)
		return err
	})
	return end, err
}

// untilStore repeats what needs the store while that is away.
func (s *shop) untilStore(ctx context.Context, do func() error) error {
	for began := time.Now(); ; {
		err := do()
		if err == nil || ctx.Err() != nil || time.Since(began) > patience || !away(err) {
			return err
		}
		if err := wait(ctx, longestPause/4); err != nil {
			return err
		}
	}
}

// settle waits until every application has handled everything, also what they
// recorded meanwhile: until all are at the end of a log that grows no more.
func (s *shop) settle(ctx context.Context) (leat.Checkpoint, error) {
	for {
		end, err := s.heads(ctx)
		if err != nil {
			return leat.Checkpoint{}, fmt.Errorf("wait until all is handled: %w", err)
		}
		settled, err := s.settledAt(ctx, end)
		if err != nil {
			return leat.Checkpoint{}, fmt.Errorf("wait until all is handled: %w", err)
		}
		if settled {
			return end, nil
		}
		if err := wait(ctx, settleEvery); err != nil {
			return leat.Checkpoint{}, err
		}
	}
}

const settleEvery = 100 * time.Millisecond

// settledAt reports whether all is handled up to the end of the log, which is
// still its end.
func (s *shop) settledAt(ctx context.Context, end leat.Checkpoint) (bool, error) {
	s.ask(ctx)
	if s.applied.lag(end) > 0 {
		return false, nil
	}
	now, err := s.heads(ctx)
	return now.Equal(end), err
}

// flush archives all up to a place, and returns how far the archive is.
func (s *shop) flush(ctx context.Context, end leat.Checkpoint) error {
	return s.archiver.command(ctx, "/archive/-/flush", "", flushRequest{To: end})
}

// events returns how many events there are up to a checkpoint.
func events(c leat.Checkpoint) (n int64) {
	for _, seq := range c.Seqs {
		n += int64(seq)
	}
	return n
}

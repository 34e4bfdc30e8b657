package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/engine"
	"github.com/leathq/leat/examples/shop/billing"
	"github.com/leathq/leat/examples/shop/inventory"
	"github.com/leathq/leat/examples/shop/orders"
	"github.com/leathq/leat/service"
	"golang.org/x/sync/errgroup"
)

const (
	logShards    = 4
	segmentBytes = 16 << 20 // an archiver keeps about this much of each shard in memory
	watchEvery   = 200 * time.Millisecond
)

// A shop is the whole house in one process.
type shop struct {
	log       *engine.Log
	archiver  *archive.Archiver
	orders    *orders.Service
	inventory *inventory.Service
	billing   *billing.Service
	app       *service.App

	close []func() error // what is open, to be closed in reverse

	mu       sync.Mutex
	furthest map[string]uint64 // most events that each application lagged behind, by its name
}

// openShop opens the shop in a directory that exists. Close it.
func openShop(ctx context.Context, dir string) (_ *shop, err error) {
	s := &shop{furthest: make(map[string]uint64)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	journal, err := os.OpenFile(filepath.Join(dir, "shop.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the shop: %w", err)
	}
	s.close = append(s.close, journal.Close)
	logger := slog.New(slog.NewTextHandler(journal, nil))

	if s.log, err = openLog(filepath.Join(dir, "log"), logger); err != nil {
		return nil, err
	}
	s.close = append(s.close, s.log.Close)
	store, err := archive.OpenStore("file://" + filepath.Join(dir, "archive"))
	if err != nil {
		return nil, err
	}
	if s.archiver, err = archive.NewArchiver(s.log, store, archive.Config{SegmentBytes: segmentBytes}); err != nil {
		return nil, err
	}
	if err := s.openServices(ctx, dir); err != nil {
		return nil, err
	}
	runners := s.orders.Runners()
	runners = append(runners, s.inventory.Runners()...)
	runners = append(runners, s.billing.Runners()...)
	s.app, err = service.NewApp(service.Config{Log: s.log, Logger: logger}, runners...)
	return s, err
}

// openLog opens the log in a directory, and creates it at first.
func openLog(dir string, logger *slog.Logger) (*engine.Log, error) {
	o := engine.Options{Logger: logger}
	log, err := engine.Open(dir, o)
	if errors.Is(err, leat.ErrNotFound) {
		return engine.Create(dir, leat.Config{Shards: leat.EvenShards(logShards)}, o)
	}
	return log, err
}

func (s *shop) openServices(ctx context.Context, dir string) (err error) {
	if s.orders, err = orders.Open(ctx, s.log, filepath.Join(dir, "orders.db")); err != nil {
		return err
	}
	s.close = append(s.close, s.orders.Close)
	if s.inventory, err = inventory.Open(ctx, s.log, filepath.Join(dir, "inventory.db")); err != nil {
		return err
	}
	s.close = append(s.close, s.inventory.Close)
	if s.billing, err = billing.Open(ctx, s.log, filepath.Join(dir, "billing.db")); err != nil {
		return err
	}
	s.close = append(s.close, s.billing.Close)
	return nil
}

// Close closes what is open.
func (s *shop) Close() error {
	var errs []error
	for len(s.close) > 0 {
		last := len(s.close) - 1
		errs = append(errs, s.close[last]())
		s.close = s.close[:last]
	}
	return errors.Join(errs...)
}

// run keeps the applications and the archiver going while work works, and
// returns when all have ended. If one of them fails, the context of work ends.
func (s *shop) run(ctx context.Context, work func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	open, shut := context.WithCancel(ctx)
	var failed error // why the app ended, which work may notice before we do
	g.Go(func() error {
		failed = s.app.Run(open)
		return failed
	})
	g.Go(func() error { return s.archiver.Run(open) })
	g.Go(func() error { return s.watch(open) })
	g.Go(func() error {
		defer shut()
		return work(ctx)
	})
	err := g.Wait()
	return cmp.Or(failed, err)
}

// watch notes how far the applications lag behind, until ctx ends.
func (s *shop) watch(ctx context.Context) error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		s.mu.Lock()
		for _, a := range s.app.Status() {
			s.furthest[a.Name] = max(s.furthest[a.Name], a.Lag)
		}
		s.mu.Unlock()
	}
}

// mostLag returns how many events an application lagged behind at most.
func (s *shop) mostLag(name string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.furthest[name]
}

// lag returns how many events the slowest application lags behind.
func (s *shop) lag() (most uint64, who string) {
	for _, a := range s.app.Status() {
		if a.Lag > most {
			most, who = a.Lag, a.Name
		}
	}
	return most, who
}

// heads returns a checkpoint at the end of the log.
func (s *shop) heads(ctx context.Context) (leat.Checkpoint, error) {
	return leat.Start(ctx, s.log, leat.Now)
}

// settle waits until every application has handled everything, also what they
// recorded meanwhile: until all are at the end of a log that grows no more.
func (s *shop) settle(ctx context.Context) (leat.Checkpoint, error) {
	end, err := s.heads(ctx)
	for err == nil {
		if err = s.app.WaitCaughtUp(ctx, end); err != nil {
			break
		}
		var now leat.Checkpoint
		if now, err = s.heads(ctx); err == nil && now.Equal(end) {
			return end, nil
		}
		end = now
	}
	return leat.Checkpoint{}, fmt.Errorf("wait until all is handled: %w", err)
}

// events returns how many events there are up to a checkpoint.
func events(c leat.Checkpoint) (n int64) {
	for _, seq := range c.Seqs {
		n += int64(seq)
	}
	return n
}

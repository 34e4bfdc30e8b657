package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/examples/shop/orders"
)

const (
	watchEvery   = 500 * time.Millisecond
	watchTimeout = 2 * time.Second
)

// applied is what the workers tell of their applications, also of workers that
// have died since.
type applied struct {
	mu   sync.Mutex
	apps map[string]*application
}

// An application is the sum of what its workers tell.
type application struct {
	name     string
	at       leat.Checkpoint
	parked   uint64
	lag      uint64
	furthest uint64 // that it lagged behind
	why      string // the last error

	lives map[life]done
}

// A life is one of a worker, from its start to its death.
type life struct {
	worker string
	pid    int
}

type done struct{ handled, failures uint64 }

func (a *application) sum() (total done) {
	for _, d := range a.lives {
		total.handled += d.handled
		total.failures += d.failures
	}
	return total
}

func newApplied() *applied { return &applied{apps: make(map[string]*application)} }

// told takes in what a worker says.
func (p *applied) told(w workerStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range w.Applications {
		a := p.apps[s.Name]
		if a == nil {
			a = &application{name: s.Name, lives: make(map[life]done)}
			p.apps[s.Name] = a
		}
		if events(s.At) >= events(a.at) {
			a.at, a.parked, a.lag = s.At, s.Parked, s.Lag
		}
		a.furthest = max(a.furthest, s.Lag)
		if s.LastError != "" {
			a.why = s.LastError
		}
		a.lives[life{w.Worker, w.PID}] = done{s.Handled, s.Failures}
	}
}

// lag returns how many events up to a checkpoint are not yet handled by all, at
// least one while there is nothing known.
func (p *applied) lag(end leat.Checkpoint) (n uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.apps) == 0 {
		return 1
	}
	for _, a := range p.apps {
		for shard, seq := range end.Seqs {
			n += seq - min(seq, a.at.Seqs[shard])
		}
	}
	return n
}

// slowest returns the application that lags behind most.
func (p *applied) slowest() (most uint64, who string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.apps {
		if a.lag > most {
			most, who = a.lag, a.name
		}
	}
	return most, who
}

// all returns all applications in the order of their names.
func (p *applied) all() []application {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []application
	for _, name := range slices.Sorted(maps.Keys(p.apps)) {
		a := *p.apps[name]
		a.lives = maps.Clone(a.lives)
		all = append(all, a)
	}
	return all
}

// ask asks all workers. Those that do not answer are away.
func (s *shop) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	var g sync.WaitGroup
	for _, w := range s.workers {
		g.Go(func() {
			var status workerStatus
			if err := w.once(ctx, "GET", "/-/status", "", nil, &status); err == nil {
				s.applied.told(status)
			}
		})
	}
	g.Wait()
}

// watch keeps what is known of processes and applications fresh, until ctx ends.
func (s *shop) watch(ctx context.Context) {
	for wait(ctx, watchEvery) == nil {
		s.processes.Status() // which measures memory
		s.ask(ctx)
	}
}

// heardOf waits until the orders service has heard of so many articles, which
// inventory tells through its outbox.
func (s *shop) heardOf(ctx context.Context, articles int) error {
	for {
		c, err := s.counts(ctx)
		if err != nil || c.SKUs >= int64(articles) {
			return err
		}
		if err := wait(ctx, firstPause); err != nil {
			return err
		}
	}
}

// counts asks the orders service how many orders there are.
func (s *shop) counts(ctx context.Context) (orders.Counts, error) {
	var c orders.Counts
	err := s.api.get(ctx, "/orders/-/counts", &c)
	if err != nil {
		err = fmt.Errorf("count orders: %w", err)
	}
	return c, err
}

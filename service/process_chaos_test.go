package service_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/server/lease"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

// Whatever fails, and whenever workers of a fleet are killed, leave, join or are
// held up while shards split: each event is decided on once, each command is
// carried out in effect once, each timer fires once or is cancelled, and no timer
// overtakes what was recorded before it was due.
func TestProcessUnderChaos(t *testing.T) {
	seed := rand.Uint64()
	for round := range uint64(3) {
		synctest.Test(t, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("seed %d", seed+round)
				}
			}()
			newProcessChaos(t, seed+round).live()
		})
	}
}

const chaosOrders = 40

// A processChaos is a log, a database, and workers that come and go.
type processChaos struct {
	*chaos
	keeper  leat.Leases
	paid    map[string]time.Time // when the log recorded the payment of an order
	due     map[string]time.Time // when its time to pay is over
	workers []*chaosWorker
}

func newProcessChaos(t *testing.T, seed uint64) *processChaos {
	return &processChaos{
		chaos: newChaos(t, seed), keeper: lease.New(nil),
		paid: make(map[string]time.Time), due: make(map[string]time.Time),
	}
}

// live lets workers come and go while orders are placed and paid, or not.
func (c *processChaos) live() {
	ctx := context.Background()
	nobody := 0 // turns in which there is no worker at all
	for i := range chaosOrders {
		for nobody--; nobody < 0 && len(c.workers) < 1+c.below(3); {
			c.join()
		}
		order := fmt.Sprint(i)
		placed := feed(c.t, c.log, "order-"+order, orderPlaced{order})
		c.due[order] = placed.At.Add(paymentTime)
		if paying := fmt.Sprint(i - c.below(20)); c.due[paying] != (time.Time{}) && c.paid[paying].IsZero() {
			c.paid[paying] = feed(c.t, c.log, "order-"+paying, orderPaid{paying}).At
		}
		if shards := allShards(c.t, c.log); len(shards) < 12 && c.below(8) == 0 {
			if s := shards[c.below(len(shards))]; !s.Closed {
				_, err := c.log.Split(ctx, s.ID, s.Middle())
				ok(c.t, err)
			}
		}
		time.Sleep(time.Duration(c.below(120)) * time.Second)
		for len(c.workers) > 0 && (c.below(3) > 0 || nobody > 0) {
			c.workers[c.below(len(c.workers))].end(c.below(2) == 0)
		}
		if c.below(8) == 0 {
			nobody = 8
		}
	}
	for _, w := range c.workers {
		w.end(true)
	}
	c.mu.Lock()
	c.calm = true
	c.mu.Unlock()
	c.join()
	time.Sleep(paymentTime + time.Hour)
	c.workers[0].end(false)
	for i := range chaosOrders {
		c.audit(fmt.Sprint(i))
	}
}

// audit checks the streams of one order.
func (c *processChaos) audit(order string) {
	got := types(c.t, c.log, "bill-"+order)
	effects := types(c.t, c.log, "stock-"+order)
	count := func(typ string) int { return strings.Count(got+" ", typ+" ") }
	wantCount := map[string]int{"BillBegun": 1, "ChargeOrder": 1, "TimerSet": 1, "CommandDone": 1, "TimerFired": 1, "BillLapsed": 1}
	received := 1
	paid, ever := c.paid[order]
	if ever {
		wantCount["BillSettled"], wantCount["ShipOrder"], wantCount["CommandDone"] = 1, 1, 2
		received = 2
		// A payment that came late may still have been handled before the timer.
		if !paid.After(c.due[order]) || count("TimerCancelled") > 0 {
			wantCount["TimerFired"], wantCount["BillLapsed"], wantCount["TimerCancelled"] = 0, 0, 1
		}
	}
	for _, typ := range []string{"BillBegun", "ChargeOrder", "TimerSet", "CommandDone", "TimerFired", "BillLapsed", "BillSettled", "ShipOrder", "TimerCancelled"} {
		if n := count(typ); n != wantCount[typ] {
			c.t.Errorf("order %s, paid %v (%s), due %s: %d × %s, want %d, in %s",
				order, ever, paid.Format(time.TimeOnly), c.due[order].Format(time.TimeOnly), n, typ, wantCount[typ], got)
		}
	}
	if n := strings.Count(effects, "Received"); n != received {
		c.t.Errorf("order %s: the commands have %d effects, want %d", order, n, received)
	}
}

// A chaosWorker is one process of the fleet. Once it is killed nothing that it
// does reaches the log or the database.
type chaosWorker struct {
	c      *processChaos
	killed atomic.Bool
	cancel context.CancelFunc
	ended  chan error
}

func (c *processChaos) join() {
	w := &chaosWorker{c: c, ended: make(chan error, 1)}
	log := &chaosWorkerLog{c.log, w}
	stocks := newStocks()
	p := newBilling(&chaosWorkerStore{c.model, w}, func(ctx context.Context, command string, r leat.Recorded) error {
		if err := w.fails(10); err != nil {
			return err
		}
		time.Sleep(time.Duration(c.below(3000)) * time.Millisecond)
		_, order, _ := strings.Cut(command, " ")
		if _, err := stocks.Do(ctx, log, order, receive(1), service.CausedBy(r, "receive")); err != nil {
			return err
		}
		return w.fails(10) // after it was done
	})
	app, err := service.NewApp(service.Config{
		Log: log, Leases: c.keeper, LeaseTTL: fleetTTL, Drain: time.Second, Logger: slog.New(slog.DiscardHandler),
		Retry: service.Retry{Attempts: 1000, Most: time.Second},
	}, p)
	ok(c.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	go func() { w.ended <- app.Run(ctx) }()
	c.workers = append(c.workers, w)
}

// end ends a worker in good order, or kills it.
func (w *chaosWorker) end(kill bool) {
	if kill {
		w.killed.Store(true)
	}
	w.cancel()
	if err := <-w.ended; err != nil && !kill && !errors.Is(err, errAway) {
		w.c.t.Errorf("Run: %v", err)
	}
	for i, other := range w.c.workers {
		if other == w {
			w.c.workers = append(w.c.workers[:i:i], w.c.workers[i+1:]...)
		}
	}
}

// fails returns an error in one of n cases, and always when the worker is dead.
func (w *chaosWorker) fails(n int) error {
	if w.killed.Load() {
		return errAway
	}
	return w.c.strike(n)
}

// A chaosWorkerLog is the log as a worker reaches it.
type chaosWorkerLog struct {
	*leattest.Log
	w *chaosWorker
}

func (l *chaosWorkerLog) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	if err := l.w.fails(10); err != nil {
		return leat.Receipt{}, err
	}
	r, err := l.Log.Append(ctx, events, conds...)
	if err == nil && l.w.fails(10) != nil {
		return leat.Receipt{}, fmt.Errorf("answer is lost: %w", leat.ErrUncertain)
	}
	return r, err
}

func (l *chaosWorkerLog) ReadStream(ctx context.Context, stream string, r leat.Range) iter.Seq2[leat.Recorded, error] {
	if err := l.w.fails(10); err != nil {
		return func(yield func(leat.Recorded, error) bool) { yield(leat.Recorded{}, err) }
	}
	return l.Log.ReadStream(ctx, stream, r)
}

func (l *chaosWorkerLog) ReadShard(ctx context.Context, s leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	if err := l.w.fails(10); err != nil {
		return leat.Batch{}, err
	}
	return l.Log.ReadShard(ctx, s, after, o)
}

// A chaosWorkerStore is the database as a worker reaches it.
type chaosWorkerStore struct {
	*servicetest.Memory
	w *chaosWorker
}

// around calls f unless that fails, and may forget that it succeeded.
func (s *chaosWorkerStore) around(f func() error) error {
	if err := s.w.fails(10); err != nil {
		return err
	}
	return errors.Join(f(), s.w.fails(10))
}

func (s *chaosWorkerStore) Save(ctx context.Context, step service.Step) error {
	return s.around(func() error { return s.Memory.Save(ctx, step) })
}

func (s *chaosWorkerStore) SetTimer(ctx context.Context, app string, t service.Timer) error {
	return s.around(func() error { return s.Memory.SetTimer(ctx, app, t) })
}

func (s *chaosWorkerStore) DropTimer(ctx context.Context, app string, t service.Timer) error {
	return s.around(func() error { return s.Memory.DropTimer(ctx, app, t) })
}

func (s *chaosWorkerStore) DueTimers(ctx context.Context, app string, from, to leat.HashKey, by time.Time, most int) ([]service.Timer, error) {
	if err := s.w.fails(10); err != nil {
		return nil, err
	}
	return s.Memory.DueTimers(ctx, app, from, to, by, most)
}

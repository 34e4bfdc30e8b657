package service_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/server/lease"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

// newspaper is a log that takes reports.
type newspaper struct {
	leat.Log
	mu     sync.Mutex
	status map[string]leat.AppStatus // what was told last, by name
	paused map[string]bool
	fails  error
}

func newNewspaper(log leat.Log) *newspaper {
	return &newspaper{Log: log, status: make(map[string]leat.AppStatus), paused: make(map[string]bool)}
}

func (n *newspaper) Report(_ context.Context, status []leat.AppStatus, ttl time.Duration) (paused []string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fails != nil {
		return nil, n.fails
	}
	if err := leat.CheckReport(status, ttl); err != nil {
		return nil, err
	}
	for _, s := range status {
		n.status[s.Name] = s
		if n.paused[s.Name] {
			paused = append(paused, s.Name)
		}
	}
	return paused, nil
}

func (n *newspaper) Apps(context.Context) ([]leat.App, error) { return nil, leat.ErrUnsupported }

func (n *newspaper) Pause(_ context.Context, app string) error  { return n.set(app, true) }
func (n *newspaper) Resume(_ context.Context, app string) error { return n.set(app, false) }

func (n *newspaper) set(app string, paused bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.paused[app] = paused
	return nil
}

func (n *newspaper) fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fails = err
}

// of returns what was told of an application last.
func (n *newspaper) of(app string) leat.AppStatus {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.status[app]
}

// The ledger of a projection and of a reactor: all that a shard holds is
// accounted for.
func TestLedgerAccountsForEveryEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newNewspaper(newLog(t, leat.Config{Shards: leat.EvenShards(4)}))
		only := leat.Filter{Categories: []string{"a"}}
		p, w := history("h", servicetest.NewMemory()), newWitness(t)
		p.Filter = only
		apply := p.Apply
		p.Apply = func(ctx context.Context, tx *tx, r leat.Recorded) error {
			switch r.Stream {
			case "a-2":
				return service.ErrSkipped
			case "a-3":
				return service.Permanent(errBroken)
			}
			return apply(ctx, tx, r)
		}
		w.handle = func(_ context.Context, r leat.Recorded) error { return p.Apply(context.Background(), nil, r) }
		apply = func(context.Context, *tx, leat.Recorded) error { return nil }
		reactor := w.reactor(2)
		reactor.Filter = only
		fill(t, log, repeated(25, "a-1", "b-1", "a-2", "b-2", "a-3", "b-3", "b-4")...)
		app := start(t, log, p, reactor)
		app.caughtUp()
		time.Sleep(20 * time.Second) // until parked events are counted and told
		const counts = "seen 75 filtered 100 handled 25 skipped 25 parked 25"
		for _, s := range app.app.Status() {
			want(t, s.Name, fmt.Sprintf("seen %d filtered %d handled %d skipped %d parked %d", s.Seen, s.Filtered, s.Handled, s.Skipped, s.Parked), counts)
			want(t, s.Name+": waiting", s.Waiting, uint64(25))
			want(t, s.Name+": last error", s.LastError, errBroken.Error())
			var sum leat.Tally
			for _, shard := range s.Shards {
				sum = sum.Plus(shard.Tally)
				want(t, "of a shard", shard.Seen+shard.Filtered, shard.Head)
				want(t, "held", shard.Held, true)
			}
			want(t, s.Name+": sum of shards", sum, s.Tally)
			told := log.of(s.Name)
			want(t, s.Name+": as told", told.Tally, s.Tally)
			want(t, s.Name+": waiting as told", told.Waiting, uint64(25))
		}
		app.stop()
		want(t, "ended", log.of("h").Ended, true)
		want(t, "held after the end", log.of("h").Shards[0].Held, false)
	})
}

// How far behind an application is, is the age of the oldest event that it is not
// done with, whoever has it in hand.
func TestLagInSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newNewspaper(newLog(t, leat.Config{}))
		hold := make(chan struct{})
		p, w := history("h", servicetest.NewMemory()), newWitness(t)
		p.Apply = func(context.Context, *tx, leat.Recorded) error { <-hold; return nil }
		w.handle = func(context.Context, leat.Recorded) error { <-hold; return nil }
		app := start(t, log, p, w.reactor(1))
		time.Sleep(time.Hour)
		behind := func() (all []time.Duration) {
			for _, s := range app.app.Status() {
				all = append(all, s.Behind(time.Now()))
			}
			return all
		}
		want(t, "with nothing to do", fmt.Sprint(behind()), "[0s 0s]")
		fill(t, log, "a-1")
		time.Sleep(30 * time.Second)
		fill(t, log, "a-1", "a-2")
		time.Sleep(30 * time.Second)
		want(t, "with an old event in hand", fmt.Sprint(behind()), "[1m0s 1m0s]")
		want(t, "lag", app.status().Lag, uint64(3))
		close(hold)
		app.caughtUp()
		want(t, "when caught up", fmt.Sprint(behind()), "[0s 0s]")

		ok(t, app.app.Pause(t.Context(), "h"))
		ok(t, app.app.Pause(t.Context(), "w"))
		fill(t, log, "a-1")
		time.Sleep(30 * time.Second)
		fill(t, log, "a-1")
		time.Sleep(30 * time.Second)
		want(t, "with nobody to handle it", fmt.Sprint(behind()), "[1m0s 1m0s]")
		want(t, "as told", log.of("h").Lag, uint64(2))
		app.stop()
	})
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		p := history("h", servicetest.NewMemory())
		p.Filter.Categories = []string{"a"}
		app := start(t, log, p)
		for range 20 {
			fill(t, log, repeated(25, "a-1", "b-1")...)
			time.Sleep(time.Second)
		}
		if r := app.status().Rate; r < 40 || r > 60 {
			t.Errorf("rate %.1f, want about 50", r)
		}
		time.Sleep(20 * time.Second)
		want(t, "rate when idle", app.status().Rate, 0.0)
		app.stop()
	})
}

// What is paused at the reporter stands still in every process, also in one that
// starts later, and goes on when it is resumed.
func TestPauseHoldsForTheFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newNewspaper(newLog(t, leat.Config{Shards: leat.EvenShards(4)}))
		keeper, model := lease.New(nil), servicetest.NewMemory()
		worker := func(name string) *running {
			return startWith(t, service.Config{Log: log, Leases: keeper, Instance: name}, history("h", model))
		}
		a := worker("a")
		fill(t, log, "s-1", "s-2", "s-3")
		a.caughtUp()
		ok(t, log.Pause(t.Context(), "h"))
		time.Sleep(5 * time.Second)
		b := worker("b")
		before := model.Data()
		fill(t, log, "s-1", "s-2", "s-3")
		time.Sleep(time.Minute)
		want(t, "what was handled", fmt.Sprint(model.Data()), fmt.Sprint(before))
		want(t, "paused", fmt.Sprint(a.status().Paused, b.status().Paused, log.of("h").Paused), "true true true")
		fleet, err := keeper.Fleet(t.Context(), "h")
		ok(t, err)
		want(t, "fleet", fmt.Sprint(len(fleet.Members), len(fleet.Leases)), "0 0")
		ok(t, log.Resume(t.Context(), "h"))
		time.Sleep(time.Minute)
		want(t, "s-1", model.Data()["s-1"], versions(2))
		want(t, "paused", fmt.Sprint(a.status().Paused, b.status().Paused), "false false")
		a.stop()
		b.stop()
	})
}

// A process that pauses hands its shards to the others.
func TestPauseOfAProcessReleasesItsShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{Shards: leat.EvenShards(4)})
		keeper, model := lease.New(nil), servicetest.NewMemory()
		worker := func(name string) *running {
			return startWith(t, service.Config{Log: log, Leases: keeper, Instance: name}, history("h", model))
		}
		a, b := worker("a"), worker("b")
		time.Sleep(time.Minute)
		holds := func(r *running) (n int) {
			for _, s := range r.status().Shards {
				if s.Held {
					n++
				}
			}
			return n
		}
		want(t, "shares", fmt.Sprint(holds(a), holds(b)), "2 2")
		ok(t, a.app.Pause(t.Context(), "h"))
		want(t, "at once", holds(a), 0)
		time.Sleep(time.Minute)
		want(t, "shares", fmt.Sprint(holds(a), holds(b)), "0 4")
		fill(t, log, "s-1", "s-2", "s-3")
		b.caughtUp()
		ok(t, a.app.Pause(t.Context(), "h"))
		ok(t, a.app.Resume("h"))
		time.Sleep(time.Minute)
		want(t, "shares", fmt.Sprint(holds(a), holds(b)), "2 2")
		a.stop()
		b.stop()
	})
}

func TestPauseWaitsForHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		w := newWitness(t)
		hold := make(chan struct{})
		w.handle = func(context.Context, leat.Recorded) error { <-hold; return nil }
		fill(t, log, "a-1")
		app := start(t, log, w.reactor(1))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := app.app.Pause(ctx, "w"); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `"w"`) {
			t.Errorf("Pause: %v, want the deadline and who is at work", err)
		}
		close(hold)
		ok(t, app.app.Pause(t.Context(), "w"))
		fill(t, log, "a-1")
		time.Sleep(time.Minute)
		want(t, "a-1", w.of("a-1"), versions(1))
		if err := app.app.Pause(t.Context(), "x"); !errors.Is(err, leat.ErrNotFound) || !strings.Contains(err.Error(), `the app runs "w"`) {
			t.Errorf("Pause of another application: %v", err)
		}
		ok(t, app.app.Resume("w"))
		app.caughtUp()
		want(t, "a-1", w.of("a-1"), versions(2))
		ok(t, app.app.Pause(t.Context(), "w"))
		app.stop()
	})
}

// A reporter that is away, or takes no reports, is no reason not to work; but
// what may be paused waits until that is known.
func TestReporterThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newNewspaper(newLog(t, leat.Config{}))
		log.fail(errAway)
		ok(t, log.Pause(t.Context(), "paused"))
		model := servicetest.NewMemory()
		fill(t, log, "a-1")
		app := start(t, log, history("h", model), history("paused", servicetest.NewMemory()))
		time.Sleep(30 * time.Second)
		want(t, "before it is known what is paused", model.Data()["a-1"], "")
		log.fail(nil)
		time.Sleep(time.Minute)
		want(t, "handled", model.Data()["a-1"], versions(1))
		want(t, "of the paused", app.app.Status()[1].Handled, uint64(0))
		log.fail(errAway)
		fill(t, log, "a-1")
		time.Sleep(time.Minute)
		want(t, "while the reporter is away", model.Data()["a-1"], versions(2))
		app.stop()

		log.fail(errAway)
		fill(t, log, "a-1")
		alone := start(t, log, history("h", model))
		time.Sleep(2 * time.Minute)
		want(t, "with a reporter that never answers", model.Data()["a-1"], versions(3))
		alone.stop()

		for i, err := range []error{leat.ErrUnsupported, leat.ErrFull} {
			log.fail(err)
			fill(t, log, "a-1")
			again := start(t, log, history("h", model))
			time.Sleep(time.Second)
			want(t, "with a reporter that takes none: "+err.Error(), model.Data()["a-1"], versions(4+i))
			again.stop()
		}
	})
}

// Errors may be of any length and hold anything.
func TestHostileErrorsAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newNewspaper(newLog(t, leat.Config{}))
		p := history("h", servicetest.NewMemory())
		p.Apply = func(context.Context, *tx, leat.Recorded) error {
			return service.Permanent(errors.New(strings.Repeat("é\xff", 10_000)))
		}
		fill(t, log, "a-1")
		app := start(t, log, p)
		time.Sleep(time.Minute)
		if got := log.of("h").LastError; len(got) < 1000 || len(got) > leat.MaxReportError || got != strings.ToValidUTF8(got, "") {
			t.Errorf("told %d bytes: %.20q", len(got), got)
		}
		app.stop()
	})
}

// startWith starts an App with a configuration of its own.
func startWith(t testing.TB, c service.Config, runners ...service.Runner) *running {
	t.Helper()
	c.Logger = slog.New(slog.DiscardHandler)
	app, err := service.NewApp(c, runners...)
	ok(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r := &running{t: t, log: c.Log, app: app, cancel: cancel}
	r.wg.Go(func() { r.err = app.Run(ctx) })
	return r
}

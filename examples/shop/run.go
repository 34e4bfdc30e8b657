package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/examples/shop/accountant"
	"github.com/leathq/leat/examples/shop/check"
	"github.com/leathq/leat/examples/shop/gateway"
	"github.com/leathq/leat/examples/shop/inventory"
	"github.com/leathq/leat/examples/shop/retail"
)

// run trades the orders that o asks for and reports to out; progress goes to
// told. It returns whether all checks agree.
func run(ctx context.Context, o options, out, told io.Writer) (ok bool, err error) {
	in, err := newInput(o)
	if err != nil {
		return false, err
	}
	p := newProgress(told)
	var plan *retail.Plan
	err = p.phase("reading the orders", nil, func() (err error) {
		plan, err = in.plan()
		return err
	})
	if err != nil {
		return false, err
	}
	dir, temporary, err := dataDir(o.data)
	if err != nil {
		return false, err
	}
	if temporary {
		defer func() {
			if ok || ctx.Err() != nil {
				err = errors.Join(err, os.RemoveAll(dir))
			} else {
				fmt.Fprintf(told, "what was recorded is kept in %s\n", dir)
			}
		}()
	}
	if err := in.keep(dir); err != nil {
		return false, err
	}
	t := &trade{in: in, plan: plan, dir: dir, temporary: temporary, progress: p, began: time.Now(), options: o}
	if err := t.open(ctx, func(ctx context.Context) error {
		if err := t.trade(ctx); err != nil {
			return err
		}
		r, err := t.judge(ctx)
		if err != nil {
			return err
		}
		ok = r.ok()
		r.print(out)
		if o.once {
			return nil
		}
		return t.stay(ctx)
	}); err != nil {
		return false, err
	}
	return ok, nil
}

// dataDir returns the directory to keep everything in, made if need be.
func dataDir(dir string) (path string, temporary bool, err error) {
	if dir == "" {
		dir, err = os.MkdirTemp("", "leat-shop-")
		return dir, true, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", false, fmt.Errorf("make the data directory: %w", err)
	}
	return dir, false, nil
}

// A trade is one run of the shop over a plan.
type trade struct {
	options   options
	in        input
	plan      *retail.Plan
	dir       string
	temporary bool
	progress  *progress
	began     time.Time

	shop  *shop
	chaos *chaos          // nil unless it was asked for
	was   int64           // events in the log when it was opened
	end   leat.Checkpoint // of the log, once all is handled

	driving, handling time.Duration // how long it took to give all commands, and to handle all
}

// open opens the shop for work and closes it after.
func (t *trade) open(ctx context.Context, work func(context.Context) error) error {
	err := t.progress.phase("starting the processes", nil, func() (err error) {
		t.shop, err = openShop(ctx, t.dir, t.options.billing)
		return err
	})
	if err != nil {
		return err
	}
	s := t.shop
	was, err := s.heads(ctx)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	t.was = events(was)
	if t.options.chaos {
		t.chaos = newChaos(s, t.options.chaosSeed)
		fmt.Fprintf(t.progress.out, "  chaos: --chaos-seed %d\n", t.options.chaosSeed)
	}
	return errors.Join(s.run(ctx, work), s.Close())
}

// struck does work, under chaos if that was asked for.
func (t *trade) struck(ctx context.Context, work func() error) error {
	if t.chaos == nil {
		return work()
	}
	return t.chaos.during(ctx, work)
}

// trade drives everything in and waits until it is handled and archived.
func (t *trade) trade(ctx context.Context) error {
	began := time.Now()
	err := t.struck(ctx, func() error {
		if err := t.register(ctx); err != nil {
			return err
		}
		if err := t.drive(ctx); err != nil {
			return err
		}
		t.driving = time.Since(began)
		return t.progress.phase("catching up",
			func() sample { return t.settled(ctx) },
			func() (err error) {
				t.end, err = t.shop.settle(ctx)
				return err
			})
	})
	if err != nil {
		return err
	}
	t.handling = time.Since(began)
	return t.progress.phase("archiving the rest", nil, func() error { return t.shop.flush(ctx, t.end) })
}

func (t *trade) drive(ctx context.Context) error {
	d := &driver{api: t.shop.api}
	steps := int64(len(t.plan.Steps))
	return t.progress.phase("driving the invoices",
		func() sample { return sample{done: d.done.Load(), total: steps, unit: "invoices", note: t.note()} },
		func() error { return d.drive(ctx, t.plan.Steps) })
}

// register enters the articles that inventory does not know yet, and waits until
// the orders service has heard of all.
func (t *trade) register(ctx context.Context) error {
	var report inventory.Report
	if err := t.shop.api.get(ctx, "/inventory/-/report", &report); err != nil {
		return err
	}
	known := make(map[string]bool)
	for _, v := range report.Articles {
		known[v.SKU] = true
	}
	unknown := slices.DeleteFunc(slices.Clone(t.plan.Catalogue), func(a retail.Article) bool { return known[a.SKU] })
	d := &driver{api: t.shop.api}
	return t.progress.phase("registering the catalogue",
		func() sample { return sample{done: d.done.Load(), total: int64(len(unknown)), unit: "articles"} },
		func() error {
			if err := d.register(ctx, unknown); err != nil {
				return err
			}
			return t.shop.heardOf(ctx, len(t.plan.Catalogue))
		})
}

// note says how the applications fare.
func (t *trade) note() string {
	note := "all is handled"
	if lag, who := t.shop.applied.slowest(); lag > 0 {
		note = fmt.Sprintf("%s is %s events behind", who, thousands(int64(lag)))
	}
	if t.chaos != nil {
		note += t.chaos.note()
	}
	return note
}

// settled says how many orders have come to a rest.
func (t *trade) settled(ctx context.Context) sample {
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	c, err := t.shop.counts(ctx)
	if err != nil {
		return sample{note: t.note()}
	}
	return sample{done: c.Settled, total: c.Placed, unit: "orders", note: t.note()}
}

// judge reads the log and the file again and asks the services.
func (t *trade) judge(ctx context.Context) (*report, error) {
	a := newAudit("SKURegistered", "OrderPlaced", "InvoiceIssued", "PaymentCaptured")
	err := t.progress.phase("auditing the log",
		func() sample { return sample{done: a.read.Load(), total: events(t.end), unit: "events"} },
		func() error { return a.readLog(ctx, t.shop.log, t.end) })
	if err != nil {
		return nil, err
	}
	r := &report{trade: t, audit: a}
	err = t.progress.phase("reconciling", nil, func() error {
		expected, err := t.in.expected()
		if err != nil {
			return err
		}
		actual, err := t.shop.actual(ctx, a)
		if err != nil {
			return err
		}
		if err := t.shop.archiver.get(ctx, "/archive/-/status", &r.archive); err != nil {
			return err
		}
		var books accountant.Report
		if err := t.shop.accountant.get(ctx, "/accountant/-/report", &books); err != nil {
			return err
		}
		t.shop.ask(ctx)
		r.apps, r.processes = t.shop.applied.all(), t.shop.processes.Status()
		r.checks = append(check.Compare(expected, actual), a.results()...)
		r.checks = append(r.checks, booked(books, a, actual.Billing.Gross))
		r.memory = peakMemory()
		r.checks = append(r.checks, t.archived(r.archive.Archived), r.nothingParked())
		return nil
	})
	return r, err
}

// archived checks that the archive holds all of the log.
func (t *trade) archived(to leat.Checkpoint) check.Result {
	return check.Result{
		Name: "archive: archived = head", OK: to.Equal(t.end),
		Expected: fmt.Sprintf("%s events", thousands(events(t.end))),
		Actual:   fmt.Sprintf("%s events", thousands(events(to))),
	}
}

const stays = "The shop stays open; Ctrl-C closes it."

// invite tells where the shop is.
func (t *trade) invite(out io.Writer) {
	s, order := t.shop, t.anOrder()
	fmt.Fprintf(out, `
  gateway   http://%[1]s with the header %[2]s: %[3]s
  log       %[4]s, and http://%[5]s for people
  logs      %[6]s

    curl -H '%[2]s: %[3]s' http://%[1]s/orders/%[7]s
    curl -H '%[2]s: %[3]s' http://%[1]s/billing/invoices/%[7]s

`, s.at.gateway, gateway.KeyHeader, s.key, s.at.logURL(), s.at.http, filepath.Join(s.dir, "logs"), order)
}

// anOrder returns the number of an order that there is.
func (t *trade) anOrder() string {
	for _, step := range t.plan.Steps {
		if o, ok := step.(*retail.Order); ok {
			return o.Invoice
		}
	}
	return "NUMBER"
}

// stay keeps the shop open until ctx ends.
func (t *trade) stay(ctx context.Context) error {
	t.invite(t.progress.out)
	fmt.Fprintln(t.progress.out, stays)
	return t.progress.phase("open", func() sample { return sample{note: t.note()} }, func() error {
		<-ctx.Done()
		return nil
	})
}

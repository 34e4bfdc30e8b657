package main

import (
	"context"
	"fmt"
	"hash/maphash"
	"net/url"
	"sync/atomic"

	"github.com/leathq/leat/examples/shop/billing"
	"github.com/leathq/leat/examples/shop/inventory"
	"github.com/leathq/leat/examples/shop/orders"
	"github.com/leathq/leat/examples/shop/retail"
	"golang.org/x/sync/errgroup"
)

const (
	driverWorkers = 32
	driverQueue   = 64 // steps that wait for each worker
)

// A driver gives the shop the commands of an order file, through its gateway.
// All of them may be given again: what was carried out before is not carried out
// twice.
type driver struct {
	api  *api
	done atomic.Int64
}

// register enters the articles of the file into inventory's catalogue.
func (d *driver) register(ctx context.Context, articles []retail.Article) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(driverWorkers)
	for _, a := range articles {
		g.Go(func() error {
			r := inventory.Registered{SKU: a.SKU, Kind: inventory.KindGoods}
			if a.Charge {
				r.Kind = inventory.KindCharge
			}
			if len(a.Descriptions) > 0 {
				r.Description = a.Descriptions[0]
			}
			if err := d.api.command(ctx, "/inventory/articles", a.SKU, r); err != nil {
				return err
			}
			d.done.Add(1)
			return nil
		})
	}
	return g.Wait()
}

// drive carries out steps: those of one key one after the other, since a
// cancellation needs the orders before it, others at once.
func (d *driver) drive(ctx context.Context, steps []retail.Step) error {
	g, ctx := errgroup.WithContext(ctx)
	queues := make([]chan retail.Step, driverWorkers)
	for i := range queues {
		queues[i] = make(chan retail.Step, driverQueue)
		g.Go(func() error { return d.work(ctx, queues[i]) })
	}
	g.Go(func() error {
		defer func() {
			for _, q := range queues {
				close(q)
			}
		}()
		seed := maphash.MakeSeed()
		for _, step := range steps {
			select {
			case queues[maphash.String(seed, step.Key())%driverWorkers] <- step:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	return g.Wait()
}

func (d *driver) work(ctx context.Context, steps <-chan retail.Step) error {
	for step := range steps {
		if err := d.step(ctx, step); err != nil {
			h := step.Head()
			return fmt.Errorf("invoice %s (row %d of the orders): %w", h.Invoice, h.Row, err)
		}
		d.done.Add(1)
	}
	return nil
}

func (d *driver) step(ctx context.Context, step retail.Step) error {
	switch step := step.(type) {
	case *retail.Order:
		return d.order(ctx, step)
	case *retail.Adjustment:
		return d.adjustment(ctx, step)
	case *retail.BillingAdjustment:
		return d.billingAdjustment(ctx, step)
	case *retail.Cancellation:
		return d.cancellation(ctx, step)
	}
	return fmt.Errorf("a step of type %T", step)
}

func (d *driver) order(ctx context.Context, o *retail.Order) error {
	p := orders.PlaceRequest{Order: o.Invoice, Customer: o.Customer, Country: o.Country, Time: o.Time, Lines: make([]orders.LineRequest, len(o.Lines))}
	for i, l := range o.Lines {
		p.Lines[i] = orders.LineRequest{SKU: l.SKU, Units: l.Quantity, Price: l.Price}
	}
	return d.api.command(ctx, "/orders", o.Invoice, p)
}

func (d *driver) adjustment(ctx context.Context, a *retail.Adjustment) error {
	for _, c := range a.Changes {
		err := d.api.command(ctx, "/inventory/adjustments", fmt.Sprintf("%s/%d", a.Invoice, c.Ordinal), inventory.AdjustRequest{
			SKU: c.SKU, Note: a.Invoice, Row: c.Ordinal, Units: c.Quantity, Reason: c.Reason, Time: a.Time,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *driver) billingAdjustment(ctx context.Context, a *retail.BillingAdjustment) error {
	b := billing.AdjustmentRequest{Number: a.Invoice, Country: a.Country, Time: a.Time}
	for _, l := range a.Lines {
		b.Corrections = append(b.Corrections, billing.Correction{SKU: l.SKU, Reason: l.Description, Units: l.Quantity, Price: l.Price})
	}
	return d.api.command(ctx, "/billing/adjustments", a.Invoice, b)
}

// cancellation returns units of every order it concerns, and grants the rest as
// goodwill.
func (d *driver) cancellation(ctx context.Context, c *retail.Cancellation) error {
	grant := billing.GoodwillRequest{Note: c.Invoice, Customer: c.Customer, Country: c.Country, Time: c.Time}
	var concerned []string // orders, as the pieces name them first
	pieces := make(map[string][]orders.Piece)
	for _, p := range c.Pieces {
		if p.Goodwill() {
			grant.Credits = append(grant.Credits, billing.Credit{Row: p.Ordinal, Part: p.Number, SKU: p.SKU, Units: p.Units, Price: p.Price})
			continue
		}
		if pieces[p.Order] == nil {
			concerned = append(concerned, p.Order)
		}
		pieces[p.Order] = append(pieces[p.Order],
			orders.Piece{Line: p.Line, SKU: p.SKU, Units: p.Units, Price: p.Price, Row: p.Ordinal, Part: p.Number})
	}
	for _, number := range concerned {
		back := orders.ReturnRequest{Note: c.Invoice, Country: c.Country, Time: c.Time, Pieces: pieces[number]}
		if err := d.api.command(ctx, "/orders/"+url.PathEscape(number)+"/returns", c.Invoice, back); err != nil {
			return err
		}
	}
	if len(grant.Credits) == 0 {
		return nil
	}
	return d.api.command(ctx, "/billing/goodwill", c.Invoice, grant)
}

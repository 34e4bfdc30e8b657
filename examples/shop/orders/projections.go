package orders

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/examples/shop/database"
	"github.com/leathq/leat/examples/shop/trace"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/sqlite"
	"golang.org/x/sync/errgroup"
)

// confirming is how many orders are confirmed at once, and batchOfDue how many
// are marked as done together.
const (
	confirming = 64
	batchOfDue = 512
)

// What the service needs of the events of inventory and billing.
type (
	foreign interface{ foreignEvent() }

	skuRegistered struct {
		SKU  string `json:"sku"`
		Kind string `json:"kind"`
	}
	stockReserved struct {
		Order string `json:"order"`
	}
	invoiceIssued struct {
		Invoice string `json:"invoice"` // the order's number
	}
)

func (skuRegistered) foreignEvent() {}
func (stockReserved) foreignEvent() {}
func (invoiceIssued) foreignEvent() {}
func (Placed) foreignEvent()        {}

var (
	catalogueTypes  = service.NewTypes[foreign](service.TypeOf[skuRegistered]("SKURegistered"))
	fulfilmentTypes = service.NewTypes[foreign](
		service.TypeOf[Placed]("OrderPlaced"),
		service.TypeOf[stockReserved]("StockReserved"),
		service.TypeOf[invoiceIssued]("InvoiceIssued"),
	)
)

// Runners returns the service's applications.
func (s *Service) Runners() []service.Runner {
	return []service.Runner{
		service.Projection[*sql.Tx]{
			Name: "orders/catalogue", Into: s.model,
			Filter: leat.Filter{Types: catalogueTypes.Names()},
			Apply:  service.Apply(catalogueTypes, applyCatalogue),
		},
		service.Projection[*sql.Tx]{
			Name: "orders/orders", Into: s.model,
			Filter: leat.Filter{Types: Types.Names()},
			Apply:  service.Apply(Types, applyOrder),
		},
		service.Projection[*sql.Tx]{
			Name: "orders/fulfilment", Into: s.model,
			Filter: leat.Filter{Types: fulfilmentTypes.Names()},
			Apply:  service.Apply(fulfilmentTypes, applyFulfilment),
			Then:   s.confirmDue,
		},
	}
}

func applyCatalogue(ctx context.Context, tx *sql.Tx, e foreign, _ leat.Recorded) error {
	sku := e.(skuRegistered)
	_, err := sqlite.Exec(ctx, tx, `insert into catalogue (sku, charge) values (?, ?)`, sku.SKU, sku.Kind == "charge")
	return err
}

func applyOrder(ctx context.Context, tx *sql.Tx, e Event, r leat.Recorded) error {
	if err := trace.Record(ctx, tx, r); err != nil {
		return err
	}
	switch e := e.(type) {
	case Placed:
		return applyPlaced(ctx, tx, e, r.Time)
	case Confirmed:
		_, err := sqlite.Exec(ctx, tx, `update orders set status = 'confirmed' where number = ?`, e.Order)
		return err
	case Returned:
		return applyReturned(ctx, tx, e)
	case Cancelled:
		_, err := sqlite.Exec(ctx, tx, `update orders set status = 'cancelled' where number = ?`, e.Order)
		return err
	}
	return nil
}

func applyPlaced(ctx context.Context, tx *sql.Tx, p Placed, at time.Time) error {
	var units, gross int64
	for i, l := range p.Lines {
		units += l.Units
		gross += l.Units * l.Price
		_, err := sqlite.Exec(ctx, tx, `insert into lines (number, line, sku, units, price) values (?, ?, ?, ?, ?)`,
			p.Order, i+1, l.SKU, l.Units, l.Price)
		if err != nil {
			return err
		}
	}
	_, err := sqlite.Exec(ctx, tx,
		`insert into orders (number, customer, country, placed, status, lines, units, gross) values (?, ?, ?, ?, 'placed', ?, ?, ?)`,
		p.Order, p.Customer, p.Country, at.UnixMicro(), len(p.Lines), units, gross)
	return err
}

func applyReturned(ctx context.Context, tx *sql.Tx, r Returned) error {
	var units int64
	for _, p := range r.Pieces {
		units += p.Units
		_, err := sqlite.Exec(ctx, tx, `update lines set returned = returned + ? where number = ? and line = ?`, p.Units, r.Order, p.Line)
		if err != nil {
			return err
		}
	}
	_, err := sqlite.Exec(ctx, tx, `update orders set returned = returned + ? where number = ?`, units, r.Order)
	return err
}

// applyFulfilment notes what an order still waits for.
func applyFulfilment(ctx context.Context, tx *sql.Tx, e foreign, r leat.Recorded) error {
	var err error
	switch e := e.(type) {
	case Placed:
		_, err = sqlite.Exec(ctx, tx,
			`insert into fulfilment (number, last, wanted, placed, correlation) values (?, ?, ?, ?, ?)
			on conflict do update set last = excluded.last, wanted = excluded.wanted, placed = excluded.placed, correlation = excluded.correlation`,
			e.Order, r.ID, e.goods(), r.Time.UnixMicro(), trace.Correlation(r))
	case stockReserved:
		_, err = sqlite.Exec(ctx, tx,
			`insert into fulfilment (number, last, reserved) values (?, ?, 1)
			on conflict do update set last = excluded.last, reserved = reserved + 1`, e.Order, r.ID)
	case invoiceIssued:
		_, err = sqlite.Exec(ctx, tx,
			`insert into fulfilment (number, last, invoiced) values (?, ?, 1)
			on conflict do update set last = excluded.last, invoiced = 1`, e.Invoice, r.ID)
	}
	return err
}

// goods counts the different SKUs of an order that inventory has to reserve.
func (p Placed) goods() int {
	seen := make(map[string]bool, len(p.Lines))
	for _, l := range p.Lines {
		if !l.Charge {
			seen[l.SKU] = true
		}
	}
	return len(seen)
}

type due struct {
	number, correlation string
	last                string // ID of the event that it had waited for
	placed              int64
}

// confirmDue confirms the orders that wait for nothing any more. Killed between
// an order's confirmation and the note that it is done, it confirms it again,
// which changes nothing.
func (s *Service) confirmDue(ctx context.Context) error {
	for {
		batch, err := s.due(ctx)
		if err != nil || len(batch) == 0 {
			return err
		}
		g, confirmCtx := errgroup.WithContext(ctx)
		g.SetLimit(confirming)
		for _, d := range batch {
			g.Go(func() error {
				_, err := s.orders.Do(confirmCtx, s.log, d.number, confirm(d.number),
					service.CommandID(d.number+"/confirm"), service.At(time.UnixMicro(d.placed)),
					service.WithMeta(leat.MetaCausation, d.last, leat.MetaCorrelation, d.correlation))
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		if err := s.done(ctx, batch); err != nil {
			return fmt.Errorf("note confirmed orders: %w", err)
		}
	}
}

func (s *Service) due(ctx context.Context) (batch []due, err error) {
	err = database.Each(ctx, s.db,
		func(row database.Scanner) (d due, err error) {
			err = row.Scan(&d.number, &d.last, &d.placed, &d.correlation)
			return d, err
		},
		func(d due) error { batch = append(batch, d); return nil },
		`select number, last, placed, correlation from fulfilment where invoiced = 1 and reserved = wanted limit ?`, batchOfDue)
	if err != nil {
		return nil, fmt.Errorf("look for orders to confirm: %w", err)
	}
	return batch, nil
}

func (s *Service) done(ctx context.Context, batch []due) error {
	return s.model.Transact(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, d := range batch {
			if _, err := sqlite.Exec(ctx, tx, `delete from fulfilment where number = ?`, d.number); err != nil {
				return err
			}
		}
		return nil
	})
}

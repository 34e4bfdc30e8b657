package orders

import (
	"context"
	"database/sql"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/examples/shop/database"
	"github.com/leathq/leat/examples/shop/trace"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/sqlite"
)

var catalogueTypes = service.NewTypes[foreign](service.TypeOf[skuRegistered]("SKURegistered"))

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
		s.fulfilment(),
	}
}

func applyCatalogue(ctx context.Context, tx *sql.Tx, e foreign, _ leat.Recorded) error {
	sku := e.(skuRegistered)
	_, err := sqlite.Exec(ctx, tx, `insert into catalogue (sku, charge) values (?, ?)`, sku.SKU, sku.Kind == "charge")
	return err
}

func applyOrder(ctx context.Context, tx *sql.Tx, e Event, r leat.Recorded) error {
	if err := trace.Record(ctx, database.InSQLite(tx), r); err != nil {
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

package main

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/leathq/leat"
	"github.com/leathq/leat/examples/shop/retail"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/sqlite"
)

// Sold is one line of an order.
type Sold struct {
	SKU     string `json:"sku"`
	Units   int64  `json:"units"`
	Amount  int64  `json:"amount"` // tenths of a penny
	Country string `json:"country"`
}

var types = service.NewTypes[Sold](service.TypeOf[Sold]("Sold"))

// salesOf returns the orders of a plan as events: a stream for each article.
func salesOf(plan *retail.Plan) ([]leat.Event, error) {
	var events []leat.Event
	for _, s := range plan.Steps {
		o, ok := s.(*retail.Order)
		if !ok {
			continue
		}
		for _, l := range o.Lines {
			typ, data, err := types.Encode(Sold{SKU: l.SKU, Units: l.Quantity, Amount: l.Amount(), Country: o.Country})
			if err != nil {
				return nil, err
			}
			events = append(events, leat.Event{
				ID: fmt.Sprintf("%s/%d", o.Invoice, l.Ordinal), Stream: "article-" + l.SKU, Type: typ, Source: "rebuild", Time: o.Time, Data: data,
			})
		}
	}
	return events, nil
}

// Two versions of one read model stand side by side, each with a table and a
// checkpoint of its own: the second also tells the countries apart.
const tables = `
create table if not exists sales_v1 (sku text primary key, units integer not null, amount integer not null) without rowid;
create table if not exists sales_v2 (sku text, country text, units integer not null, amount integer not null, primary key (sku, country)) without rowid;`

func salesV1(into service.ReadModel[*sql.Tx]) service.Runner {
	return service.Projection[*sql.Tx]{
		Name: "sales/v1", Into: into, Filter: leat.Filter{Categories: []string{"article"}},
		Apply: service.Apply(types, func(ctx context.Context, tx *sql.Tx, s Sold, _ leat.Recorded) error {
			_, err := sqlite.Exec(ctx, tx, `insert into sales_v1 values (?, ?, ?)
				on conflict do update set units = units + excluded.units, amount = amount + excluded.amount`, s.SKU, s.Units, s.Amount)
			return err
		}),
	}
}

func salesV2(into service.ReadModel[*sql.Tx]) service.Runner {
	return service.Projection[*sql.Tx]{
		Name: "sales/v2", Rebuild: true, Into: into, Filter: leat.Filter{Categories: []string{"article"}},
		Apply: service.Apply(types, func(ctx context.Context, tx *sql.Tx, s Sold, _ leat.Recorded) error {
			_, err := sqlite.Exec(ctx, tx, `insert into sales_v2 values (?, ?, ?, ?)
				on conflict do update set units = units + excluded.units, amount = amount + excluded.amount`, s.SKU, s.Country, s.Units, s.Amount)
			return err
		}),
	}
}

// A Sum is what a version of the read model adds up to.
type Sum struct{ Articles, Units, Amount int64 }

func sumOf(ctx context.Context, db *sql.DB, table string) (s Sum, err error) {
	err = db.QueryRowContext(ctx, "select count(distinct sku), coalesce(sum(units), 0), coalesce(sum(amount), 0) from "+table).Scan(&s.Articles, &s.Units, &s.Amount)
	return s, err
}

package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/pages"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/sqlite"
)

// What follows is what docs/projections.md shows.

// Sold is the only event of a stream such as sku-85123A.
type Sold struct {
	Units int `json:"units"`
}

var sales = service.NewTypes[Sold](service.TypeOf[Sold]("Sold"))

const stockTables = `
create table stock_v1 (sku text primary key, units integer not null);
create view stock as select sku, units from stock_v1;
create table stock_v2 (sku text primary key, units integer not null, sales integer not null);
create table reorder_v2 (id text primary key, sku text not null);`

// stockV1 is the projection that is live.
func stockV1(db *sql.DB) service.Projection[*sql.Tx] {
	return service.Projection[*sql.Tx]{
		Name:   "stock/v1",
		Filter: leat.Filter{Categories: []string{"sku"}, Types: sales.Names()},
		Into:   sqlite.ReadModel(db),
		Apply: service.Apply(sales, func(ctx context.Context, tx *sql.Tx, e Sold, r leat.Recorded) error {
			_, err := sqlite.Exec(ctx, tx, `
				insert into stock_v1 (sku, units) values (?, ?)
				on conflict (sku) do update set units = units + excluded.units`, r.Stream, -e.Units)
			return err
		}),
	}
}

// stockV2 also counts the sales. It rebuilds in tables of its own.
func stockV2(db *sql.DB, reorder func(ctx context.Context, id, sku string) error) service.Projection[*sql.Tx] {
	model := sqlite.ReadModel(db)
	return service.Projection[*sql.Tx]{
		Name:    "stock/v2",
		Rebuild: true,
		Filter:  leat.Filter{Categories: []string{"sku"}, Types: sales.Names()},
		Into:    model,
		Apply: service.Apply(sales, func(ctx context.Context, tx *sql.Tx, e Sold, r leat.Recorded) error {
			_, err := sqlite.Exec(ctx, tx, `
				insert into stock_v2 (sku, units, sales) values (?, ?, 1)
				on conflict (sku) do update set units = units + excluded.units, sales = sales + 1`, r.Stream, -e.Units)
			if err != nil || service.Replaying(ctx) {
				return err // what was due then was done long ago
			}
			_, err = sqlite.Exec(ctx, tx, "insert into reorder_v2 (id, sku) values (?, ?)", r.ID, r.Stream)
			return err
		}),
		Then: func(ctx context.Context) error { return reorderAll(ctx, db, model, reorder) },
	}
}

// reorderAll carries out what is due.
func reorderAll(ctx context.Context, db *sql.DB, model *sqlite.Model, reorder func(ctx context.Context, id, sku string) error) error {
	for {
		var id, sku string
		err := db.QueryRowContext(ctx, "select id, sku from reorder_v2 limit 1").Scan(&id, &sku)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := reorder(ctx, id, sku); err != nil {
			return err
		}
		err = model.Transact(ctx, func(ctx context.Context, tx *sql.Tx) error {
			_, err := sqlite.Exec(ctx, tx, "delete from reorder_v2 where id = ?", id)
			return err
		})
		if err != nil {
			return err
		}
	}
}

// progress says how far the rebuilds of an App are.
func progress(app *service.App) (lines []string) {
	for _, s := range app.Status() {
		if s.Replay > 0 {
			lines = append(lines, fmt.Sprintf("%s: %d events left, %.0f a second, done in %s", s.Name, s.Replay, s.Rate, s.ETA()))
		}
	}
	return lines
}

// switchOver lets queries read the new tables when they are complete.
func switchOver(ctx context.Context, app *service.App, db *sql.DB) error {
	if err := app.WaitRebuilt(ctx, "stock/v2"); err != nil {
		return err
	}
	return sqlite.ReadModel(db).Transact(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "drop view stock"); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "create view stock as select sku, units, sales from stock_v2")
		return err
	})
}

// resetStock lets stock/v2 start over in its tables.
func resetStock(ctx context.Context, stock service.Projection[*sql.Tx]) error {
	return stock.Reset(ctx, leat.Checkpoint{}, func(ctx context.Context, tx *sql.Tx) error {
		for _, table := range []string{"stock_v2", "reorder_v2"} {
			if _, err := tx.ExecContext(ctx, "delete from "+table); err != nil {
				return err
			}
		}
		return nil
	})
}

// A new version of a projection is built beside the old one, quietly, and takes
// over when it has caught up.
func ExampleReadModel_rebuild() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	db, err := sqlite.Open(filepath.Join(dir, "stock.db"))
	if err != nil {
		panic(err)
	}
	defer db.Close()
	if _, err := db.Exec(stockTables); err != nil {
		panic(err)
	}
	log, err := leattest.New(leat.Config{}, time.Now)
	if err != nil {
		panic(err)
	}
	defer log.Close()
	sell := func(times int) (last leat.Receipt) {
		for range times {
			last, err = log.Append(ctx, []leat.Event{{Stream: "sku-85123A", Type: "Sold", Source: "shop", Data: []byte(`{"units":2}`)}})
			if err != nil {
				panic(err)
			}
		}
		return last
	}
	sell(1000) // in the years of stock/v1

	reordered := 0
	v2 := stockV2(db, func(context.Context, string, string) error { reordered++; return nil })
	app, err := service.NewApp(service.Config{Log: log}, stockV1(db), v2)
	if err != nil {
		panic(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	if err := switchOver(ctx, app, db); err != nil {
		panic(err)
	}
	if err := app.WaitFor(ctx, sell(3)); err != nil {
		panic(err)
	}
	var units, sales int
	if err := db.QueryRow("select units, sales from stock").Scan(&units, &sales); err != nil {
		panic(err)
	}
	fmt.Println(units, "units,", sales, "sales,", reordered, "reordered,", len(progress(app)), "rebuilds at work")
	cancel()
	if err := <-ended; err != nil {
		panic(err)
	}

	if err := resetStock(context.Background(), v2); err != nil {
		panic(err)
	}
	err = db.QueryRow("select coalesce(sum(sales), 0) from stock").Scan(&sales)
	fmt.Println("after a reset:", sales, "sales", err)
	// Output:
	// -2006 units, 1003 sales, 3 reordered, 0 rebuilds at work
	// after a reset: 0 sales <nil>
}

// What the guides show is in the examples.
func TestGuides(t *testing.T) { pages.Check(t, "../docs/outbox.md", "../docs/projections.md") }

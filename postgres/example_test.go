package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/pgtest"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/postgres"
	"github.com/leathq/leat/service"
)

// databaseURL is where the examples find their database.
var databaseURL string

// Examples cannot be skipped, so they run here.
func TestExamples(t *testing.T) {
	for name, example := range map[string]func(){"Queue": ExampleQueue} {
		t.Run(name, func(*testing.T) {
			databaseURL = pgtest.Database(t)
			example()
		})
	}
}

// How many units of each article are in stock. About a thousand events are
// applied in one transaction; what they queue goes to PostgreSQL in a few round
// trips.
func ExampleQueue() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	pool, err := postgres.Open(ctx, databaseURL)
	if err != nil {
		panic(err)
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, "create table onhand (sku text primary key, units bigint not null)"); err != nil {
		panic(err)
	}
	log, err := leattest.New(leat.Config{}, time.Now)
	if err != nil {
		panic(err)
	}
	defer log.Close()

	app, err := service.NewApp(service.Config{Log: log}, service.Projection[pgx.Tx]{
		Name: "stock/v1", Into: postgres.ReadModel(pool),
		Filter: leat.Filter{Categories: []string{"sku"}, Types: []string{"Received"}},
		Apply: func(ctx context.Context, tx pgx.Tx, r leat.Recorded) error {
			var units int
			if err := json.Unmarshal(r.Data, &units); err != nil {
				return service.Permanent(err)
			}
			return postgres.Queue(ctx, tx, `insert into onhand values ($1, $2)
				on conflict (sku) do update set units = onhand.units + excluded.units`, r.Stream, units)
		},
	})
	if err != nil {
		panic(err)
	}
	ended := make(chan error)
	go func() { ended <- app.Run(ctx) }()

	var last leat.Receipt
	for i := range 100 {
		last, err = log.Append(ctx, []leat.Event{
			{Stream: fmt.Sprintf("sku-%d", i%10), Type: "Received", Source: "warehouse", Data: []byte("3")},
		})
		if err != nil {
			panic(err)
		}
	}
	if err := app.WaitFor(ctx, last); err != nil {
		panic(err)
	}
	var articles, units int
	if err := pool.QueryRow(ctx, "select count(*), sum(units) from onhand").Scan(&articles, &units); err != nil {
		panic(err)
	}
	if articles != 10 || units != 300 {
		panic(fmt.Sprintf("%d articles, %d units", articles, units))
	}
	cancel()
	if err := <-ended; err != nil {
		panic(err)
	}
}

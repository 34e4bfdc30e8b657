package postgres_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/postgres"
	"github.com/leathq/leat/service"
)

const addUnits = "insert into stock (sku, units) values ($1, $2) on conflict (sku) do update set units = stock.units + excluded.units"

// BenchmarkProjection folds events into PostgreSQL, one upsert each. An
// operation is an event.
func BenchmarkProjection(b *testing.B) {
	type units struct {
		Units int `json:"units"`
	}
	types := service.NewTypes[units](service.TypeOf[units]("Received"))
	b.Run("postgres.Queue", func(b *testing.B) {
		project(b, service.Apply(types, func(ctx context.Context, tx pgx.Tx, e units, r leat.Recorded) error {
			return postgres.Queue(ctx, tx, addUnits, r.Stream, e.Units)
		}))
	})
	b.Run("tx.Exec", func(b *testing.B) {
		project(b, service.Apply(types, func(ctx context.Context, tx pgx.Tx, e units, r leat.Recorded) error {
			_, err := tx.Exec(ctx, addUnits, r.Stream, e.Units)
			return err
		}))
	})
}

func project(b *testing.B, apply func(context.Context, pgx.Tx, leat.Recorded) error) {
	pool := create(b, "create table stock (sku text primary key, units bigint not null)")
	log, err := leattest.New(leat.Config{}, time.Now)
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	for i := 0; i < b.N; {
		events := make([]leat.Event, 0, 500)
		for ; len(events) < 500 && i < b.N; i++ {
			events = append(events, leat.Event{Stream: fmt.Sprintf("{x}stock-%d", i%4000), Type: "Received", Source: "bench", Data: []byte(`{"units":1}`)})
		}
		if _, err := log.Append(b.Context(), events); err != nil {
			b.Fatal(err)
		}
	}
	to, err := leat.Start(b.Context(), log, leat.Now)
	if err != nil {
		b.Fatal(err)
	}
	app, err := service.NewApp(service.Config{Log: log}, service.Projection[pgx.Tx]{Name: "stock", Into: postgres.ReadModel(pool), Apply: apply})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	wg.Go(func() {
		if err := app.Run(ctx); err != nil {
			b.Error(err)
		}
	})
	if err := app.WaitCaughtUp(ctx, to); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	cancel()
	wg.Wait()
}

package sqlite_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/sqlite"
)

const addUnits = "insert into stock (sku, units) values (?, ?) on conflict (sku) do update set units = units + excluded.units"

// BenchmarkProjection folds events into SQLite, one upsert each. An operation is
// an event.
func BenchmarkProjection(b *testing.B) {
	type units struct {
		Units int `json:"units"`
	}
	types := service.NewTypes[units](service.TypeOf[units]("Received"))
	exec := func(run func(context.Context, *sql.Tx, string, ...any) (sql.Result, error)) func(context.Context, *sql.Tx, leat.Recorded) error {
		return service.Apply(types, func(ctx context.Context, tx *sql.Tx, e units, r leat.Recorded) error {
			_, err := run(ctx, tx, addUnits, r.Stream, e.Units)
			return err
		})
	}
	b.Run("sqlite.Exec", func(b *testing.B) { project(b, exec(sqlite.Exec)) })
	b.Run("tx.ExecContext", func(b *testing.B) {
		project(b, exec(func(ctx context.Context, tx *sql.Tx, query string, args ...any) (sql.Result, error) {
			return tx.ExecContext(ctx, query, args...)
		}))
	})
}

func project(b *testing.B, apply func(context.Context, *sql.Tx, leat.Recorded) error) {
	db, err := sqlite.Open(filepath.Join(b.TempDir(), "stock.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("create table stock (sku text primary key, units integer not null) without rowid"); err != nil {
		b.Fatal(err)
	}
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
	app, err := service.NewApp(service.Config{Log: log}, service.Projection[*sql.Tx]{Name: "stock", Into: sqlite.ReadModel(db), Apply: apply})
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
	cancel()
	wg.Wait()
}

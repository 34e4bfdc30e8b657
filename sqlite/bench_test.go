package sqlite_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/modelbench"
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
	modelbench.Project(b, sqlite.ReadModel(db), apply)
}

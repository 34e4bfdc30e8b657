package postgres_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/modelbench"
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
	modelbench.Project(b, postgres.ReadModel(pool), apply)
}

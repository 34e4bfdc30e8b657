package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/pgtest"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/postgres"
	"github.com/leathq/leat/service/servicetest"
)

func newLog(t testing.TB) *leattest.Log {
	t.Helper()
	log, err := leattest.New(leat.Config{}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return log
}

func openOutbox(t testing.TB, pool *pgxpool.Pool) *postgres.Outbox {
	t.Helper()
	o, err := postgres.NewOutbox(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestOutbox(t *testing.T) {
	servicetest.TestOutbox(t, func(t testing.TB) servicetest.OutboxDatabase[pgx.Tx] {
		url := pgtest.Database(t)
		pool := open(t, url)
		exec(t, pool, "create table numbers (key text primary key, n integer not null)")
		return servicetest.OutboxDatabase[pgx.Tx]{
			To:   newLog(t),
			Open: func(t testing.TB) servicetest.Outbox[pgx.Tx] { return openOutbox(t, open(t, url)) },
			Transact: func(ctx context.Context, f func(context.Context, pgx.Tx) error) error {
				return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return f(ctx, tx) })
			},
			Next: func(ctx context.Context, tx pgx.Tx, key string) (n int, err error) {
				err = tx.QueryRow(ctx, "insert into numbers values ($1, 1) on conflict (key) do update set n = numbers.n + 1 returning n", key).Scan(&n)
				return n, err
			},
		}
	})
}

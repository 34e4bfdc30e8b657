package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/leathq/leat/internal/pgtest"
	"github.com/leathq/leat/postgres"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

func TestReadModel(t *testing.T) {
	database := func(reader *pgxpool.Pool, open func(testing.TB) service.ReadModel[pgx.Tx]) servicetest.Database[pgx.Tx] {
		return servicetest.Database[pgx.Tx]{
			Open: open,
			Put: func(ctx context.Context, tx pgx.Tx, key, value string) error {
				return postgres.Queue(ctx, tx, "insert into kv values ($1, $2) on conflict (key) do update set value = excluded.value", key, value)
			},
			Get: func(t testing.TB, key string) (value string) {
				err := reader.QueryRow(t.Context(), "select value from kv where key = $1", key).Scan(&value)
				if err != nil && !errors.Is(err, pgx.ErrNoRows) {
					t.Fatal(err)
				}
				return value
			},
		}
	}
	const kv = "create table kv (key text primary key, value text)"
	t.Run("several processes", func(t *testing.T) {
		servicetest.TestReadModel(t, func(t testing.TB) servicetest.Database[pgx.Tx] {
			url := pgtest.Database(t)
			pool := open(t, url)
			exec(t, pool, kv)
			db := database(pool, func(t testing.TB) service.ReadModel[pgx.Tx] { return postgres.ReadModel(open(t, url)) })
			db.Lose = func(t testing.TB) service.ReadModel[pgx.Tx] { return postgres.ReadModel(openLosing(t, url)) }
			return db
		})
	})
	t.Run("a pool of one connection", func(t *testing.T) {
		servicetest.TestReadModel(t, func(t testing.TB) servicetest.Database[pgx.Tx] {
			url := pgtest.Database(t)
			one := open(t, url+" pool_max_conns=1")
			reader := open(t, url)
			exec(t, reader, kv)
			db := database(reader, func(testing.TB) service.ReadModel[pgx.Tx] { return postgres.ReadModel(one) })
			db.Alone = true
			return db
		})
	})
}

func TestSnapshotStore(t *testing.T) {
	servicetest.TestSnapshotStore(t, func(t testing.TB) func(testing.TB) service.SnapshotStore {
		url := pgtest.Database(t)
		return func(t testing.TB) service.SnapshotStore { return postgres.ReadModel(open(t, url)) }
	})
}

func TestProcessStore(t *testing.T) {
	servicetest.TestProcessStore(t, func(t testing.TB) func(testing.TB) service.ProcessStore {
		url := pgtest.Database(t)
		return func(t testing.TB) service.ProcessStore { return postgres.ReadModel(open(t, url)) }
	})
}

// openLosing returns a pool whose first connection is cut when PostgreSQL answers
// that it has committed.
func openLosing(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(url + " pool_max_conns=1")
	if err != nil {
		t.Fatal(err)
	}
	lost := false
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil || lost {
			return c, err
		}
		lost = true
		return &losingConn{c}, nil
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

type losingConn struct{ net.Conn }

func (c *losingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if bytes.Contains(b[:n], []byte("COMMIT\x00")) {
		_ = c.Close()
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

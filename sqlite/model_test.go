package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"

	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
	"github.com/leathq/leat/sqlite"
)

func TestReadModel(t *testing.T) {
	database := func(reader *sql.DB, open func(testing.TB) service.ReadModel[*sql.Tx]) servicetest.Database[*sql.Tx] {
		return servicetest.Database[*sql.Tx]{
			Open: open,
			Put: func(ctx context.Context, tx *sql.Tx, key, value string) error {
				_, err := sqlite.Exec(ctx, tx, "insert into kv values (?, ?) on conflict (key) do update set value = excluded.value", key, value)
				return err
			},
			Get: func(t testing.TB, key string) (value string) {
				err := reader.QueryRowContext(t.Context(), "select value from kv where key = ?", key).Scan(&value)
				if err != nil && !errors.Is(err, sql.ErrNoRows) {
					t.Fatal(err)
				}
				return value
			},
		}
	}
	createAt := func(t testing.TB) (path string, db *sql.DB) {
		path = filepath.Join(t.TempDir(), "a ?#%.db")
		db = open(t, path)
		if _, err := db.Exec("create table kv (key text primary key, value text)"); err != nil {
			t.Fatal(err)
		}
		return path, db
	}
	t.Run("one connection pool", func(t *testing.T) {
		servicetest.TestReadModel(t, func(t testing.TB) servicetest.Database[*sql.Tx] {
			_, db := createAt(t)
			return database(db, func(testing.TB) service.ReadModel[*sql.Tx] { return sqlite.ReadModel(db) })
		})
	})
	t.Run("several processes", func(t *testing.T) {
		servicetest.TestReadModel(t, func(t testing.TB) servicetest.Database[*sql.Tx] {
			path, db := createAt(t)
			return database(db, func(t testing.TB) service.ReadModel[*sql.Tx] { return sqlite.ReadModel(open(t, path)) })
		})
	})
	t.Run("a pool of one connection", func(t *testing.T) {
		servicetest.TestReadModel(t, func(t testing.TB) servicetest.Database[*sql.Tx] {
			_, db := createAt(t)
			db.SetMaxOpenConns(1)
			return database(db, func(testing.TB) service.ReadModel[*sql.Tx] { return sqlite.ReadModel(db) })
		})
	})
}

func TestSnapshotStore(t *testing.T) {
	servicetest.TestSnapshotStore(t, func(t testing.TB) func(testing.TB) service.SnapshotStore {
		path := filepath.Join(t.TempDir(), "test.db")
		return func(t testing.TB) service.SnapshotStore { return sqlite.ReadModel(open(t, path)) }
	})
}

func TestProcessStore(t *testing.T) {
	servicetest.TestProcessStore(t, func(t testing.TB) func(testing.TB) service.ProcessStore {
		path := filepath.Join(t.TempDir(), "test.db")
		return func(t testing.TB) service.ProcessStore { return sqlite.ReadModel(open(t, path)) }
	})
}

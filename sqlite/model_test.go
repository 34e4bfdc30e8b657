package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/leathq/leat"
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
			model := database(db, func(testing.TB) service.ReadModel[*sql.Tx] { return sqlite.ReadModel(db) })
			model.Alone = true
			return model
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

// A database with the timers of an earlier version gets what it lacks.
func TestTablesOfAnEarlierVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	db := open(t, path)
	key := leat.RouteHash("p-1")
	if _, err := db.Exec(`create table leat_timer (
		name text not null, stream text not null, timer text not null, version integer not null, key blob not null, due integer not null,
		primary key (name, stream, timer)) without rowid;
		insert into leat_timer values ('x', 'p-1', 't', 3, ?, 7)`, key[:]); err != nil {
		t.Fatal(err)
	}
	timer := service.Timer{Stream: "p-1", Name: "t", Epoch: 1, Version: 1, Due: time.Unix(9, 0).UTC()}
	for range 2 { // and is left alone then
		model := sqlite.ReadModel(open(t, path))
		if err := model.SetTimer(t.Context(), "x", timer); err != nil {
			t.Fatal(err)
		}
		due, err := model.DueTimers(t.Context(), "x", leat.HashKey{}, leat.MaxHashKey, time.Now(), 10)
		if err != nil || len(due) != 1 || due[0] != timer {
			t.Fatalf("due are %v, %v; want %v", due, err, timer)
		}
	}
}

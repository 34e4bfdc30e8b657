package sqlite_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/service/servicetest"
	"github.com/leathq/leat/sqlite"
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

func openOutbox(t testing.TB, db *sql.DB) *sqlite.Outbox {
	t.Helper()
	o, err := sqlite.NewOutbox(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestOutbox(t *testing.T) {
	database := func(t testing.TB, db *sql.DB, open func(t testing.TB) servicetest.Outbox[*sql.Tx], transact func(context.Context, func(context.Context, *sql.Tx) error) error) servicetest.OutboxDatabase[*sql.Tx] {
		if _, err := db.Exec("create table numbers (key text primary key, n integer not null)"); err != nil {
			t.Fatal(err)
		}
		return servicetest.OutboxDatabase[*sql.Tx]{
			Open: open, Transact: transact, To: newLog(t),
			Next: func(ctx context.Context, tx *sql.Tx, key string) (n int, err error) {
				err = tx.QueryRowContext(ctx, "insert into numbers values (?, 1) on conflict (key) do update set n = n + 1 returning n", key).Scan(&n)
				return n, err
			},
		}
	}
	t.Run("in one process", func(t *testing.T) {
		servicetest.TestOutbox(t, func(t testing.TB) servicetest.OutboxDatabase[*sql.Tx] {
			db := open(t, filepath.Join(t.TempDir(), "test.db"))
			return database(t, db, func(t testing.TB) servicetest.Outbox[*sql.Tx] { return openOutbox(t, db) }, sqlite.ReadModel(db).Transact)
		})
	})
	t.Run("in several, with transactions of their own", func(t *testing.T) {
		servicetest.TestOutbox(t, func(t testing.TB) servicetest.OutboxDatabase[*sql.Tx] {
			path := filepath.Join(t.TempDir(), "test.db")
			db := open(t, path)
			first := true
			return database(t, db, func(t testing.TB) servicetest.Outbox[*sql.Tx] {
				if first {
					first = false
					return openOutbox(t, db)
				}
				return openOutbox(t, open(t, path))
			}, func(ctx context.Context, f func(context.Context, *sql.Tx) error) error {
				tx, err := db.BeginTx(ctx, nil)
				if err != nil {
					return err
				}
				defer tx.Rollback()
				if err := f(ctx, tx); err != nil {
					return err
				}
				return tx.Commit()
			})
		})
	})
}

// What the relay is given survives a power cut, whatever the database is opened
// with, and that is as it was afterwards.
func TestTakeLeavesSynchronousAsItWas(t *testing.T) {
	db := create(t, "create table n (n integer)")
	db.SetMaxOpenConns(1)
	o := openOutbox(t, db)
	err := o.Transact(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		return o.Put(ctx, tx, leat.Event{Stream: "a-1", Type: "Happened", Source: "test"})
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"0", "1", "2", "3"} {
		if _, err := db.Exec("pragma synchronous = " + mode); err != nil {
			t.Fatal(err)
		}
		if events, err := o.Take(t.Context(), "relay", "a", time.Minute, 10, nil); err != nil || len(events) != 1 {
			t.Fatalf("taken are %v, %v", events, err)
		}
		var got string
		if err := db.QueryRow("pragma synchronous").Scan(&got); err != nil || got != mode {
			t.Errorf("synchronous is %s, %v; want %s", got, err, mode)
		}
	}
}

package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/sqlite"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		child(path)
		return
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sqlite.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func create(t testing.TB, tables string) *sql.DB {
	t.Helper()
	db := open(t, filepath.Join(t.TempDir(), "test.db"))
	if _, err := db.Exec(tables); err != nil {
		t.Fatal(err)
	}
	return db
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "with space, ?query=1&x#frag %41.db")
	db := open(t, path)
	for _, c := range []struct{ pragma, want string }{
		{"journal_mode", "wal"}, {"synchronous", "1"}, {"foreign_keys", "1"}, {"busy_timeout", "10000"},
	} {
		var got string
		if err := db.QueryRow("pragma " + c.pragma).Scan(&got); err != nil || got != c.want {
			t.Errorf("pragma %s is %q, %v; want %q", c.pragma, got, err, c.want)
		}
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the file does not have the name that was given: %v", err)
	}
	for _, path := range []string{"", ":memory:"} {
		if _, err := sqlite.Open(path); !errors.Is(err, leat.ErrInvalid) {
			t.Errorf("open %q: %v, want ErrInvalid", path, err)
		}
	}
	missing := filepath.Join(dir, "missing", "a.db")
	if _, err := sqlite.Open(missing); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("open in a missing directory: %v, want an error that names the path", err)
	}
	text := filepath.Join(dir, "text.db")
	if err := os.WriteFile(text, []byte(strings.Repeat("this is no database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(text); err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("open a file that is no database: %v, want an error that names the path", err)
	}
}

// Readers are not held up by a transaction, and do not see it.
func TestReadersSeeWhatIsCommitted(t *testing.T) {
	db := create(t, "create table n (n integer)")
	m := sqlite.ReadModel(db)
	err := m.Transact(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		if _, err := sqlite.Exec(ctx, tx, "insert into n values (1)"); err != nil {
			return err
		}
		var inside, outside int
		if err := sqlite.QueryRow(ctx, tx, "select count(*) from n").Scan(&inside); err != nil {
			return err
		}
		if err := db.QueryRow("select count(*) from n").Scan(&outside); err != nil {
			return err
		}
		if inside != 1 || outside != 0 {
			t.Errorf("%d rows inside and %d outside the transaction, want 1 and 0", inside, outside)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestStatementsOfATransaction(t *testing.T) {
	db := create(t, "create table n (k text primary key, n integer)")
	m := sqlite.ReadModel(db)
	const rounds, queries = 3, 300 // more than are kept prepared
	for range rounds {
		err := m.Transact(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			for q := range queries {
				insert := fmt.Sprintf("insert into n values (?, %d) on conflict (k) do update set n = n + excluded.n", q)
				if _, err := sqlite.Exec(ctx, tx, insert, fmt.Sprint(q)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	sum, count := 0, 0
	err := m.Transact(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		rows, err := sqlite.Query(ctx, tx, "select n from n where n >= ?", 0)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var n int
			if err := rows.Scan(&n); err != nil {
				return err
			}
			sum, count = sum+n, count+1
		}
		return rows.Err()
	})
	if want := rounds * queries * (queries - 1) / 2; err != nil || count != queries || sum != want {
		t.Errorf("%d rows with sum %d, %v; want %d with %d", count, sum, err, queries, want)
	}
}

// A statement that cannot be prepared fails whoever runs it, and nobody else.
func TestBadStatementsHarmNobody(t *testing.T) {
	db := create(t, "create table n (n integer)")
	m := sqlite.ReadModel(db)
	bad := func(ctx context.Context, tx *sql.Tx) error {
		_, err := sqlite.Exec(ctx, tx, "insert into missing values (1)")
		return err
	}
	rolledBack := errors.New("rolled back")
	gone := func(ctx context.Context, tx *sql.Tx) error {
		if _, err := sqlite.Exec(ctx, tx, "create table missing (n integer)"); err != nil {
			return err
		}
		return errors.Join(bad(ctx, tx), rolledBack)
	}
	for range 2 {
		if err := m.Transact(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "missing") {
			t.Errorf("insert into a missing table: %v, want an error that names it", err)
		}
		if err := m.Transact(t.Context(), gone); !errors.Is(err, rolledBack) {
			t.Errorf("insert into a table of the transaction: %v, want only %v", err, rolledBack)
		}
		err := m.Transact(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			_, err := sqlite.Exec(ctx, tx, "insert into n values (1)")
			return err
		})
		if err != nil {
			t.Fatalf("a good statement after a bad one: %v", err)
		}
		var none int
		err = m.Transact(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			return sqlite.QueryRow(ctx, tx, "select n from missing").Scan(&none)
		})
		if err == nil {
			t.Error("a row of a missing table: no error")
		}
	}
}

// Exec works in any transaction, only not as fast.
func TestExecOutsideOfAProjection(t *testing.T) {
	db := create(t, "create table n (n integer)")
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := sqlite.Exec(t.Context(), tx, "insert into n values (?)", 7); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := sqlite.QueryRow(t.Context(), tx, "select n from n").Scan(&n); err != nil || n != 7 {
		t.Errorf("n is %d, %v; want 7", n, err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

func TestCommitUnderAContextThatEndsWaiting(t *testing.T) {
	m := sqlite.ReadModel(create(t, "create table n (n integer)"))
	err := m.Transact(t.Context(), func(context.Context, *sql.Tx) error {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		return m.Save(ended, service.Step{Name: "other"}) // waits for this transaction
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

// A full disk makes SQLite roll back by itself. A handler that ignores its error
// must not bring the checkpoint past what was lost.
func TestAStepIsNotTakenWithoutItsWrites(t *testing.T) {
	db := create(t, "create table n (data blob)")
	db.SetMaxOpenConns(1) // max_page_count belongs to the connection
	m := sqlite.ReadModel(db)
	from := leat.Checkpoint{Log: "L", Epoch: 1}
	step := func(seq uint64) service.Step {
		s := service.Step{Name: "h", From: from.Clone(), To: from.Clone()}
		s.To.Set(leat.ShardNumber(0), seq)
		return s
	}
	first := step(1)
	first.From = leat.Checkpoint{}
	if err := m.Save(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	from.Set(leat.ShardNumber(0), 1)
	if _, err := db.Exec("pragma max_page_count = 20"); err != nil {
		t.Fatal(err)
	}
	err := m.Commit(t.Context(), step(2), func(ctx context.Context, tx *sql.Tx) error {
		if _, err := sqlite.Exec(ctx, tx, "insert into n values (1)"); err != nil {
			return err
		}
		if _, err := sqlite.Exec(ctx, tx, "insert into n values (zeroblob(1000000))"); err == nil || !strings.Contains(err.Error(), "full") {
			t.Errorf("insert of a megabyte: %v, want that the database is full", err)
		}
		return nil
	})
	if err == nil {
		t.Error("the commit of what SQLite rolled back succeeds")
	}
	at, err := m.Checkpoint(t.Context(), "h")
	if err != nil || at.Seqs[leat.ShardNumber(0)] != 1 {
		t.Errorf("checkpoint is %v, %v; want 1: the writes are lost", at, err)
	}
}

// A transaction inside another would wait for it for ever.
func TestTransactRefusesToWaitForItself(t *testing.T) {
	db := create(t, "create table n (n integer)")
	m, other := sqlite.ReadModel(db), sqlite.ReadModel(db)
	err := m.Transact(t.Context(), func(ctx context.Context, _ *sql.Tx) error {
		if _, err := other.Parked(ctx, "h", ""); err != nil {
			t.Errorf("a read beside the transaction: %v", err)
		}
		return other.Retry(ctx, "h", "a-1")
	})
	if err == nil || !strings.Contains(err.Error(), "same database") {
		t.Errorf("a transaction in a transaction: %v, want an error that says so", err)
	}
	another := sqlite.ReadModel(create(t, "create table n (n integer)"))
	err = m.Transact(t.Context(), func(ctx context.Context, _ *sql.Tx) error {
		return another.Save(ctx, service.Step{Name: "h"})
	})
	if err != nil {
		t.Errorf("a transaction on another database: %v", err)
	}
}

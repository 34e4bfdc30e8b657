//go:build unix

package sqlite_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/killtest"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/sqlite"
)

// envDatabase tells a worker its database.
const envDatabase = "LEAT_SQLITE_TEST_DATABASE"

const countTables = `
	create table seen (stream text, version integer, primary key (stream, version)) without rowid;
	create table counted (stream text primary key, events integer not null) without rowid;
	create table total (id integer primary key, events integer not null); insert into total values (1, 0)`

func init() { killtest.Main(work, workOutbox) }

// work is what a worker does: it counts events, in order, by stream and in all.
func work(ctx context.Context) error {
	db, err := sqlite.Open(os.Getenv(envDatabase))
	if err != nil {
		return err
	}
	defer db.Close()
	return killtest.Work(ctx, service.Projection[*sql.Tx]{
		Into: sqlite.ReadModel(db),
		Apply: func(ctx context.Context, tx *sql.Tx, r leat.Recorded) error {
			var last uint64
			if err := sqlite.QueryRow(ctx, tx, "select coalesce(max(version), 0) from seen where stream = ?", r.Stream).Scan(&last); err != nil {
				return err
			}
			if r.Version != last+1 {
				return service.Permanent(fmt.Errorf("version %d of %s after version %d", r.Version, r.Stream, last))
			}
			if _, err := sqlite.Exec(ctx, tx, "insert into seen values (?, ?)", r.Stream, int64(r.Version)); err != nil {
				return err
			}
			if _, err := sqlite.Exec(ctx, tx, `insert into counted values (?, 1)
				on conflict (stream) do update set events = events + 1`, r.Stream); err != nil {
				return err
			}
			_, err := sqlite.Exec(ctx, tx, "update total set events = events + 1")
			return err
		},
	})
}

// Workers are killed, stopped and cut off: each event is counted once.
func TestExactlyOnceWhateverIsKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "count.db")
	db := open(t, path)
	if _, err := db.Exec(countTables); err != nil {
		t.Fatal(err)
	}
	killtest.Run(t, killtest.Database{
		Env: []string{envDatabase + "=" + path}, Parked: sqlite.ReadModel(db).Parked,
		Counts: func(ctx context.Context) (map[string]uint64, error) {
			rows, err := db.QueryContext(ctx, "select stream, events, (select events from total) from counted")
			if err != nil {
				return nil, err
			}
			defer rows.Close()
			counts := make(map[string]uint64)
			var total, sum uint64
			for rows.Next() {
				var stream string
				var events uint64
				if err := rows.Scan(&stream, &events, &total); err != nil {
					return nil, err
				}
				counts[stream] = events
				sum += events
			}
			if rows.Err() == nil && sum != total {
				t.Errorf("%d events are counted by stream and %d in all", sum, total)
			}
			return counts, rows.Err()
		},
		Troubles: []killtest.Trouble{
			{Name: "the database is moved into its file", Do: func() {
				_, _ = db.ExecContext(t.Context(), "pragma wal_checkpoint(truncate)") // or is not, when somebody writes
			}},
		},
	})
}

const numberTable = "create table number (stream text primary key, n integer not null) without rowid"

// workOutbox is what a worker does that has an outbox.
func workOutbox(ctx context.Context) error {
	db, err := sqlite.Open(os.Getenv(envDatabase))
	if err != nil {
		return err
	}
	defer db.Close()
	outbox, err := sqlite.NewOutbox(ctx, db)
	if err != nil {
		return err
	}
	return killtest.WorkOutbox(ctx, outbox, func(ctx context.Context, stream string) error {
		return outbox.Transact(ctx, func(ctx context.Context, tx *sql.Tx) error {
			var n int
			err := sqlite.QueryRow(ctx, tx, "insert into number values (?, 1) on conflict (stream) do update set n = n + 1 returning n", stream).Scan(&n)
			if err != nil {
				return err
			}
			return outbox.Put(ctx, tx, leat.Event{Stream: stream, Type: "Changed", Source: "test", Data: []byte(strconv.Itoa(n))})
		})
	})
}

// Services and relays are killed, stopped and cut off: the log has an event for
// each change, once and in order.
func TestOutboxWhateverIsKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "number.db")
	db := open(t, path)
	if _, err := db.Exec(numberTable); err != nil {
		t.Fatal(err)
	}
	killtest.RunOutbox(t, killtest.Office{
		Env: []string{envDatabase + "=" + path}, Outbox: openOutbox(t, db),
		Numbers: func(ctx context.Context) (map[string]uint64, error) {
			rows, err := db.QueryContext(ctx, "select stream, n from number")
			if err != nil {
				return nil, err
			}
			defer rows.Close()
			numbers := make(map[string]uint64)
			for rows.Next() {
				var stream string
				var n uint64
				if err := rows.Scan(&stream, &n); err != nil {
					return nil, err
				}
				numbers[stream] = n
			}
			return numbers, rows.Err()
		},
	})
}

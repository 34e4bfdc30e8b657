// Package readmodel is the database that each of the compared services projects
// into: the balance of each account, and how many events made it.
package readmodel

import (
	"context"
	"database/sql"

	"github.com/leathq/leat/sqlite"
)

// Upsert adds to the balance of an account: its name, and pence.
const Upsert = `insert into balance values (?, ?, 1)
	on conflict do update set pence = pence + excluded.pence, events = events + 1`

// Open opens the database in a file.
func Open(ctx context.Context, path string) (*sql.DB, error) {
	db, err := sqlite.Open(path)
	if err != nil {
		return nil, err
	}
	_, err = db.ExecContext(ctx, "create table if not exists balance (account text primary key, pence integer not null, events integer not null) without rowid")
	return db, err
}

// Events returns how many events made the balances.
func Events(ctx context.Context, db *sql.DB) (n int, err error) {
	err = db.QueryRowContext(ctx, "select coalesce(sum(events), 0) from balance").Scan(&n)
	return n, err
}

// Accounts returns how many events made each balance.
func Accounts(ctx context.Context, db *sql.DB) (map[string]int, error) {
	rows, err := db.QueryContext(ctx, "select account, events from balance")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := make(map[string]int)
	for rows.Next() {
		var account string
		var events int
		if err := rows.Scan(&account, &events); err != nil {
			return nil, err
		}
		all[account] = events
	}
	return all, rows.Err()
}

// OpenDurable opens a database whose commits survive a power cut: SQLite's own
// default, which a read model need not pay for.
func OpenDurable(ctx context.Context, path string) (*sql.DB, error) {
	name := "file:" + path + "?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(10000)"
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, err
	}
	return db, db.PingContext(ctx)
}

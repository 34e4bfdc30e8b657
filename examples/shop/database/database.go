// Package database is how the shop's services open and read their databases.
package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/leathq/leat"
	"github.com/leathq/leat/sqlite"
)

// Open opens the database in a file, which is created when it does not exist,
// and makes the tables of schema that are not there.
func Open(ctx context.Context, path, schema string) (*sql.DB, error) {
	db, err := sqlite.Open(path)
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, schema); err != nil {
		_ = db.Close() // the first error says what is wrong
		return nil, fmt.Errorf("create the tables of database %s: %w", path, err)
	}
	return db, nil
}

// A Scanner is a row of a result.
type Scanner interface{ Scan(into ...any) error }

// Get returns the row that a query finds, leat.ErrNotFound when there is none.
func Get[T any](ctx context.Context, db *sql.DB, scan func(Scanner) (T, error), query string, args ...any) (T, error) {
	row, err := scan(db.QueryRowContext(ctx, query, args...))
	if errors.Is(err, sql.ErrNoRows) {
		err = leat.ErrNotFound
	}
	return row, err
}

// Each calls f with every row that a query finds, until it fails.
func Each[T any](ctx context.Context, db *sql.DB, scan func(Scanner) (T, error), f func(T) error, query string, args ...any) error {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		row, err := scan(rows)
		if err != nil {
			return err
		}
		if err := f(row); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Sums returns what a query of a text and a number finds.
func Sums(ctx context.Context, db *sql.DB, query string) (map[string]int64, error) {
	type sum struct {
		of string
		n  int64
	}
	sums := make(map[string]int64)
	err := Each(ctx, db,
		func(row Scanner) (s sum, err error) { err = row.Scan(&s.of, &s.n); return s, err },
		func(s sum) error { sums[s.of] = s.n; return nil },
		query)
	return sums, err
}

package sqlite

import (
	"context"
	"database/sql"

	"github.com/leathq/leat/service"
	_ "modernc.org/sqlite" // the driver
)

// Open opens or creates the database in a file.
func Open(path string) (*sql.DB, error) { return sql.Open("sqlite", path) }

// A Model is a service.ReadModel in a SQLite database, and so also a
// service.CheckpointStore. It is safe for concurrent use.
type Model struct{ db *sql.DB }

var _ service.ReadModel[*sql.Tx] = (*Model)(nil)

// ReadModel returns the read model in a database. It creates its tables,
// leat_application, leat_checkpoint and leat_parked, when it first needs them.
func ReadModel(db *sql.DB) *Model { return &Model{db: db} }

// Exec runs a statement in the transaction of a projection. It is prepared
// once for the database.
func Exec(ctx context.Context, tx *sql.Tx, query string, args ...any) (sql.Result, error) {
	return tx.ExecContext(ctx, query, args...)
}

// Query and QueryRow are for statements that return rows, as Exec.
func Query(ctx context.Context, tx *sql.Tx, query string, args ...any) (*sql.Rows, error) {
	return tx.QueryContext(ctx, query, args...)
}

// QueryRow runs a statement that returns at most one row, as Exec.
func QueryRow(ctx context.Context, tx *sql.Tx, query string, args ...any) *sql.Row {
	return tx.QueryRowContext(ctx, query, args...)
}

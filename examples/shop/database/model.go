package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/leathq/leat"
	"github.com/leathq/leat/postgres"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/sqlite"
)

// A Model is the database of a service that does not care which one it is: a
// file of SQLite's, or one at a PostgreSQL server. Both understand $1, $2 … for
// arguments, and bigint. It is safe for concurrent use.
type Model struct {
	*sql.DB // to read
	Store   service.CheckpointStore

	projection func(name string, f leat.Filter, apply Apply) service.Runner
	close      func() error
}

// An Apply writes what an event changes with exec.
type Apply func(ctx context.Context, exec Exec, r leat.Recorded) error

// An Exec runs a statement in the transaction of a projection. PostgreSQL may run
// it later, in the same transaction.
type Exec func(ctx context.Context, query string, args ...any) error

// InSQLite returns an Exec for a transaction of package sqlite.
func InSQLite(tx *sql.Tx) Exec {
	return func(ctx context.Context, query string, args ...any) error {
		_, err := sqlite.Exec(ctx, tx, query, args...)
		return err
	}
}

// AtServer reports whether the name of a database is that of one at a PostgreSQL
// server: a URL, or host=… and other keywords.
func AtServer(name string) bool {
	return strings.HasPrefix(name, "postgres://") || strings.HasPrefix(name, "postgresql://") || strings.HasPrefix(name, "host=")
}

// OpenModel opens the database in a file, or at a URL, and makes the tables of
// schema that are not there.
func OpenModel(ctx context.Context, name, schema string) (*Model, error) {
	if AtServer(name) {
		return openPostgres(ctx, name, schema)
	}
	db, err := Open(ctx, name, schema)
	if err != nil {
		return nil, err
	}
	model := sqlite.ReadModel(db)
	return &Model{DB: db, Store: model, close: db.Close, projection: func(name string, f leat.Filter, apply Apply) service.Runner {
		return service.Projection[*sql.Tx]{Name: name, Filter: f, Into: model, Apply: func(ctx context.Context, tx *sql.Tx, r leat.Recorded) error {
			return apply(ctx, InSQLite(tx), r)
		}}
	}}, nil
}

func openPostgres(ctx context.Context, url, schema string) (*Model, error) {
	pool, err := postgres.Open(ctx, url)
	if err != nil {
		return nil, err
	}
	// Workers that start at the same time would make the same table twice.
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended($1, 0))`, schema); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, schema)
		return err
	})
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("create the tables of a database: %w", err)
	}
	model, db := postgres.ReadModel(pool), stdlib.OpenDBFromPool(pool)
	closeBoth := func() error {
		err := db.Close()
		pool.Close()
		return err
	}
	return &Model{DB: db, Store: model, close: closeBoth, projection: func(name string, f leat.Filter, apply Apply) service.Runner {
		return service.Projection[pgx.Tx]{Name: name, Filter: f, Into: model, Apply: func(ctx context.Context, tx pgx.Tx, r leat.Recorded) error {
			return apply(ctx, func(ctx context.Context, query string, args ...any) error {
				return postgres.Queue(ctx, tx, query, args...)
			}, r)
		}}
	}}, nil
}

// Projection returns a projection into the database.
func (m *Model) Projection(name string, f leat.Filter, apply Apply) service.Runner {
	return m.projection(name, f, apply)
}

// Close closes the database.
func (m *Model) Close() error {
	if err := m.close(); err != nil && !errors.Is(err, sql.ErrConnDone) {
		return err
	}
	return nil
}

// Typed returns an Apply that decodes events for f, as service.Apply does.
func Typed[E any](types *service.Types[E], f func(ctx context.Context, exec Exec, e E, r leat.Recorded) error) Apply {
	return service.Apply(types, f)
}

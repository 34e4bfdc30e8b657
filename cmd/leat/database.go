package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/leathq/leat"
	"github.com/leathq/leat/postgres"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/sqlite"
)

// databaseFlag is how commands name the database of a service.
type databaseFlag struct {
	DB string `name:"db" env:"LEAT_DB" required:"" placeholder:"URL" help:"The service's database: sqlite:PATH or postgres://USER@HOST/DATABASE."`
}

// errNoStore says that no application keeps anything in a database.
var errNoStore = errors.New("no application of package service keeps its checkpoints in it; is it the right database?")

// with opens what a service's database keeps of its applications for the time of
// do.
func (f databaseFlag) with(ctx context.Context, do func(service.CheckpointStore) error) (err error) {
	if path, ok := strings.CutPrefix(f.DB, "sqlite:"); ok {
		return withSQLite(ctx, path, do)
	}
	if strings.HasPrefix(f.DB, "postgres://") || strings.HasPrefix(f.DB, "postgresql://") {
		return withPostgres(ctx, f.DB, do)
	}
	scheme, _, _ := strings.Cut(f.DB, ":") // the rest may hold a password
	return &leat.InvalidError{Field: "--db", Limit: "sqlite:PATH or postgres://USER@HOST/DATABASE", Got: fmt.Sprintf("%q", name(scheme)+":…")}
}

// withSQLite makes no file and no table where there is none.
func withSQLite(ctx context.Context, path string, do func(service.CheckpointStore) error) (err error) {
	defer func() {
		if errors.Is(err, errNoStore) || errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("database sqlite:%s: %w", path, err)
		}
	}()
	if _, err := os.Stat(path); err != nil {
		return err
	}
	db, err := sqlite.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var table string
	err = db.QueryRowContext(ctx, "select name from sqlite_master where type = 'table' and name = 'leat_parked'").Scan(&table)
	if errors.Is(err, sql.ErrNoRows) {
		return errNoStore
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	return do(sqlite.ReadModel(db))
}

func withPostgres(ctx context.Context, url string, do func(service.CheckpointStore) error) error {
	pool, err := postgres.Open(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	var exists bool
	if err := pool.QueryRow(ctx, "select to_regclass('leat_parked') is not null").Scan(&exists); err != nil {
		return err
	}
	if !exists {
		return fmt.Errorf("database %q at %s: %w", pool.Config().ConnConfig.Database, pool.Config().ConnConfig.Host, errNoStore)
	}
	return do(postgres.ReadModel(pool))
}

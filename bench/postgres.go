package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/pgbin"
)

const postgresPool = 64 // connections

const postgresTable = `
	create table events (
		seq         bigint generated always as identity primary key,
		stream      text not null,
		version     bigint not null,
		id          uuid not null constraint events_id unique,
		type        text not null,
		source      text not null,
		time        timestamptz not null,
		contenttype text not null,
		meta        bytea not null,
		data        bytea not null,
		constraint events_version unique (stream, version)
	)`

const (
	postgresInsert = `
		insert into events (stream, version, id, type, source, time, contenttype, meta, data)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`

	postgresSelect = `select stream, version, id, type, source, time, contenttype, meta, data from events `
)

var postgresColumns = []string{"stream", "version", "id", "type", "source", "time", "contenttype", "meta", "data"}

type postgresStore struct {
	pool *pgxpool.Pool
	name string
	closers
}

func openPostgres(ctx context.Context, dir string) (_ store, err error) {
	cluster, err := pgbin.Initialise(ctx, dir, "bench")
	if errors.Is(err, pgbin.ErrMissing) {
		return nil, errMissing{"apt-get install postgresql"}
	}
	if err != nil {
		return nil, err
	}
	s := &postgresStore{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	settings := []string{
		"listen_addresses=", "unix_socket_directories=" + dir, "fsync=on", "synchronous_commit=on", "full_page_writes=on",
		fmt.Sprintf("shared_buffers=%dMB", cacheMiB), "max_wal_size=4GB",
	}
	args := []string{"-D", cluster.Data}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	p, err := startProcess(dir, os.Interrupt, cluster.Command(untilStopped(ctx), "postgres", args...)) // SIGINT: its fast shutdown
	if err != nil {
		return nil, err
	}
	s.add(p.stop)
	config, err := pgxpool.ParseConfig(fmt.Sprintf("host=%s user=bench dbname=postgres pool_max_conns=%d pool_min_conns=%d", dir, postgresPool, postgresPool))
	if err != nil {
		return nil, err
	}
	if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, err
	}
	s.add(func() error { s.pool.Close(); return nil })
	if err := p.await(ctx, s.pool.Ping); err != nil {
		return nil, err
	}
	if _, err := s.pool.Exec(ctx, postgresTable); err != nil {
		return nil, err
	}
	if err := s.pool.QueryRow(ctx, "show server_version").Scan(&s.name); err != nil {
		return nil, err
	}
	s.name, _, _ = strings.Cut(s.name, " ") // Debian adds its own
	return s, nil
}

func (s *postgresStore) version() string { return s.name }

func (s *postgresStore) append(ctx context.Context, at head, events []leat.Event) (head, error) {
	var err error
	if len(events) == 1 {
		_, err = s.pool.Exec(ctx, postgresInsert, postgresRow(&events[0], at.version+1)...)
	} else {
		err = s.copy(ctx, len(events), func(i int) []any { return postgresRow(&events[i], at.version+uint64(i)+1) })
	}
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused) && refused.ConstraintName == "events_version":
		return at, errConflict
	case errors.As(err, &refused) && refused.ConstraintName == "events_id":
		return at, errDuplicate
	case err != nil:
		return at, err
	}
	return head{version: at.version + uint64(len(events))}, nil
}

func (s *postgresStore) fill(ctx context.Context, events []leat.Recorded) error {
	return s.copy(ctx, len(events), func(i int) []any { return postgresRow(&events[i].Event, events[i].Version) })
}

// copy is one statement and so one transaction.
func (s *postgresStore) copy(ctx context.Context, n int, row func(i int) []any) error {
	_, err := s.pool.CopyFrom(ctx, pgx.Identifier{"events"}, postgresColumns,
		pgx.CopyFromSlice(n, func(i int) ([]any, error) { return row(i), nil }))
	return err
}

func postgresRow(e *leat.Event, version uint64) []any {
	return []any{e.Stream, int64(version), e.ID, e.Type, e.Source, e.Time, e.ContentType, encodeMeta(nil, e.Meta), e.Data}
}

func (s *postgresStore) replay(ctx context.Context, visit visitor) error {
	return s.query(ctx, visit, postgresSelect+"order by seq")
}

func (s *postgresStore) load(ctx context.Context, stream string, visit visitor) error {
	return s.query(ctx, visit, postgresSelect+"where stream = $1 order by version", stream)
}

func (s *postgresStore) query(ctx context.Context, visit visitor, sql string, args ...any) error {
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var r leat.Recorded
		var encoded []byte
		err := rows.Scan(&r.Stream, &r.Version, &r.ID, &r.Type, &r.Source, &r.Time, &r.ContentType, &encoded, &r.Data)
		if err != nil {
			return err
		}
		if r.Meta, err = decodeMeta(encoded); err != nil {
			return err
		}
		if err := visit(&r); err != nil {
			return err
		}
	}
	return rows.Err()
}

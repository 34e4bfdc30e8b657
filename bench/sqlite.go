package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/leathq/leat"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	sqliteGroup   = 4000 // events at which a group takes no further append
	sqliteReaders = 4
	sqliteRows    = 50 // of one insert, when there are as many
)

const sqliteTable = `
	create table events (
		seq         integer primary key,
		stream      text not null,
		version     integer not null,
		id          blob not null unique,
		type        text not null,
		source      text not null,
		time        integer not null,
		contenttype text not null,
		meta        blob not null,
		data        blob not null,
		unique (stream, version)
	)`

const sqliteSelect = `select stream, version, id, type, source, time, contenttype, meta, data from events `

// sqliteInsert returns the statement that inserts so many rows.
func sqliteInsert(rows int) string {
	return `insert into events (stream, version, id, type, source, time, contenttype, meta, data) values ` +
		strings.TrimSuffix(strings.Repeat("(?,?,?,?,?,?,?,?,?),", rows), ",")
}

// A sqliteStore has one goroutine that writes: what waits while it commits
// becomes its next transaction.
type sqliteStore struct {
	name   string
	writes chan *sqliteWrite
	writer *sql.Conn
	one    *sql.Stmt // inserts one row
	many   *sql.Stmt // inserts sqliteRows rows
	reader *sql.DB
	closers
}

// A sqliteWrite is an append on its way through the writer.
type sqliteWrite struct {
	events []leat.Recorded
	done   chan error
}

func openSQLite(ctx context.Context, dir string) (_ store, err error) {
	s := &sqliteStore{writes: make(chan *sqliteWrite, 1024)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	pragmas := []string{
		"journal_mode(wal)", "synchronous(full)", "busy_timeout(10000)",
		"wal_autocheckpoint(16384)",                                // pages of 4 KiB: less to do beside the load
		fmt.Sprintf("cache_size(-%d)", cacheMiB<<10/sqliteReaders), // KiB of each connection
	}
	file := "file:" + filepath.Join(dir, "events.db") + "?_pragma=" + strings.Join(pragmas, "&_pragma=")
	db, err := sql.Open("sqlite", file)
	if err != nil {
		return nil, err
	}
	s.add(db.Close)
	if s.writer, err = db.Conn(ctx); err != nil {
		return nil, err
	}
	s.add(s.writer.Close)
	if _, err := s.writer.ExecContext(ctx, sqliteTable); err != nil {
		return nil, err
	}
	if err := s.writer.QueryRowContext(ctx, "select sqlite_version()").Scan(&s.name); err != nil {
		return nil, err
	}
	if s.one, err = s.writer.PrepareContext(ctx, sqliteInsert(1)); err != nil {
		return nil, err
	}
	s.add(s.one.Close)
	if s.many, err = s.writer.PrepareContext(ctx, sqliteInsert(sqliteRows)); err != nil {
		return nil, err
	}
	s.add(s.many.Close)
	if s.reader, err = sql.Open("sqlite", file); err != nil {
		return nil, err
	}
	s.add(s.reader.Close)
	s.reader.SetMaxOpenConns(sqliteReaders)
	s.reader.SetMaxIdleConns(sqliteReaders)

	var wg sync.WaitGroup
	wg.Go(s.write)
	s.add(func() error { close(s.writes); wg.Wait(); return nil })
	return s, nil
}

func (s *sqliteStore) version() string { return s.name }

func (s *sqliteStore) append(ctx context.Context, at head, events []leat.Event) (head, error) {
	w := &sqliteWrite{events: make([]leat.Recorded, len(events)), done: make(chan error, 1)}
	for i := range events {
		w.events[i] = leat.Recorded{Event: events[i], Version: at.version + uint64(i) + 1}
	}
	if err := s.submit(ctx, w); err != nil {
		return at, err
	}
	return head{version: at.version + uint64(len(events))}, nil
}

func (s *sqliteStore) fill(ctx context.Context, events []leat.Recorded) error {
	return s.submit(ctx, &sqliteWrite{events: events, done: make(chan error, 1)})
}

func (s *sqliteStore) submit(ctx context.Context, w *sqliteWrite) error {
	select {
	case s.writes <- w:
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-w.done // the writer answers in any case
}

// write is the writer.
func (s *sqliteStore) write() {
	for w := range s.writes {
		group := []*sqliteWrite{w}
		for n := len(w.events); n < sqliteGroup; n += len(w.events) {
			select {
			case w = <-s.writes:
			default:
				w = nil
			}
			if w == nil { // nobody waits, or the store is closed
				break
			}
			group = append(group, w)
		}
		s.commit(group)
	}
}

// commit carries out a group in one transaction and answers it. An append that
// is refused is undone by itself.
func (s *sqliteStore) commit(group []*sqliteWrite) {
	ctx := context.Background() // a transaction is short and not interrupted
	errs := make([]error, len(group))
	_, err := s.writer.ExecContext(ctx, "begin immediate")
	for i, w := range group {
		if err == nil {
			errs[i] = s.insert(ctx, w.events)
		}
	}
	if err == nil {
		_, err = s.writer.ExecContext(ctx, "commit")
	}
	for i, w := range group {
		w.done <- errors.Join(err, errs[i])
	}
}

// insert inserts the events of an append. A statement undoes itself when it is
// refused; several need a savepoint.
func (s *sqliteStore) insert(ctx context.Context, events []leat.Recorded) error {
	if len(events) == 1 {
		return s.rows(ctx, s.one, events)
	}
	if _, err := s.writer.ExecContext(ctx, "savepoint append"); err != nil {
		return err
	}
	var refused error
	for rest := events; len(rest) > 0 && refused == nil; {
		n, statement := 1, s.one
		if len(rest) >= sqliteRows {
			n, statement = sqliteRows, s.many
		}
		refused = s.rows(ctx, statement, rest[:n])
		rest = rest[n:]
	}
	if refused != nil {
		if _, err := s.writer.ExecContext(ctx, "rollback to append"); err != nil {
			return err
		}
	}
	_, err := s.writer.ExecContext(ctx, "release append")
	return errors.Join(refused, err)
}

func (s *sqliteStore) rows(ctx context.Context, statement *sql.Stmt, events []leat.Recorded) error {
	args := make([]any, 0, 9*len(events))
	for i := range events {
		e := &events[i]
		id, err := uuid.Parse(e.ID)
		if err != nil {
			return err
		}
		args = append(args, e.Stream, int64(e.Version), id[:], e.Type, e.Source, e.Time.UnixNano(), e.ContentType, encodeMeta(nil, e.Meta), e.Data)
	}
	_, err := statement.ExecContext(ctx, args...)
	var refused *sqlite.Error
	if !errors.As(err, &refused) || refused.Code() != sqlite3.SQLITE_CONSTRAINT_UNIQUE {
		return err
	}
	if strings.Contains(refused.Error(), "events.id") {
		return errDuplicate
	}
	return errConflict
}

func (s *sqliteStore) replay(ctx context.Context, visit visitor) error {
	return s.query(ctx, visit, sqliteSelect+"order by seq")
}

func (s *sqliteStore) load(ctx context.Context, stream string, visit visitor) error {
	return s.query(ctx, visit, sqliteSelect+"where stream = ? order by version", stream)
}

func (s *sqliteStore) query(ctx context.Context, visit visitor, query string, args ...any) error {
	rows, err := s.reader.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // Err tells what matters
	for rows.Next() {
		var r leat.Recorded
		var id, encoded []byte
		var nanoseconds int64
		err := rows.Scan(&r.Stream, &r.Version, &id, &r.Type, &r.Source, &nanoseconds, &r.ContentType, &encoded, &r.Data)
		if err != nil {
			return err
		}
		if len(id) != len(uuid.UUID{}) {
			return fmt.Errorf("%w: an ID of %d bytes", errEncoding, len(id))
		}
		r.ID, r.Time = uuid.UUID(id).String(), time.Unix(0, nanoseconds).UTC()
		if r.Meta, err = decodeMeta(encoded); err != nil {
			return err
		}
		if err := visit(&r); err != nil {
			return err
		}
	}
	return rows.Err()
}

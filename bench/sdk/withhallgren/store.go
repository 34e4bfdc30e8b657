package withhallgren

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/hallgren/eventsourcing/core"
)

// A Store is a core.EventStore in SQLite, as the README says under "Custom event
// store": the library's own SQL store is a module of its own, which the registry of
// the machine that compared did not have. What has to be durable is: the
// database is opened with synchronous FULL.
type Store struct{ DB *sql.DB }

const Tables = `create table if not exists events (
	seq integer primary key autoincrement, id text not null, version integer not null, reason text not null, type text not null,
	timestamp text not null, data blob, metadata blob, unique (id, type, version))`

// Save implements core.EventStore.
func (s *Store) Save(events []core.Event) error {
	tx, err := s.DB.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	for i := range events {
		e := &events[i]
		r, err := tx.Exec("insert into events (id, version, reason, type, timestamp, data, metadata) values (?, ?, ?, ?, ?, ?, ?)",
			e.AggregateID, int64(e.Version), e.Reason, e.AggregateType, e.Timestamp.Format(time.RFC3339Nano), e.Data, e.Metadata)
		if err != nil && strings.Contains(err.Error(), "UNIQUE") {
			return core.ErrConcurrency
		}
		if err != nil {
			return err
		}
		seq, err := r.LastInsertId()
		if err != nil {
			return err
		}
		e.GlobalVersion = core.Version(seq)
	}
	return tx.Commit()
}

const selectEvents = "select seq, id, version, reason, type, timestamp, data, metadata from events "

// Get implements core.EventStore.
func (s *Store) Get(ctx context.Context, id, aggregateType string, after core.Version) (core.Iterator, error) {
	rows, err := s.DB.QueryContext(ctx, selectEvents+"where id = ? and type = ? and version > ? order by version", id, aggregateType, int64(after))
	return &iterator{rows}, err
}

// All returns what fetches events from start on, count at a time.
func (s *Store) All(start, count uint64) func() (core.Iterator, error) {
	return func() (core.Iterator, error) {
		rows, err := s.DB.Query(selectEvents+"where seq >= ? order by seq limit ?", int64(start), int64(count))
		start += count
		return &iterator{rows}, err
	}
}

type iterator struct{ *sql.Rows }

func (i *iterator) Close() { _ = i.Rows.Close() }

func (i *iterator) Value() (e core.Event, err error) {
	var seq, version int64
	var at string
	if err = i.Scan(&seq, &e.AggregateID, &version, &e.Reason, &e.AggregateType, &at, &e.Data, &e.Metadata); err != nil {
		return e, err
	}
	e.GlobalVersion, e.Version = core.Version(seq), core.Version(version)
	e.Timestamp, err = time.Parse(time.RFC3339Nano, at)
	return e, errors.Join(err, i.Err())
}

package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

// SetTimer implements service.ProcessStore.
func (m *Model) SetTimer(ctx context.Context, app string, t service.Timer) error {
	key := leat.RouteHash(t.Stream)
	return m.timer(ctx, "set", app, t, `insert into leat_timer (name, stream, timer, version, key, due) values (?, ?, ?, ?, ?, ?)
		on conflict (name, stream, timer) do update set version = excluded.version, due = excluded.due
		where version <= excluded.version`,
		app, t.Stream, t.Name, int64(t.Version), key[:], t.Due.UnixNano())
}

// DropTimer implements service.ProcessStore.
func (m *Model) DropTimer(ctx context.Context, app string, t service.Timer) error {
	return m.timer(ctx, "drop", app, t, "delete from leat_timer where name = ? and stream = ? and timer = ? and version <= ?",
		app, t.Stream, t.Name, int64(t.Version))
}

func (m *Model) timer(ctx context.Context, doing, app string, t service.Timer, query string, args ...any) error {
	err := m.Transact(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := Exec(ctx, tx, query, args...)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s timer %q of %s for %q: %w", doing, t.Name, t.Stream, app, err)
	}
	return nil
}

// DueTimers implements service.ProcessStore. It waits for nobody who writes.
func (m *Model) DueTimers(ctx context.Context, app string, from, to leat.HashKey, by time.Time, most int) (due []service.Timer, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("list timers of %q: %w", app, err)
		}
	}()
	if err := m.createTables(ctx); err != nil {
		return nil, err
	}
	rows, err := m.db.QueryContext(ctx, `select stream, timer, version, due from leat_timer
		where name = ? and due <= ? and key between ? and ? order by due, stream, timer limit ?`,
		app, by.UnixNano(), from[:], to[:], most)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var t service.Timer
		var version, at int64
		if err := rows.Scan(&t.Stream, &t.Name, &version, &at); err != nil {
			return nil, err
		}
		t.Version, t.Due = uint64(version), time.Unix(0, at).UTC()
		due = append(due, t)
	}
	return due, rows.Err()
}

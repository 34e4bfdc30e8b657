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
	return m.timer(ctx, "set", app, t, `insert into leat_timer (name, stream, timer, epoch, version, key, due) values (?, ?, ?, ?, ?, ?, ?)
		on conflict (name, stream, timer) do update set epoch = excluded.epoch, version = excluded.version, due = excluded.due
		where (epoch, version) <= (excluded.epoch, excluded.version)`,
		app, t.Stream, t.Name, int64(t.Epoch), int64(t.Version), key[:], t.Due.UnixNano())
}

// DropTimer implements service.ProcessStore.
func (m *Model) DropTimer(ctx context.Context, app string, t service.Timer) error {
	return m.timer(ctx, "drop", app, t, "delete from leat_timer where name = ? and stream = ? and timer = ? and (epoch, version) <= (?, ?)",
		app, t.Stream, t.Name, int64(t.Epoch), int64(t.Version))
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

// DueTimers implements service.ProcessStore.
func (m *Model) DueTimers(ctx context.Context, app string, from, to leat.HashKey, by time.Time, most int) ([]service.Timer, error) {
	var due []service.Timer
	err := m.read(ctx, func(rows *sql.Rows) error {
		var t service.Timer
		var epoch, version, at int64
		err := rows.Scan(&t.Stream, &t.Name, &epoch, &version, &at)
		t.Epoch, t.Version, t.Due = uint64(epoch), uint64(version), time.Unix(0, at).UTC()
		due = append(due, t)
		return err
	}, `select stream, timer, epoch, version, due from leat_timer
		where name = ? and due <= ? and key between ? and ? order by due, stream, timer limit ?`,
		app, by.UnixNano(), from[:], to[:], most)
	if err != nil {
		return nil, fmt.Errorf("list timers of %q: %w", app, err)
	}
	return due, nil
}

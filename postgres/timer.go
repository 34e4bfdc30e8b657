package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

// SetTimer implements service.ProcessStore.
func (m *Model) SetTimer(ctx context.Context, app string, t service.Timer) error {
	key := leat.RouteHash(t.Stream)
	return m.timer(ctx, "set", app, t, `insert into leat_timer as old (name, stream, timer, epoch, version, key, due) values ($1, $2, $3, $4, $5, $6, $7)
		on conflict (name, stream, timer) do update set epoch = excluded.epoch, version = excluded.version, due = excluded.due
		where (old.epoch, old.version) <= (excluded.epoch, excluded.version)`,
		text(app), text(t.Stream), text(t.Name), int64(t.Epoch), int64(t.Version), key[:], t.Due.UnixNano())
}

// DropTimer implements service.ProcessStore.
func (m *Model) DropTimer(ctx context.Context, app string, t service.Timer) error {
	return m.timer(ctx, "drop", app, t, "delete from leat_timer where name = $1 and stream = $2 and timer = $3 and (epoch, version) <= ($4, $5)",
		text(app), text(t.Stream), text(t.Name), int64(t.Epoch), int64(t.Version))
}

func (m *Model) timer(ctx context.Context, doing, app string, t service.Timer, query string, args ...any) error {
	err := m.createTables(ctx)
	if err == nil {
		_, err = m.pool.Exec(ctx, query, args...)
	}
	if err != nil {
		return fmt.Errorf("%s timer %q of %s for %q: %w", doing, t.Name, t.Stream, app, err)
	}
	return nil
}

// DueTimers implements service.ProcessStore.
func (m *Model) DueTimers(ctx context.Context, app string, from, to leat.HashKey, by time.Time, most int) ([]service.Timer, error) {
	due, err := m.dueTimers(ctx, app, from, to, by, most)
	if err != nil {
		return nil, fmt.Errorf("list timers of %q: %w", app, err)
	}
	return due, nil
}

func (m *Model) dueTimers(ctx context.Context, app string, from, to leat.HashKey, by time.Time, most int) ([]service.Timer, error) {
	if err := m.createTables(ctx); err != nil {
		return nil, err
	}
	rows, err := m.pool.Query(ctx, `select stream, timer, epoch, version, due from leat_timer
		where name = $1 and due <= $2 and key between $3 and $4 order by due, stream, timer limit $5`,
		text(app), by.UnixNano(), from[:], to[:], most)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (t service.Timer, err error) {
		var epoch, version, at int64
		err = row.Scan(&t.Stream, &t.Name, &epoch, &version, &at)
		t.Stream, t.Name = untext(t.Stream), untext(t.Name)
		t.Epoch, t.Version, t.Due = uint64(epoch), uint64(version), time.Unix(0, at).UTC()
		return t, err
	})
}

package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Snapshot implements service.SnapshotStore.
func (m *Model) Snapshot(ctx context.Context, stream, reducer string) ([]byte, error) {
	if err := m.createTables(ctx); err != nil {
		return nil, fmt.Errorf("read snapshot of %s: %w", stream, err)
	}
	var data []byte
	err := m.pool.QueryRow(ctx, "select data from leat_snapshot where stream = $1 and reducer = $2", text(stream), text(reducer)).Scan(&data)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("read snapshot of %s: %w", stream, err)
	}
	return data, nil
}

// PutSnapshot implements service.SnapshotStore.
func (m *Model) PutSnapshot(ctx context.Context, stream, reducer string, data []byte) error {
	if err := m.createTables(ctx); err != nil {
		return fmt.Errorf("write snapshot of %s: %w", stream, err)
	}
	_, err := m.pool.Exec(ctx, `insert into leat_snapshot (stream, reducer, data) values ($1, $2, $3)
		on conflict (stream, reducer) do update set data = excluded.data`, text(stream), text(reducer), data)
	if err != nil {
		return fmt.Errorf("write snapshot of %s: %w", stream, err)
	}
	return nil
}

package sqlite

import (
	"context"
	"database/sql"
	"fmt"
)

// Snapshot implements service.SnapshotStore. It waits for nobody who writes.
func (m *Model) Snapshot(ctx context.Context, stream, reducer string) ([]byte, error) {
	if err := m.createTables(ctx); err != nil {
		return nil, fmt.Errorf("read snapshot of %s: %w", stream, err)
	}
	var data []byte
	err := m.db.QueryRowContext(ctx, "select data from leat_snapshot where stream = ? and reducer = ?", stream, reducer).Scan(&data)
	if err != nil && !noRows(err) {
		return nil, fmt.Errorf("read snapshot of %s: %w", stream, err)
	}
	return data, nil
}

// PutSnapshot implements service.SnapshotStore.
func (m *Model) PutSnapshot(ctx context.Context, stream, reducer string, data []byte) error {
	err := m.Transact(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := Exec(ctx, tx, `insert into leat_snapshot (stream, reducer, data) values (?, ?, ?)
			on conflict (stream, reducer) do update set data = excluded.data`, stream, reducer, data)
		return err
	})
	if err != nil {
		return fmt.Errorf("write snapshot of %s: %w", stream, err)
	}
	return nil
}

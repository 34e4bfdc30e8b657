package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

func park(ctx context.Context, tx *sql.Tx, name string, events []service.Parked) error {
	for _, p := range events {
		_, err := Exec(ctx, tx, `
			insert into leat_parked (name, stream, version, shard, seq, id, type, error, attempts, at)
			values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			on conflict (name, stream, version) do update
			set error = excluded.error, attempts = excluded.attempts, at = excluded.at, retry = 0
			where discarded is null`,
			name, p.Stream, int64(p.Version), string(p.Shard), int64(p.Seq), p.ID, p.Type, p.Error, p.Attempts, p.At.UnixNano())
		if err != nil {
			return err
		}
	}
	return nil
}

func done(ctx context.Context, tx *sql.Tx, name string, events []service.Parked) error {
	for _, p := range events {
		r, err := Exec(ctx, tx,
			"delete from leat_parked where name = ? and stream = ? and version = ? and discarded is null",
			name, p.Stream, int64(p.Version))
		if err := oneRow(r, err, name, p.Stream, p.Version); err != nil {
			return err
		}
	}
	return nil
}

// oneRow returns service.ErrNotParked if a statement changed no event that waits.
func oneRow(r sql.Result, err error, name, stream string, version uint64) error {
	if err != nil {
		return err
	}
	n, err := r.RowsAffected()
	if err != nil || n > 0 {
		return err
	}
	return fmt.Errorf("event %d of stream %q, parked by %q: %w", version, stream, name, service.ErrNotParked)
}

// Parked implements service.CheckpointStore.
func (m *Model) Parked(ctx context.Context, name, stream string) ([]service.Parked, error) {
	var events []service.Parked
	err := m.read(ctx, func(rows *sql.Rows) error {
		p, err := scanParked(rows)
		events = append(events, p)
		return err
	}, `select stream, version, shard, seq, id, type, error, attempts, at, discarded, reason
		from leat_parked where name = ? and (stream = ? or ? = '') order by stream, version`, name, stream, stream)
	if err != nil {
		return nil, fmt.Errorf("list events parked by %q: %w", name, err)
	}
	return events, nil
}

func scanParked(rows *sql.Rows) (p service.Parked, err error) {
	var shard string
	var version, seq, at int64
	var discarded sql.NullInt64
	err = rows.Scan(&p.Stream, &version, &shard, &seq, &p.ID, &p.Type, &p.Error, &p.Attempts, &at, &discarded, &p.Reason)
	p.Version, p.Shard, p.Seq, p.At = uint64(version), leat.ShardID(shard), uint64(seq), time.Unix(0, at).UTC()
	if discarded.Valid {
		p.Discarded = time.Unix(0, discarded.Int64).UTC()
	}
	return p, err
}

// Waiting implements service.CheckpointStore.
func (m *Model) Waiting(ctx context.Context, name string) (map[string]uint64, error) {
	waiting := make(map[string]uint64)
	err := m.read(ctx, func(rows *sql.Rows) error {
		var stream string
		var n int64
		err := rows.Scan(&stream, &n)
		waiting[stream] = uint64(n)
		return err
	}, "select stream, count(*) from leat_parked where name = ? and discarded is null group by stream", name)
	if err != nil {
		return nil, fmt.Errorf("count events parked by %q: %w", name, err)
	}
	return waiting, nil
}

// Due implements service.CheckpointStore.
func (m *Model) Due(ctx context.Context, name string) ([]string, error) {
	var streams []string
	// SQLite takes the bare columns from the row that has the minimum.
	err := m.read(ctx, func(rows *sql.Rows) error {
		var stream string
		err := rows.Scan(&stream)
		streams = append(streams, stream)
		return err
	}, `select stream from (
			select stream, min(version), retry, error from leat_parked
			where name = ? and discarded is null group by stream)
		where retry = 1 or error = '' order by stream`, name)
	if err != nil {
		return nil, fmt.Errorf("list due streams of %q: %w", name, err)
	}
	return streams, nil
}

// Retry implements service.CheckpointStore.
func (m *Model) Retry(ctx context.Context, name, stream string) error {
	return m.Transact(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var first sql.NullInt64
		err := QueryRow(ctx, tx,
			"select min(version) from leat_parked where name = ? and stream = ? and discarded is null", name, stream).Scan(&first)
		if err != nil {
			return err
		}
		if !first.Valid {
			return fmt.Errorf("stream %q, parked by %q: %w", stream, name, service.ErrNotParked)
		}
		_, err = Exec(ctx, tx, "update leat_parked set retry = 1 where name = ? and stream = ? and version = ?", name, stream, first.Int64)
		return err
	})
}

// Discard implements service.CheckpointStore.
func (m *Model) Discard(ctx context.Context, name, stream string, version uint64, reason string) error {
	return m.Transact(ctx, func(ctx context.Context, tx *sql.Tx) error {
		r, err := Exec(ctx, tx, `
			update leat_parked set discarded = ?, reason = ?
			where name = ? and stream = ? and version = ? and discarded is null`,
			time.Now().UnixNano(), reason, name, stream, int64(version))
		return oneRow(r, err, name, stream, version)
	})
}

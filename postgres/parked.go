package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

// settle writes what a step got done with and what it parks. What is in both is
// written over and never gone, so that a Retry that waits for the row finds it.
func settle(b *pgx.Batch, s service.Step) {
	type place struct {
		stream  string
		version uint64
	}
	again := make(map[place]bool)
	for _, p := range s.Done {
		again[place{p.Stream, p.Version}] = true
	}
	name := text(s.Name)
	for _, p := range s.Park {
		at := place{p.Stream, p.Version}
		if again[at] {
			again[at] = false
			b.Queue(`update leat_parked set error = $4, attempts = $5, at = $6, retry = false
				where name = $1 and stream = $2 and version = $3 and discarded is null`,
				name, text(p.Stream), int64(p.Version), text(p.Error), p.Attempts, p.At.UnixNano()).Exec(oneRow(s.Name, p.Stream, p.Version))
			continue
		}
		b.Queue(`
			insert into leat_parked as old (name, stream, version, shard, seq, id, type, error, attempts, at)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
			on conflict (name, stream, version) do update
			set error = excluded.error, attempts = excluded.attempts, at = excluded.at, retry = false
			where old.discarded is null`,
			name, text(p.Stream), int64(p.Version), text(string(p.Shard)), int64(p.Seq), text(p.ID), text(p.Type),
			text(p.Error), p.Attempts, p.At.UnixNano())
	}
	for _, p := range s.Done {
		if again[place{p.Stream, p.Version}] {
			b.Queue("delete from leat_parked where name = $1 and stream = $2 and version = $3 and discarded is null",
				name, text(p.Stream), int64(p.Version)).Exec(oneRow(s.Name, p.Stream, p.Version))
		}
	}
}

// oneRow returns service.ErrNotParked if a statement changed no event that waits.
func oneRow(name, stream string, version uint64) func(pgconn.CommandTag) error {
	return func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() > 0 {
			return nil
		}
		return fmt.Errorf("event %d of stream %q, parked by %q: %w", version, stream, name, service.ErrNotParked)
	}
}

// Parked implements service.CheckpointStore.
func (m *Model) Parked(ctx context.Context, name, stream string) ([]service.Parked, error) {
	events, err := m.parked(ctx, name, stream)
	if err != nil {
		return nil, fmt.Errorf("list events parked by %q: %w", name, err)
	}
	return events, nil
}

func (m *Model) parked(ctx context.Context, name, stream string) ([]service.Parked, error) {
	if err := m.createTables(ctx); err != nil {
		return nil, err
	}
	rows, err := m.pool.Query(ctx, `
		select stream, version, shard, seq, id, type, error, attempts, at, discarded, reason
		from leat_parked where name = $1 and (stream = $2 or $2 = '')`, text(name), text(stream))
	if err != nil {
		return nil, err
	}
	events, err := pgx.CollectRows(rows, scanParked)
	slices.SortFunc(events, func(a, b service.Parked) int {
		return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Version, b.Version))
	})
	return events, err
}

func scanParked(row pgx.CollectableRow) (p service.Parked, err error) {
	var shard string
	var version, seq, at int64
	var discarded *int64
	err = row.Scan(&p.Stream, &version, &shard, &seq, &p.ID, &p.Type, &p.Error, &p.Attempts, &at, &discarded, &p.Reason)
	for _, s := range []*string{&p.Stream, &shard, &p.ID, &p.Type, &p.Error, &p.Reason} {
		*s = untext(*s)
	}
	p.Version, p.Shard, p.Seq, p.At = uint64(version), leat.ShardID(shard), uint64(seq), time.Unix(0, at).UTC()
	if discarded != nil {
		p.Discarded = time.Unix(0, *discarded).UTC()
	}
	return p, err
}

// Waiting implements service.CheckpointStore.
func (m *Model) Waiting(ctx context.Context, name string) (map[string]uint64, error) {
	waiting, err := m.waiting(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("count events parked by %q: %w", name, err)
	}
	return waiting, nil
}

func (m *Model) waiting(ctx context.Context, name string) (map[string]uint64, error) {
	if err := m.createTables(ctx); err != nil {
		return nil, err
	}
	rows, err := m.pool.Query(ctx,
		"select stream, count(*) from leat_parked where name = $1 and discarded is null group by stream", text(name))
	if err != nil {
		return nil, err
	}
	waiting := make(map[string]uint64)
	var stream string
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&stream, &n}, func() error {
		waiting[untext(stream)] = uint64(n)
		return nil
	})
	return waiting, err
}

// Due implements service.CheckpointStore.
func (m *Model) Due(ctx context.Context, name string) ([]string, error) {
	streams, err := m.due(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("list due streams of %q: %w", name, err)
	}
	return streams, nil
}

func (m *Model) due(ctx context.Context, name string) ([]string, error) {
	if err := m.createTables(ctx); err != nil {
		return nil, err
	}
	rows, err := m.pool.Query(ctx, `
		select stream from (
			select distinct on (stream) stream, retry, error from leat_parked
			where name = $1 and discarded is null order by stream, version) as first
		where retry or error = ''`, text(name))
	if err != nil {
		return nil, err
	}
	streams, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var stream string
		err := row.Scan(&stream)
		return untext(stream), err
	})
	slices.Sort(streams)
	return streams, err
}

// Retry implements service.CheckpointStore.
func (m *Model) Retry(ctx context.Context, name, stream string) error {
	if err := m.createTables(ctx); err != nil {
		return err
	}
	// Should the first be done with meanwhile, its row is passed over.
	tag, err := m.pool.Exec(ctx, `
		update leat_parked p set retry = true from (
			select name, stream, version from leat_parked
			where name = $1 and stream = $2 and discarded is null order by version limit 1 for update) first
		where p.name = first.name and p.stream = first.stream and p.version = first.version`, text(name), text(stream))
	if err == nil && tag.RowsAffected() == 0 {
		err = fmt.Errorf("stream %q, parked by %q: %w", stream, name, service.ErrNotParked)
	}
	return err
}

// Discard implements service.CheckpointStore.
func (m *Model) Discard(ctx context.Context, name, stream string, version uint64, reason string) error {
	if err := m.createTables(ctx); err != nil {
		return err
	}
	tag, err := m.pool.Exec(ctx, `
		update leat_parked set discarded = $4, reason = $5
		where name = $1 and stream = $2 and version = $3 and discarded is null`,
		text(name), text(stream), int64(version), time.Now().UnixNano(), text(reason))
	if err != nil {
		return err
	}
	return oneRow(name, stream, version)(tag)
}

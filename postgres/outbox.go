package postgres

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/metajson"
	"github.com/leathq/leat/service"
)

// An Outbox is a service.Outbox in a PostgreSQL database. It is safe for
// concurrent use.
type Outbox struct {
	*Model // keeps what is parked
}

var _ service.Outbox = (*Outbox)(nil)

// NewOutbox returns the outbox in a database. It creates its tables.
func NewOutbox(ctx context.Context, pool *pgxpool.Pool) (*Outbox, error) {
	m := ReadModel(pool)
	if err := m.createTables(ctx); err != nil {
		return nil, fmt.Errorf("open outbox: %w", err)
	}
	return &Outbox{m}, nil
}

const (
	outboxChannel = "leat_outbox"  // notified when events are put
	outboxLocks   = tablesLock + 1 // of the streams that are put into
)

// Put puts events into the outbox, in the transaction of the change that they
// tell of: a relay appends them to the log if it commits, and in no other case.
// It writes a UUIDv7 into every empty Event.ID of the caller's slice. An event
// without a Time gets the one of this call. An [*leat.InvalidError] says what is
// wrong with an event.
//
// From here to the end of the transaction no other puts events into the same
// streams. That makes the order of commits the order of the stream; two
// transactions that put into the same streams, in different order, may be
// deadlocked, of which PostgreSQL tells one. A transaction that puts into
// thousands of streams needs a higher max_locks_per_transaction.
func (o *Outbox) Put(ctx context.Context, tx pgx.Tx, events ...leat.Event) error {
	events, err := service.PreparePut(events)
	if err != nil {
		return fmt.Errorf("put into the outbox: %w", err)
	}
	if len(events) == 0 {
		return nil
	}
	var locks []int32
	for _, e := range events {
		locks = append(locks, lockOf(e.Stream))
	}
	slices.Sort(locks)
	var b pgx.Batch
	b.Queue("select pg_advisory_xact_lock($1::int, k) from unnest($2::int[]) k", int32(outboxLocks), slices.Compact(locks))
	for _, e := range events {
		meta, err := metajson.Encode(e.Meta)
		if err != nil {
			return fmt.Errorf("put into the outbox: %w", err)
		}
		b.Queue(`insert into leat_outbox (stream, id, type, source, time, contenttype, data, meta) values ($1, $2, $3, $4, $5, $6, $7, $8)`,
			text(e.Stream), text(e.ID), text(e.Type), text(e.Source), e.Time.UnixNano(), text(e.ContentType), e.Data, meta)
	}
	b.Queue("select pg_notify($1, '')", outboxChannel) // when it commits
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("put into the outbox: %w", err)
	}
	return nil
}

// lockOf returns the number of a stream's lock. Others may have the same, and
// then wait for each other without need.
func lockOf(stream string) int32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(stream)) // never fails
	return int32(h.Sum32())
}

const outgoing = "number, stream, id, type, source, time, contenttype, data, meta"

// Take implements service.Outbox.
func (o *Outbox) Take(ctx context.Context, name, owner string, ttl time.Duration, limit int, except []string) ([]service.Outgoing, error) {
	but := make([]string, len(except))
	for i, stream := range except {
		but[i] = text(stream)
	}
	var events []service.Outgoing
	err := o.Transact(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var waits bool
		err := tx.QueryRow(ctx, "select exists (select from leat_outbox where not parked and stream <> all($1))", but).Scan(&waits)
		if err != nil || !waits {
			return err
		}
		if err := hold(ctx, tx, owner, ttl); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `
			select `+outgoing+`, exists (
				select from leat_parked p where p.name = $1 and p.stream = o.stream and p.discarded is null)
			from (
				select *, sum(length(data)) over (order by number) - length(data) as before
				from (select * from leat_outbox where not parked and stream <> all($4) order by number limit $2) as first) as o
			where before < $3 order by number`, text(name), limit, service.OutboxBytes, but)
		if err != nil {
			return err
		}
		events, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (e service.Outgoing, err error) {
			return e, scanOutgoing(row, &e, &e.Behind)
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("take from the outbox: %w", err)
	}
	return events, nil
}

// hold gives an owner the outbox. Its commit is synced, and with it those of all
// that put what is read after it, also if they did not wait for that.
func hold(ctx context.Context, tx pgx.Tx, owner string, ttl time.Duration) error {
	const synced = "select set_config('synchronous_commit', 'on', true) where current_setting('synchronous_commit') = 'off'"
	if _, err := tx.Exec(ctx, synced); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, `
		insert into leat_relay as held (id, owner, until) values (1, $1, clock_timestamp() + $2)
		on conflict (id) do update set owner = excluded.owner, until = excluded.until
		where held.owner = excluded.owner or held.until < clock_timestamp() or held.until > clock_timestamp() + $2`, text(owner), ttl)
	if err == nil && tag.RowsAffected() == 0 {
		return leat.ErrHeld
	}
	return err
}

func scanOutgoing(row pgx.Row, e *service.Outgoing, more ...any) error {
	var number, at int64
	var meta string
	err := row.Scan(append([]any{&number, &e.Stream, &e.ID, &e.Type, &e.Source, &at, &e.ContentType, &e.Data, &meta}, more...)...)
	if err != nil {
		return err
	}
	for _, s := range []*string{&e.Stream, &e.ID, &e.Type, &e.Source, &e.ContentType} {
		*s = untext(*s)
	}
	e.Number, e.Time = uint64(number), time.Unix(0, at).UTC()
	e.Meta, err = metajson.Decode(meta)
	return err
}

// Find implements service.Outbox.
func (o *Outbox) Find(ctx context.Context, number uint64) (e service.Outgoing, found bool, err error) {
	rows, err := o.pool.Query(ctx, "select "+outgoing+" from leat_outbox where number = $1", int64(number))
	if err == nil {
		_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
			found = true
			return struct{}{}, scanOutgoing(row, &e)
		})
	}
	if err != nil {
		return e, false, fmt.Errorf("read event %d of the outbox: %w", number, err)
	}
	return e, found, nil
}

// Settle implements service.Outbox.
func (o *Outbox) Settle(ctx context.Context, s service.Settlement) error {
	sent := make([]int64, len(s.Sent))
	for i, number := range s.Sent {
		sent[i] = int64(number)
	}
	again := service.Step{Name: s.Name, Done: s.Done}
	var b pgx.Batch
	for _, p := range s.Park {
		if slices.ContainsFunc(s.Done, func(d service.Parked) bool { return d.Version == p.Version }) {
			again.Park = append(again.Park, p)
			continue
		}
		b.Queue(`
			with held as (update leat_outbox set parked = true where number = $3 and not parked returning number)
			insert into leat_parked (name, stream, version, shard, seq, id, type, error, attempts, at)
			select $1, $2, number, '', 0, $4, $5, $6, $7, $8 from held`,
			text(s.Name), text(p.Stream), int64(p.Version), text(p.ID), text(p.Type), text(p.Error), p.Attempts, p.At.UnixNano())
	}
	settle(&b, again)
	b.Queue("delete from leat_outbox where number = any($1)", sent)
	err := o.Transact(ctx, func(ctx context.Context, tx pgx.Tx) error { return tx.SendBatch(ctx, &b).Close() })
	if err != nil {
		return fmt.Errorf("settle the outbox: %w", err)
	}
	return nil
}

// Release implements service.Outbox.
func (o *Outbox) Release(ctx context.Context, owner string) error {
	if _, err := o.pool.Exec(ctx, "delete from leat_relay where owner = $1", text(owner)); err != nil {
		return fmt.Errorf("release the outbox: %w", err)
	}
	return nil
}

// Listen implements service.Outbox. It has a connection of its own, beside the
// pool.
func (o *Outbox) Listen(ctx context.Context, wake func()) error {
	pooled, err := o.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("listen to the outbox: %w", err)
	}
	c := pooled.Hijack()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTime)
		defer cancel()
		_ = c.Close(ctx) // nothing is left to do on it
	}()
	if _, err := c.Exec(ctx, "listen "+outboxChannel); err != nil {
		return fmt.Errorf("listen to the outbox: %w", err)
	}
	for {
		wake()
		if _, err := c.WaitForNotification(ctx); err != nil {
			return fmt.Errorf("listen to the outbox: %w", err)
		}
	}
}

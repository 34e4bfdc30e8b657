package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/metajson"
	"github.com/leathq/leat/service"
)

// An Outbox is a service.Outbox in a SQLite database. It is safe for concurrent
// use.
type Outbox struct {
	*Model // keeps what is parked
}

var _ service.Outbox = (*Outbox)(nil)

// NewOutbox returns the outbox in a database. It creates its tables.
func NewOutbox(ctx context.Context, db *sql.DB) (*Outbox, error) {
	m := ReadModel(db)
	if err := m.createTables(ctx); err != nil {
		return nil, fmt.Errorf("open outbox: %w", err)
	}
	return &Outbox{m}, nil
}

// Put puts events into the outbox, in the transaction of the change that they
// tell of: a relay appends them to the log if it commits, and in no other case.
// It writes a UUIDv7 into every empty Event.ID of the caller's slice. An event
// without a Time gets the one of this call. An [*leat.InvalidError] says what is
// wrong with an event.
func (o *Outbox) Put(ctx context.Context, tx *sql.Tx, events ...leat.Event) error {
	events, err := service.PreparePut(events)
	if err != nil {
		return fmt.Errorf("put into the outbox: %w", err)
	}
	for _, e := range events {
		meta, err := metajson.Encode(e.Meta)
		if err != nil {
			return fmt.Errorf("put into the outbox: %w", err)
		}
		_, err = Exec(ctx, tx, `insert into leat_outbox (stream, id, type, source, time, contenttype, data, meta) values (?, ?, ?, ?, ?, ?, ?, ?)`,
			e.Stream, e.ID, e.Type, e.Source, e.Time.UnixNano(), e.ContentType, e.Data, meta)
		if err != nil {
			return fmt.Errorf("put into the outbox: %w", err)
		}
	}
	if len(events) > 0 {
		o.hub.wake() // before the commit, but Take waits for it
	}
	return nil
}

// wake wakes the relays of this process.
func (h *hub) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for wake := range h.listeners {
		(*wake)()
	}
}

const outgoing = "number, stream, id, type, source, time, contenttype, data, meta"

// Take implements service.Outbox. It waits for a transaction that writes, so
// that it sees what has been put when it was woken.
func (o *Outbox) Take(ctx context.Context, name, owner string, ttl time.Duration, limit int, except []string) ([]service.Outgoing, error) {
	waits := "from leat_outbox where parked = 0 and stream not in (" + strings.TrimSuffix(strings.Repeat("?,", len(except)), ",") + ")"
	var args []any
	for _, stream := range except {
		args = append(args, stream)
	}
	var events []service.Outgoing
	err := o.synced(ctx, func(tx *sql.Tx) error {
		var some bool
		if err := tx.QueryRowContext(ctx, "select exists (select 1 "+waits+")", args...).Scan(&some); err != nil || !some {
			return err
		}
		if err := hold(ctx, tx, owner, ttl); err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, `
			select `+outgoing+`, exists (
				select 1 from leat_parked p where p.name = ? and p.stream = o.stream and p.discarded is null)
			from (
				select *, sum(length(data)) over (order by number) - length(data) as before
				from (select * `+waits+` order by number limit ?)) as o
			where before < ? order by number`, slices.Concat([]any{name}, args, []any{limit, service.OutboxBytes})...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var e service.Outgoing
			if err := scanOutgoing(rows, &e, &e.Behind); err != nil {
				return err
			}
			events = append(events, e)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("take from the outbox: %w", err)
	}
	return events, nil
}

// synced runs f in a transaction whose commit is synced to the disk if it writes,
// and with it all that were committed before.
func (o *Outbox) synced(ctx context.Context, f func(tx *sql.Tx) error) (failed error) {
	done, err := o.hub.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	c, err := o.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { failed = errors.Join(failed, c.Close()) }()
	const full = 2
	var synchronous int
	if err := c.QueryRowContext(ctx, "pragma synchronous").Scan(&synchronous); err != nil {
		return err
	}
	if synchronous < full {
		if _, err := c.ExecContext(ctx, "pragma synchronous = full"); err != nil {
			return err
		}
		defer func() {
			_, err := c.ExecContext(context.WithoutCancel(ctx), fmt.Sprintf("pragma synchronous = %d", synchronous))
			failed = errors.Join(failed, err)
		}()
	}
	tx, err := c.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing, else an error is returned already
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

func hold(ctx context.Context, tx *sql.Tx, owner string, ttl time.Duration) error {
	now := time.Now()
	until := now.Add(ttl).UnixNano()
	r, err := tx.ExecContext(ctx, `
		insert into leat_relay (id, owner, until) values (1, ?, ?)
		on conflict (id) do update set owner = excluded.owner, until = excluded.until
		where leat_relay.owner = excluded.owner or leat_relay.until < ? or leat_relay.until > ?`, owner, until, now.UnixNano(), until)
	if err != nil {
		return err
	}
	n, err := r.RowsAffected()
	if err == nil && n == 0 {
		return leat.ErrHeld
	}
	return err
}

type row interface{ Scan(into ...any) error }

func scanOutgoing(row row, e *service.Outgoing, more ...any) error {
	var number, at int64
	var meta string
	err := row.Scan(append([]any{&number, &e.Stream, &e.ID, &e.Type, &e.Source, &at, &e.ContentType, &e.Data, &meta}, more...)...)
	if err != nil {
		return err
	}
	e.Number, e.Time = uint64(number), time.Unix(0, at).UTC()
	e.Meta, err = metajson.Decode(meta)
	return err
}

// Find implements service.Outbox.
func (o *Outbox) Find(ctx context.Context, number uint64) (e service.Outgoing, found bool, err error) {
	err = scanOutgoing(o.db.QueryRowContext(ctx, "select "+outgoing+" from leat_outbox where number = ?", int64(number)), &e)
	if noRows(err) {
		return e, false, nil
	}
	if err != nil {
		return e, false, fmt.Errorf("read event %d of the outbox: %w", number, err)
	}
	return e, true, nil
}

// Settle implements service.Outbox.
func (o *Outbox) Settle(ctx context.Context, s service.Settlement) error {
	err := o.Transact(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := done(ctx, tx, s.Name, s.Done); err != nil {
			return err
		}
		for _, p := range s.Park {
			again := slices.ContainsFunc(s.Done, func(d service.Parked) bool { return d.Version == p.Version })
			r, err := Exec(ctx, tx, "update leat_outbox set parked = 1 where number = ? and parked = ?", int64(p.Version), again)
			if err != nil {
				return err
			}
			n, err := r.RowsAffected()
			if err != nil {
				return err
			}
			if n == 0 {
				continue // it is gone, or parked already
			}
			if err := park(ctx, tx, s.Name, []service.Parked{p}); err != nil {
				return err
			}
		}
		for _, number := range s.Sent {
			if _, err := Exec(ctx, tx, "delete from leat_outbox where number = ?", int64(number)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("settle the outbox: %w", err)
	}
	return nil
}

// Release implements service.Outbox.
func (o *Outbox) Release(ctx context.Context, owner string) error {
	err := o.Transact(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := Exec(ctx, tx, "delete from leat_relay where owner = ?", owner)
		return err
	})
	if err != nil {
		return fmt.Errorf("release the outbox: %w", err)
	}
	return nil
}

// Listen implements service.Outbox. It hears of what this process puts.
func (o *Outbox) Listen(ctx context.Context, wake func()) error {
	o.hub.mu.Lock()
	o.hub.listeners[&wake] = true
	o.hub.mu.Unlock()
	wake()
	<-ctx.Done()
	o.hub.mu.Lock()
	defer o.hub.mu.Unlock()
	delete(o.hub.listeners, &wake)
	return ctx.Err()
}

package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

// A Model is a service.ReadModel in a PostgreSQL database, and so also a
// service.CheckpointStore; and it is a service.ProcessStore and a
// service.SnapshotStore. It is safe for concurrent use.
type Model struct {
	pool *pgxpool.Pool

	ready    atomic.Bool   // the tables exist
	creating chan struct{} // held by who creates them
}

var (
	_ service.ReadModel[pgx.Tx] = (*Model)(nil)
	_ service.ProcessStore      = (*Model)(nil)
	_ service.SnapshotStore     = (*Model)(nil)
)

// ReadModel returns the read model in a database. It creates its tables when it
// first needs them.
func ReadModel(pool *pgxpool.Pool) *Model {
	return &Model{pool: pool, creating: make(chan struct{}, 1)}
}

// begin lets PostgreSQL end a transaction whose worker hangs. See the package
// comment.
const begin = "begin isolation level read committed; set local idle_in_transaction_session_timeout = 10000"

// rollbackTime is how long a transaction that failed has to be rolled back
// before its connection is closed.
const rollbackTime = 5 * time.Second

// Checkpoint implements service.CheckpointStore.
func (m *Model) Checkpoint(ctx context.Context, name string) (leat.Checkpoint, error) {
	c, err := m.checkpoint(ctx, name)
	if err != nil {
		return leat.Checkpoint{}, fmt.Errorf("read checkpoint of %q: %w", name, err)
	}
	return c, nil
}

func (m *Model) checkpoint(ctx context.Context, name string) (c leat.Checkpoint, err error) {
	if err := m.createTables(ctx); err != nil {
		return c, err
	}
	rows, err := m.pool.Query(ctx, `
		select a.log, a.epoch, c.shard, c.seq from leat_application a left join leat_checkpoint c using (name)
		where name = $1`, text(name))
	if err != nil {
		return c, err
	}
	var shard *string
	var seq *int64
	var epoch int64
	_, err = pgx.ForEachRow(rows, []any{&c.Log, &epoch, &shard, &seq}, func() error {
		c.Epoch = uint64(epoch)
		if shard != nil {
			c.Set(leat.ShardID(*shard), uint64(*seq))
		}
		return nil
	})
	c.Log = untext(c.Log)
	return c, err
}

// Applications implements service.CheckpointStore.
func (m *Model) Applications(ctx context.Context) ([]string, error) {
	names, err := m.applications(ctx)
	if err != nil {
		return nil, fmt.Errorf("list applications: %w", err)
	}
	return names, nil
}

func (m *Model) applications(ctx context.Context) ([]string, error) {
	if err := m.createTables(ctx); err != nil {
		return nil, err
	}
	rows, err := m.pool.Query(ctx, `
		select name from (select name from leat_application where log <> '' union select name from leat_parked) as names
		where name not like '$%'`)
	if err != nil {
		return nil, err
	}
	names, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var name string
		err := row.Scan(&name)
		return untext(name), err
	})
	slices.Sort(names)
	return names, err
}

// Save implements service.CheckpointStore.
func (m *Model) Save(ctx context.Context, s service.Step) error {
	return m.Commit(ctx, s, func(context.Context, pgx.Tx) error { return nil })
}

// Commit implements service.ReadModel.
func (m *Model) Commit(ctx context.Context, s service.Step, f func(ctx context.Context, tx pgx.Tx) error) error {
	err := m.transact(ctx, func(ctx context.Context, tx pgx.Tx) error {
		for _, s := range s.All() {
			if err := take(ctx, tx, s); err != nil {
				return err
			}
		}
		return nil
	}, f)
	if err != nil {
		return fmt.Errorf("commit step of %q: %w", s.Name, err)
	}
	return nil
}

// Transact runs f in a transaction of its own: for what Projection.Then marks as
// done, and other writes of the service. An error or panic of f rolls it back.
// Inside of another transaction of this package on the same pool it fails, as it
// would not be part of it.
func (m *Model) Transact(ctx context.Context, f func(ctx context.Context, tx pgx.Tx) error) error {
	return m.transact(ctx, func(context.Context, pgx.Tx) error { return nil }, f)
}

type inTxKey struct{}

// transact runs first and f in a transaction.
func (m *Model) transact(ctx context.Context, first, f func(ctx context.Context, tx pgx.Tx) error) error {
	if ctx.Value(inTxKey{}) == m.pool {
		return errors.New("begin transaction: the context is that of another on the same database; use the one it has")
	}
	if err := m.createTables(ctx); err != nil {
		return err
	}
	tx, err := m.pool.BeginTx(ctx, pgx.TxOptions{BeginQuery: begin})
	if err != nil {
		return err
	}
	q := &queuedTx{Tx: tx}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTime)
		defer cancel()
		q.await()            // after a panic
		_ = tx.Rollback(ctx) // after Commit it does nothing, else an error is returned already
	}()
	ctx = context.WithValue(ctx, inTxKey{}, m.pool)
	if err := first(ctx, tx); err != nil {
		return err
	}
	if err := q.judge(ctx, f(ctx, q)); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err // sooner than to commit, and not to know whether it happened
	}
	return judgeCommit(tx.Commit(ctx))
}

// take takes a step if the application stands where it begins.
func take(ctx context.Context, tx pgx.Tx, s service.Step) error {
	var writes pgx.Batch
	if s.Moves() || s.Whole {
		at, err := lock(ctx, tx, s)
		if err != nil {
			return err
		}
		if err := s.Check(at); err != nil {
			return err
		}
		move(&writes, s.Name, at, s.To)
	}
	settle(&writes, s)
	if writes.Len() == 0 {
		return nil
	}
	return tx.SendBatch(ctx, &writes).Close()
}

// lock returns where an application stands, as it will until the end of the
// transaction: all of it, or at least the shards of s.To when s leaves log and
// epoch alone.
//
// A step holds the rows of its shards. One that has no row yet for a shard,
// changes the epoch, or has all shards, holds that of the application besides.
// What changes the epoch has all shards, too, so between the two it excludes
// every other step. All take rows of shards in order, and that of the application
// last.
func lock(ctx context.Context, tx pgx.Tx, s service.Step) (leat.Checkpoint, error) {
	name := text(s.Name)
	shards := make([]string, 0, len(s.To.Seqs))
	for shard := range s.To.Seqs {
		shards = append(shards, string(shard))
	}
	slices.Sort(shards)
	var b pgx.Batch
	var at leat.Checkpoint
	b.Queue("select shard, seq from leat_checkpoint where name = $1 and shard = any($2) order by shard for update", name, shards).
		Query(func(rows pgx.Rows) error { return scanShards(rows, &at) })
	b.Queue("select log, epoch from leat_application where name = $1", name).
		QueryRow(func(row pgx.Row) error { return scanApplication(row, &at) })
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return at, err
	}
	if !s.Whole && len(at.Seqs) == len(shards) && at.Log == s.To.Log && at.Epoch == s.To.Epoch {
		return at, nil
	}
	b, at = pgx.Batch{}, leat.Checkpoint{}
	b.Queue("insert into leat_application (name, log, epoch) values ($1, '', 0) on conflict (name) do nothing", name)
	b.Queue("select log, epoch from leat_application where name = $1 for update", name).
		QueryRow(func(row pgx.Row) error { return scanApplication(row, &at) })
	b.Queue("select shard, seq from leat_checkpoint where name = $1", name).
		Query(func(rows pgx.Rows) error { return scanShards(rows, &at) })
	return at, tx.SendBatch(ctx, &b).Close()
}

func scanApplication(row pgx.Row, at *leat.Checkpoint) error {
	var epoch int64
	err := row.Scan(&at.Log, &epoch)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	at.Log, at.Epoch = untext(at.Log), uint64(epoch)
	return err
}

func scanShards(rows pgx.Rows, at *leat.Checkpoint) error {
	var shard string
	var seq int64
	_, err := pgx.ForEachRow(rows, []any{&shard, &seq}, func() error {
		at.Set(leat.ShardID(shard), uint64(seq))
		return nil
	})
	return err
}

// move writes what differs between two checkpoints.
func move(b *pgx.Batch, name string, from, to leat.Checkpoint) {
	if from.Log != to.Log || from.Epoch != to.Epoch {
		b.Queue("update leat_application set log = $2, epoch = $3 where name = $1", text(name), text(to.Log), int64(to.Epoch))
	}
	for _, shard := range slices.Sorted(maps.Keys(to.Seqs)) {
		if seq, known := from.Seqs[shard]; known && seq == to.Seqs[shard] {
			continue
		}
		b.Queue(`insert into leat_checkpoint (name, shard, seq) values ($1, $2, $3)
			on conflict (name, shard) do update set seq = excluded.seq`, text(name), string(shard), int64(to.Seqs[shard]))
	}
}

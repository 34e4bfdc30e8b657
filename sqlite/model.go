package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"weak"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

// A Model is a service.ReadModel in a SQLite database, and so also a
// service.CheckpointStore; and it is a service.ProcessStore and a
// service.SnapshotStore. It is safe for concurrent use.
type Model struct {
	db       *sql.DB
	hub      *hub
	prepared prepared

	ready    atomic.Bool   // the tables exist
	creating chan struct{} // held by who creates them
}

var (
	_ service.ReadModel[*sql.Tx] = (*Model)(nil)
	_ service.ProcessStore       = (*Model)(nil)
	_ service.SnapshotStore      = (*Model)(nil)
)

// ReadModel returns the read model in a database, which is best one that Open
// has opened. It creates its tables when it first needs them.
func ReadModel(db *sql.DB) *Model {
	return &Model{db: db, hub: hubOf(db), prepared: prepared{db: db}, creating: make(chan struct{}, 1)}
}

// A hub is what all who use a database in this process share.
type hub struct {
	writer chan struct{} // held by who writes: they queue up, where SQLite would let them poll

	mu        sync.Mutex
	listeners map[*func()]bool // called when events are put into the outbox
}

// hubs holds the hub of each database that is in use.
var hubs sync.Map // weak.Pointer[sql.DB] to *hub

func hubOf(db *sql.DB) *hub {
	key := weak.Make(db)
	h, known := hubs.LoadOrStore(key, &hub{writer: make(chan struct{}, 1), listeners: make(map[*func()]bool)})
	if !known {
		runtime.AddCleanup(db, func(key weak.Pointer[sql.DB]) { hubs.Delete(key) }, key)
	}
	return h.(*hub)
}

// turn waits for the caller's turn to write. done ends it.
func (h *hub) turn(ctx context.Context) (done func(), err error) {
	select {
	case h.writer <- struct{}{}:
		return func() { <-h.writer }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

const tables = `
create table if not exists leat_application (
	name  text not null primary key,
	log   text not null,
	epoch integer not null
) without rowid;
create table if not exists leat_checkpoint (
	name  text not null,
	shard text not null,
	seq   integer not null,
	primary key (name, shard)
) without rowid;
create table if not exists leat_parked (
	name      text not null,
	stream    text not null,
	version   integer not null,
	shard     text not null,
	seq       integer not null,
	id        text not null,
	type      text not null,
	error     text not null,
	attempts  integer not null,
	at        integer not null,
	retry     integer not null default 0,
	discarded integer,
	reason    text not null default '',
	primary key (name, stream, version)
) without rowid;
create index if not exists leat_parked_waits on leat_parked (name, stream) where discarded is null;
create table if not exists leat_timer (
	name    text not null,
	stream  text not null,
	timer   text not null,
	epoch   integer not null default 0,
	version integer not null,
	key     blob not null,
	due     integer not null,
	primary key (name, stream, timer)
) without rowid;
create index if not exists leat_timer_due on leat_timer (name, due);
create table if not exists leat_snapshot (
	stream  text not null,
	reducer text not null,
	data    blob not null,
	primary key (stream, reducer)
);
create table if not exists leat_outbox (
	number      integer primary key autoincrement,
	stream      text not null,
	id          text not null,
	type        text not null,
	source      text not null,
	time        integer not null,
	contenttype text not null,
	data        blob not null,
	meta        text not null,
	parked      integer not null default 0
);
create index if not exists leat_outbox_waits on leat_outbox (number) where parked = 0;
create table if not exists leat_relay (
	id    integer primary key,
	owner text not null,
	until integer not null
);`

// Checkpoint implements service.CheckpointStore.
func (m *Model) Checkpoint(ctx context.Context, name string) (leat.Checkpoint, error) {
	c, err := m.checkpoint(ctx, name)
	if err != nil {
		return leat.Checkpoint{}, fmt.Errorf("read checkpoint of %q: %w", name, err)
	}
	return c, nil
}

func (m *Model) checkpoint(ctx context.Context, name string) (c leat.Checkpoint, err error) {
	const query = `select a.log, a.epoch, c.shard, c.seq
		from leat_application a left join leat_checkpoint c using (name) where name = ?`
	err = m.read(ctx, func(rows *sql.Rows) error {
		var epoch int64
		var shard sql.NullString
		var seq sql.NullInt64
		if err := rows.Scan(&c.Log, &epoch, &shard, &seq); err != nil {
			return err
		}
		c.Epoch = uint64(epoch)
		if shard.Valid {
			c.Set(leat.ShardID(shard.String), uint64(seq.Int64))
		}
		return nil
	}, query, name)
	return c, err
}

// read calls scan for each row of a query, as it is committed. It waits for nobody
// who writes.
func (m *Model) read(ctx context.Context, scan func(*sql.Rows) error, query string, args ...any) error {
	if err := m.createTables(ctx); err != nil {
		return err
	}
	rows, err := m.db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Applications implements service.CheckpointStore.
func (m *Model) Applications(ctx context.Context) ([]string, error) {
	var names []string
	err := m.read(ctx, func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		names = append(names, name)
		return err
	}, `select name from (select name from leat_application union select name from leat_parked)
		where name not like '$%' order by name`)
	if err != nil {
		return nil, fmt.Errorf("list applications: %w", err)
	}
	return names, nil
}

// Save implements service.CheckpointStore.
func (m *Model) Save(ctx context.Context, s service.Step) error {
	return m.Commit(ctx, s, func(context.Context, *sql.Tx) error { return nil })
}

// Commit implements service.ReadModel. The context that f gets makes Exec, Query
// and QueryRow use prepared statements.
func (m *Model) Commit(ctx context.Context, s service.Step, f func(ctx context.Context, tx *sql.Tx) error) error {
	err := m.Transact(ctx, func(ctx context.Context, tx *sql.Tx) error {
		// The steps go first: should SQLite roll back by itself while f runs, as
		// it does when the disk is full, what comes after would be written alone.
		for _, s := range s.All() {
			if err := take(ctx, tx, s); err != nil {
				return err
			}
		}
		return f(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("commit step of %q: %w", s.Name, err)
	}
	return nil
}

// take takes a step if the application stands where it begins.
func take(ctx context.Context, tx *sql.Tx, s service.Step) error {
	at, err := stored(ctx, tx, s.Name)
	if err != nil {
		return err
	}
	if err := s.Check(at); err != nil {
		return err
	}
	if err := move(ctx, tx, s.Name, at, s.To); err != nil {
		return err
	}
	if err := done(ctx, tx, s.Name, s.Done); err != nil {
		return err
	}
	return park(ctx, tx, s.Name, s.Park)
}

// Transact runs f in a transaction of its own, in turn with those of the
// projections on this database: for what Projection.Then marks as done, and
// other writes of the service. An error or panic of f rolls it back. Inside of
// another transaction on this database it fails, as it would wait for itself.
func (m *Model) Transact(ctx context.Context, f func(ctx context.Context, tx *sql.Tx) error) error {
	if in, _ := ctx.Value(inTxKey{}).(*inTx); in != nil && in.prepared.db == m.db {
		return errors.New("begin transaction: the context is that of another on the same database; use the one it has")
	}
	done, err := m.hub.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := m.createTables(ctx); err != nil {
		return err
	}
	m.prepared.prepare(ctx)
	tx, err := m.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing, else an error is returned already
	in := &inTx{tx: tx, prepared: &m.prepared, queries: make(map[string]*sql.Stmt)}
	if err := f(context.WithValue(ctx, inTxKey{}, in), tx); err != nil {
		return err
	}
	err = tx.Commit()
	if errors.Is(err, sql.ErrTxDone) && ctx.Err() != nil {
		return ctx.Err() // which ended the transaction first
	}
	return err
}

func (m *Model) createTables(ctx context.Context) error {
	if m.ready.Load() {
		return nil
	}
	select {
	case m.creating <- struct{}{}:
		defer func() { <-m.creating }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if m.ready.Load() {
		return nil
	}
	if err := createTables(ctx, m.db); err != nil {
		return fmt.Errorf("create tables: %w", err)
	}
	m.ready.Store(true)
	return nil
}

// allExist reports whether everything in tables is there: what came last is.
const allExist = `select exists (select 1 from pragma_table_info('leat_timer') where name = 'epoch')
	and exists (select 1 from sqlite_schema where name = 'leat_relay')`

// createTables creates the tables, and adds what those of an earlier version
// lack. When there is nothing to do it waits for nobody who writes.
func createTables(ctx context.Context, db *sql.DB) error {
	var exist bool
	if err := db.QueryRowContext(ctx, allExist).Scan(&exist); err != nil || exist {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing, else an error is returned already
	if _, err := tx.ExecContext(ctx, tables); err != nil {
		return err
	}
	if err := tx.QueryRowContext(ctx, allExist).Scan(&exist); err != nil {
		return err
	}
	if !exist {
		if _, err := tx.ExecContext(ctx, "alter table leat_timer add column epoch integer not null default 0"); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// stored returns the checkpoint of an application.
func stored(ctx context.Context, tx *sql.Tx, name string) (c leat.Checkpoint, err error) {
	var epoch int64
	err = QueryRow(ctx, tx, "select log, epoch from leat_application where name = ?", name).Scan(&c.Log, &epoch)
	if noRows(err) {
		return leat.Checkpoint{}, nil
	}
	if err != nil {
		return c, err
	}
	c.Epoch = uint64(epoch)
	rows, err := Query(ctx, tx, "select shard, seq from leat_checkpoint where name = ?", name)
	if err != nil {
		return c, err
	}
	defer rows.Close()
	for rows.Next() {
		var shard string
		var seq int64
		if err := rows.Scan(&shard, &seq); err != nil {
			return c, err
		}
		c.Set(leat.ShardID(shard), uint64(seq))
	}
	return c, rows.Err()
}

// move writes what differs between two checkpoints.
func move(ctx context.Context, tx *sql.Tx, name string, from, to leat.Checkpoint) error {
	if to.IsZero() {
		return nil
	}
	if from.Log != to.Log || from.Epoch != to.Epoch {
		if _, err := Exec(ctx, tx, `insert into leat_application (name, log, epoch) values (?, ?, ?)
			on conflict (name) do update set log = excluded.log, epoch = excluded.epoch`, name, to.Log, int64(to.Epoch)); err != nil {
			return err
		}
	}
	for _, shard := range slices.Sorted(maps.Keys(to.Seqs)) {
		seq, known := from.Seqs[shard]
		if known && seq == to.Seqs[shard] {
			continue
		}
		if _, err := Exec(ctx, tx, `insert into leat_checkpoint (name, shard, seq) values (?, ?, ?)
			on conflict (name, shard) do update set seq = excluded.seq`, name, string(shard), int64(to.Seqs[shard])); err != nil {
			return err
		}
	}
	return nil
}

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/pgtest"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/postgres"
	"github.com/leathq/leat/service"
)

// Processes that start at the same time create the tables once.
func TestTablesAreCreatedOnceByMany(t *testing.T) {
	url := pgtest.Database(t)
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		m := postgres.ReadModel(open(t, url))
		wg.Go(func() {
			<-begin
			if _, err := m.Checkpoint(t.Context(), "stock"); err != nil {
				t.Error(err)
			}
		})
	}
	close(begin)
	wg.Wait()
}

func TestWhoMayNotCreateTables(t *testing.T) {
	url := pgtest.Database(t)
	owner := open(t, url)
	exec(t, owner, "create role guest login; grant usage on schema "+schema(owner)+" to guest")
	guest := postgres.ReadModel(open(t, strings.Replace(url, "user=leat", "user=guest", 1)))
	_, err := guest.Checkpoint(t.Context(), "stock")
	if err == nil || !strings.Contains(err.Error(), "permission denied") || !strings.Contains(err.Error(), "postgres.Tables") {
		t.Errorf("error %v, want that it may not create tables, and what to do", err)
	}
	exec(t, owner, postgres.Tables+"grant select, insert, update, delete on all tables in schema "+schema(owner)+" to guest")
	to := leat.Checkpoint{Log: "L", Epoch: 1}
	if err := guest.Save(t.Context(), service.Step{Name: "stock", To: to}); err != nil {
		t.Errorf("with tables that somebody else created: %v", err)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	url := pgtest.Database(t)
	for name, c := range map[string]struct{ url, want string }{
		"no such database": {strings.Replace(url, "dbname=", "dbname=un", 1), "unpostgres"},
		"no such server":   {"postgres://leat:geheim@127.0.0.1:1/stock", "127.0.0.1"},
		"no URL":           {"postgres://leat:geheim@127.0.0.1:port/stock", "port"},
	} {
		_, err := postgres.Open(t.Context(), c.url)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v, want an error that names %s, and no password", name, err, c.want)
		}
	}
	admin := open(t, url)
	exec(t, admin, "create database ascii encoding 'SQL_ASCII' template template0")
	_, err := postgres.ReadModel(open(t, strings.Split(url, " dbname")[0]+" dbname=ascii")).Checkpoint(t.Context(), "stock")
	if !errors.Is(err, leat.ErrInvalid) || !strings.Contains(err.Error(), "UTF8") {
		t.Errorf("a database that is not in UTF8: %v, want ErrInvalid", err)
	}
}

func shardStep(shard int, from, to uint64) service.Step {
	s := service.Step{Name: "stock", From: leat.Checkpoint{Log: "L", Epoch: 1}, To: leat.Checkpoint{Log: "L", Epoch: 1}}
	s.From.Set(leat.ShardNumber(shard), from)
	s.To.Set(leat.ShardNumber(shard), to)
	return s
}

// A transaction on one shard does not hold up one on another.
func TestShardsDoNotWaitForEachOther(t *testing.T) {
	pool := create(t, "create table n (n int)")
	m := postgres.ReadModel(pool)
	begin(t, m)
	err := m.Commit(t.Context(), shardStep(0, 1, 2), func(context.Context, pgx.Tx) error {
		return postgres.ReadModel(pool).Save(t.Context(), shardStep(1, 1, 2))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// begin lets stock stand at 1 in shards 0 and 1.
func begin(t testing.TB, m *postgres.Model) {
	t.Helper()
	both := leat.Checkpoint{Log: "L", Epoch: 1}
	both.Set(leat.ShardNumber(0), 1)
	both.Set(leat.ShardNumber(1), 1)
	if err := m.Save(t.Context(), service.Step{Name: "stock", To: both}); err != nil {
		t.Fatal(err)
	}
}

// A statement that fails takes the transaction with it, but not to begin with
// when it is run in a savepoint.
func TestAHandlerGoesOnAfterASavepoint(t *testing.T) {
	pool := create(t, "create table n (n int primary key)")
	m := postgres.ReadModel(pool)
	begin(t, m)
	insert := func(ctx context.Context, tx pgx.Tx) error {
		return pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { return postgres.Queue(ctx, tx, "insert into n values (1)") })
	}
	err := m.Commit(t.Context(), shardStep(0, 1, 2), func(ctx context.Context, tx pgx.Tx) error {
		if err := insert(ctx, tx); err != nil {
			return err
		}
		if err := insert(ctx, tx); err == nil {
			t.Error("inserting twice succeeds")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Commit(t.Context(), shardStep(0, 2, 3), func(ctx context.Context, tx pgx.Tx) error { return tx.Commit(ctx) }); err == nil {
		t.Error("a handler may end the transaction")
	}
}

// What is queued is seen by everything that comes after it.
func TestQueuedStatementsAreSeen(t *testing.T) {
	pool := create(t, "create table n (n int)")
	m := postgres.ReadModel(pool)
	err := m.Transact(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		want := 0
		for name, count := range map[string]func() (int, error){
			"QueryRow": func() (n int, err error) {
				err = tx.QueryRow(ctx, "select count(*) from n").Scan(&n)
				return n, err
			},
			"Query": func() (int, error) {
				rows, err := tx.Query(ctx, "select count(*) from n")
				if err != nil {
					return 0, err
				}
				return pgx.CollectExactlyOneRow(rows, pgx.RowTo[int])
			},
			"Exec": func() (int, error) {
				tag, err := tx.Exec(ctx, "update n set n = n")
				return int(tag.RowsAffected()), err
			},
			"SendBatch": func() (n int, err error) {
				var b pgx.Batch
				b.Queue("update n set n = n").Exec(func(tag pgconn.CommandTag) error {
					n = int(tag.RowsAffected())
					return nil
				})
				return n, tx.SendBatch(ctx, &b).Close()
			},
			"CopyFrom": func() (n int, err error) {
				if _, err = tx.CopyFrom(ctx, pgx.Identifier{"n"}, []string{"n"}, pgx.CopyFromRows([][]any{{1}})); err != nil {
					return 0, err
				}
				want++
				err = tx.QueryRow(ctx, "select count(*) from n").Scan(&n)
				return n, err
			},
		} {
			for range 600 { // more than are sent at a time
				if err := postgres.Queue(ctx, tx, "insert into n values ($1)", want); err != nil {
					return err
				}
				want++
			}
			if n, err := count(); err != nil || n != want {
				t.Errorf("%s sees %d rows, %v; want %d", name, n, err, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A handler's error is told late by queued statements, by deferred constraints,
// and by those who pass over it. The event to blame is parked and no other.
func TestTheEventToBlameIsFound(t *testing.T) {
	const bad = "stock-13"
	for name, apply := range map[string]func(context.Context, pgx.Tx, leat.Recorded) error{
		"queued": func(ctx context.Context, tx pgx.Tx, r leat.Recorded) error {
			return postgres.Queue(ctx, tx, "insert into n values ($1, 100 / $2)", r.Stream, len(r.Data)-1)
		},
		"queued, and read by the next": func(ctx context.Context, tx pgx.Tx, r leat.Recorded) error {
			var n int
			if err := tx.QueryRow(ctx, "select count(*) from n").Scan(&n); err != nil {
				return service.Permanent(err)
			}
			return postgres.Queue(ctx, tx, "insert into n values ($1, 100 / $2)", r.Stream, len(r.Data)-1)
		},
		"an argument that cannot be sent": func(ctx context.Context, tx pgx.Tx, r leat.Recorded) error {
			var arg any = len(r.Data)
			if r.Stream == bad {
				arg = "no number"
			}
			return postgres.Queue(ctx, tx, "insert into n values ($1, $2::int)", r.Stream, arg)
		},
		"passed over": func(ctx context.Context, tx pgx.Tx, r leat.Recorded) error {
			_, err := tx.Exec(ctx, "insert into n values ($1, 100 / $2)", r.Stream, len(r.Data)-1)
			if state, ok := errors.AsType[*pgconn.PgError](err); ok && state.Code == "22012" {
				return nil // division by zero
			}
			return service.Permanent(err)
		},
		"deferred": func(ctx context.Context, tx pgx.Tx, r leat.Recorded) error {
			_, err := tx.Exec(ctx, "insert into n values ($1, $2)", r.Stream, len(r.Data)-1)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			pool := create(t, `
				create table good (n int primary key); insert into good values (1);
				create table n (stream text, n int)`)
			if name == "deferred" {
				exec(t, pool, "alter table n add foreign key (n) references good deferrable initially deferred")
			}
			log, err := leattest.New(leat.Config{}, time.Now)
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			const streams = 40
			for i := range streams {
				e := leat.Event{Stream: fmt.Sprintf("stock-%d", i), Type: "Received", Source: "test", Data: []byte("{}")}
				if e.Stream == bad {
					e.Data = []byte("1")
				}
				if _, err := log.Append(t.Context(), []leat.Event{e}); err != nil {
					t.Fatal(err)
				}
			}
			m := postgres.ReadModel(pool)
			app, err := service.NewApp(service.Config{Log: log, Retry: service.Retry{Attempts: 2, First: time.Millisecond}},
				service.Projection[pgx.Tx]{Name: "stock", Into: m, Apply: apply})
			if err != nil {
				t.Fatal(err)
			}
			runUntilCaughtUp(t, app, log)
			parked, err := m.Parked(t.Context(), "stock", "")
			if err != nil || len(parked) != 1 || parked[0].Stream != bad || parked[0].Error == "" {
				t.Errorf("parked are %+v, %v; want %s alone", parked, err, bad)
			}
			var n int
			if err := pool.QueryRow(t.Context(), "select count(distinct stream) from n").Scan(&n); err != nil || n != streams-1 {
				t.Errorf("%d streams are applied, %v; want %d", n, err, streams-1)
			}
		})
	}
}

func runUntilCaughtUp(t testing.TB, app *service.App, log leat.Log) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	to, err := leat.Start(ctx, log, leat.Now)
	if err != nil {
		t.Error(err)
	}
	if err := app.WaitCaughtUp(ctx, to); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// However often the database takes a transaction away, no event is parked for
// it.
func TestTheDatabaseIsToBlame(t *testing.T) {
	pool := create(t, "create table n (stream text primary key)")
	admin := open(t, pool.Config().ConnString())
	log, err := leattest.New(leat.Config{}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, err := log.Append(t.Context(), []leat.Event{{Stream: "stock-1", Type: "Received", Source: "test"}}); err != nil {
		t.Fatal(err)
	}
	failures := []func(ctx context.Context, tx pgx.Tx) error{
		func(ctx context.Context, tx pgx.Tx) error { // as by an administrator, or a server that stops
			exec(t, admin, fmt.Sprintf("select pg_terminate_backend(%d)", tx.Conn().PgConn().PID()))
			return tx.QueryRow(ctx, "select pg_sleep(60)").Scan(nil)
		},
		func(ctx context.Context, tx pgx.Tx) error { // as by a network, and the handler says something else
			_ = tx.Conn().Close(ctx)
			return service.Permanent(errors.New("no luck"))
		},
		func(ctx context.Context, tx pgx.Tx) error { // a deadlock, as PostgreSQL tells it
			_, err := tx.Exec(ctx, "do $$ begin raise exception 'deadlock' using errcode = '40P01'; end $$")
			return service.Permanent(err)
		},
		func(ctx context.Context, tx pgx.Tx) error { // queued
			return postgres.Queue(ctx, tx, "do $$ begin raise exception 'full' using errcode = '53100'; end $$")
		},
	}
	m := postgres.ReadModel(pool)
	app, err := service.NewApp(service.Config{Log: log, Retry: service.Retry{Attempts: 2, First: time.Millisecond}},
		service.Projection[pgx.Tx]{Name: "stock", Into: m, Apply: func(ctx context.Context, tx pgx.Tx, r leat.Recorded) error {
			if len(failures) > 0 {
				fail := failures[0]
				failures = failures[1:]
				return fail(ctx, tx)
			}
			return postgres.Queue(ctx, tx, "insert into n values ($1)", r.Stream)
		}})
	if err != nil {
		t.Fatal(err)
	}
	runUntilCaughtUp(t, app, log)
	parked, err := m.Parked(t.Context(), "stock", "")
	if err != nil || len(parked) > 0 {
		t.Errorf("parked are %+v, %v; want none", parked, err)
	}
	var streams []string
	rows, err := pool.Query(t.Context(), "select stream from n")
	if err == nil {
		streams, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err != nil || !slices.Equal(streams, []string{"stock-1"}) {
		t.Errorf("applied are %q, %v; want stock-1", streams, err)
	}
}

// A worker that hangs in a transaction does not keep its shard for ever.
func TestAHangingTransactionIsEnded(t *testing.T) {
	pool := create(t, "create table n (n int)")
	m := postgres.ReadModel(pool)
	err := m.Transact(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		var timeout string
		err := tx.QueryRow(ctx, "show idle_in_transaction_session_timeout").Scan(&timeout)
		if err == nil && timeout != "10s" {
			t.Errorf("a transaction may idle for %s, want 10s", timeout)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var timeout string
	if err := pool.QueryRow(t.Context(), "show idle_in_transaction_session_timeout").Scan(&timeout); err != nil || timeout != "0" {
		t.Errorf("transactions of others may idle for %s, %v; want no bound", timeout, err)
	}
}

// A transaction inside another would not be part of it.
func TestTransactRefusesToBeNested(t *testing.T) {
	pool := create(t, "create table n (n int)")
	m, other := postgres.ReadModel(pool), postgres.ReadModel(pool)
	err := m.Transact(t.Context(), func(ctx context.Context, _ pgx.Tx) error {
		return other.Save(ctx, service.Step{Name: "h"})
	})
	if err == nil || !strings.Contains(err.Error(), "same database") {
		t.Errorf("a transaction in a transaction: %v, want an error that says so", err)
	}
}

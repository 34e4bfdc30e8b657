//go:build unix

package postgres_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/killtest"
	"github.com/leathq/leat/internal/pgtest"
	"github.com/leathq/leat/internal/proxy"
	"github.com/leathq/leat/postgres"
	"github.com/leathq/leat/service"
)

// envDatabase tells a worker its database.
const envDatabase = "LEAT_POSTGRES_TEST_DATABASE"

const countTables = `
	create table seen (stream text, version bigint, primary key (stream, version));
	create table counted (stream text primary key, events bigint not null);
	create table total (id int primary key, events bigint not null); insert into total values (1, 0)`

func init() { killtest.Main(work, workOutbox) }

// work is what a worker does: it counts events, in order, by stream and in all.
func work(ctx context.Context) error {
	pool, err := openAtLast(ctx, os.Getenv(envDatabase))
	if err != nil {
		return err
	}
	defer pool.Close()
	return killtest.Work(ctx, service.Projection[pgx.Tx]{
		Into: postgres.ReadModel(pool),
		Apply: func(ctx context.Context, tx pgx.Tx, r leat.Recorded) error {
			if r.Version > 1 {
				var before bool
				err := tx.QueryRow(ctx, "select exists (select from seen where stream = $1 and version = $2)", r.Stream, r.Version-1).Scan(&before)
				if err != nil {
					return err
				}
				if !before {
					return service.Permanent(fmt.Errorf("version %d of %s before the one in front", r.Version, r.Stream))
				}
			}
			if err := postgres.Queue(ctx, tx, "insert into seen values ($1, $2)", r.Stream, r.Version); err != nil {
				return err
			}
			if err := postgres.Queue(ctx, tx, `insert into counted values ($1, 1)
				on conflict (stream) do update set events = counted.events + 1`, r.Stream); err != nil {
				return err
			}
			return postgres.Queue(ctx, tx, "update total set events = events + 1")
		},
	})
}

// openAtLast waits for a database that is away just now.
func openAtLast(ctx context.Context, url string) (pool *pgxpool.Pool, err error) {
	for range 200 {
		if pool, err = postgres.Open(ctx, url); err == nil {
			return pool, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil, err
}

// Workers are killed, stopped and cut off, PostgreSQL crashes and starts again:
// each event is counted once.
func TestExactlyOnceWhateverIsKilled(t *testing.T) {
	server := pgtest.Start(t)
	url := server.Database(t)
	pool := open(t, url)
	exec(t, pool, countTables)
	at, troubles := through(t, server, url)
	killtest.Run(t, killtest.Database{
		Env: []string{envDatabase + "=" + at}, Troubles: troubles, Parked: postgres.ReadModel(pool).Parked,
		Counts: func(ctx context.Context) (map[string]uint64, error) {
			rows, err := pool.Query(ctx, "select stream, events, (select events from total) from counted")
			if err != nil {
				return nil, err
			}
			counts := make(map[string]uint64)
			var stream string
			var events, total, sum uint64
			_, err = pgx.ForEachRow(rows, []any{&stream, &events, &total}, func() error {
				counts[stream] = events
				sum += events
				return nil
			})
			if err == nil && sum != total {
				t.Errorf("%d events are counted by stream and %d in all", sum, total)
			}
			return counts, err
		},
	})
}

// through returns the connection string of a database through a proxy, and what
// happens to it.
func through(t *testing.T, server *pgtest.Server, url string) (at string, troubles []killtest.Trouble) {
	t.Helper()
	behind := proxy.New(t, "unix", server.Socket())
	host, port, err := net.SplitHostPort(behind.Address)
	if err != nil {
		t.Fatal(err)
	}
	pool := open(t, server.URL("postgres"))
	restart := func(signal os.Signal) func() {
		return func() {
			server.Stop(signal)
			server.Run(t)
		}
	}
	return fmt.Sprintf("%s host=%s port=%s", url, host, port), []killtest.Trouble{
		{Name: "PostgreSQL is killed", Do: restart(syscall.SIGKILL)},
		{Name: "PostgreSQL is stopped at once", Do: restart(syscall.SIGQUIT)},
		{Name: "PostgreSQL is restarted", Do: restart(syscall.SIGINT)},
		{Name: "connections to PostgreSQL are cut", Do: behind.Cut},
		{Name: "a backend is killed", Do: func() {
			var pid int
			err := pool.QueryRow(t.Context(), "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() limit 1").Scan(&pid)
			if err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL) // all others end with it, and the log is replayed
			}
		}},
	}
}

// workOutbox is what a worker does that has an outbox.
func workOutbox(ctx context.Context) error {
	pool, err := openAtLast(ctx, os.Getenv(envDatabase))
	if err != nil {
		return err
	}
	defer pool.Close()
	outbox, err := openOutboxAtLast(ctx, pool)
	if err != nil {
		return err
	}
	return killtest.WorkOutbox(ctx, outbox, func(ctx context.Context, stream string) error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			var n int
			err := tx.QueryRow(ctx, "insert into number values ($1, 1) on conflict (stream) do update set n = number.n + 1 returning n", stream).Scan(&n)
			if err != nil {
				return err
			}
			return outbox.Put(ctx, tx, leat.Event{Stream: stream, Type: "Changed", Source: "test", Data: []byte(strconv.Itoa(n))})
		})
	})
}

func openOutboxAtLast(ctx context.Context, pool *pgxpool.Pool) (o *postgres.Outbox, err error) {
	for range 200 {
		if o, err = postgres.NewOutbox(ctx, pool); err == nil {
			return o, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil, err
}

// Services and relays are killed, stopped and cut off, PostgreSQL crashes and
// starts again: the log has an event for each change, once and in order.
func TestOutboxWhateverIsKilled(t *testing.T) {
	server := pgtest.Start(t)
	url := server.Database(t)
	pool := open(t, url)
	exec(t, pool, "create table number (stream text primary key, n bigint not null)")
	at, troubles := through(t, server, url)
	killtest.RunOutbox(t, killtest.Office{
		Env: []string{envDatabase + "=" + at}, Outbox: openOutbox(t, pool), Troubles: troubles,
		Numbers: func(ctx context.Context) (map[string]uint64, error) {
			rows, err := pool.Query(ctx, "select stream, n from number")
			if err != nil {
				return nil, err
			}
			numbers := make(map[string]uint64)
			var stream string
			var n uint64
			_, err = pgx.ForEachRow(rows, []any{&stream, &n}, func() error {
				numbers[stream] = n
				return nil
			})
			return numbers, err
		},
	})
}

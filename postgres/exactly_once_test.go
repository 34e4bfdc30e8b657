//go:build unix

package postgres_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/killtest"
	"github.com/leathq/leat/internal/pgtest"
	"github.com/leathq/leat/postgres"
	"github.com/leathq/leat/service"
)

// envDatabase tells a worker its database.
const envDatabase = "LEAT_POSTGRES_TEST_DATABASE"

const countTables = `
	create table seen (stream text, version bigint, primary key (stream, version));
	create table counted (stream text primary key, events bigint not null);
	create table total (id int primary key, events bigint not null); insert into total values (1, 0)`

func init() {
	if killtest.IsWorker() {
		fmt.Fprintln(os.Stderr, work())
		os.Exit(1)
	}
}

// work is what a worker does: it counts events, in order, by stream and in all.
func work() error {
	pool, err := openAtLast(os.Getenv(envDatabase))
	if err != nil {
		return err
	}
	defer pool.Close()
	return killtest.Work(service.Projection[pgx.Tx]{
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
func openAtLast(url string) (pool *pgxpool.Pool, err error) {
	for range 200 {
		if pool, err = postgres.Open(context.Background(), url); err == nil {
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
	proxy := killtest.NewProxy(t, "unix", server.Socket())
	host, port, err := net.SplitHostPort(proxy.Address)
	if err != nil {
		t.Fatal(err)
	}
	restart := func(signal os.Signal) func() {
		return func() {
			server.Stop(signal)
			server.Run(t)
		}
	}
	killtest.Run(t, killtest.Database{
		Env: []string{envDatabase + "=" + fmt.Sprintf("%s host=%s port=%s", url, host, port)},
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
		Troubles: []killtest.Trouble{
			{Name: "PostgreSQL is killed", Do: restart(syscall.SIGKILL)},
			{Name: "PostgreSQL is stopped at once", Do: restart(syscall.SIGQUIT)},
			{Name: "PostgreSQL is restarted", Do: restart(syscall.SIGINT)},
			{Name: "connections to PostgreSQL are cut", Do: proxy.Cut},
			{Name: "a backend is killed", Do: func() {
				var pid int
				err := pool.QueryRow(t.Context(), "select pid from pg_stat_activity where client_addr is null and backend_type = 'client backend' and pid <> pg_backend_pid() limit 1").Scan(&pid)
				if err == nil {
					_ = syscall.Kill(pid, syscall.SIGKILL) // all others end with it, and the log is replayed
				}
			}},
		},
	})
}

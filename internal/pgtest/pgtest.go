package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/leathq/leat/internal/pgbin"
)

const startTime = 2 * time.Minute // within which a server must answer, on a busy machine

// A Server is a PostgreSQL server. Its methods may be called by one goroutine at
// a time.
type Server struct {
	cluster   *pgbin.Cluster
	dir       string
	databases int // how many there were
	starts    int // how often it was started

	process *os.Process
	exited  chan struct{} // closed when the process has
}

// initialise makes the directory of a server that has not started: not the
// test's own, which another user could not reach, and the name of a socket is
// short.
func initialise() (*Server, error) {
	dir, err := os.MkdirTemp("", "leat-pg")
	if err != nil {
		return nil, err
	}
	cluster, err := pgbin.Initialise(context.Background(), dir, "leat")
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &Server{cluster: cluster, dir: dir}, nil
}

// Start starts a server, which ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := initialise()
	if errors.Is(err, pgbin.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.close() })
	s.Run(t)
	return s
}

// shared is the server that tests share.
var shared struct {
	sync.Mutex
	*Server
}

// Database returns the connection string of an empty database on the server that
// tests share.
func Database(t testing.TB) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.Server == nil {
		s, err := initialise()
		if errors.Is(err, pgbin.ErrMissing) {
			t.Skip(err)
		}
		if err == nil {
			if err = s.run(t.Context()); err != nil {
				_ = s.close()
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		shared.Server = s
	}
	return shared.Database(t)
}

// Main runs the tests of a program and ends the server that they shared. It
// returns what the program is to exit with.
func Main(m *testing.M) int {
	code := m.Run()
	if shared.Server == nil {
		return code
	}
	if err := shared.close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

// URL returns the connection string of a database of the server.
func (s *Server) URL(database string) string {
	return fmt.Sprintf("host=%s user=leat dbname=%s sslmode=disable", s.dir, database)
}

// Socket returns the path of the Unix socket on which the server listens.
func (s *Server) Socket() string { return filepath.Join(s.dir, ".s.PGSQL.5432") }

// Database returns the connection string of an empty database: a schema, which
// is made in no time, that the connections have all to themselves.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	s.databases++
	name := fmt.Sprintf("test%d", s.databases)
	s.Exec(t, "create schema "+name)
	return s.URL("postgres") + " search_path=" + name
}

// Exec runs a statement as superuser.
func (s *Server) Exec(t testing.TB, query string) {
	t.Helper()
	if err := s.exec(t.Context(), query); err != nil {
		t.Fatal(err)
	}
}

func (s *Server) exec(ctx context.Context, query string) error {
	c, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	_, err = c.Exec(ctx, query)
	return err
}

// Run starts the server again after Stop, and waits until it answers.
func (s *Server) Run(t testing.TB) {
	t.Helper()
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Stop ends the server, and waits until it has: with SIGINT as one that is shut
// down, with SIGQUIT as one that goes down at once and recovers when it is
// started, with SIGKILL as one that crashes.
func (s *Server) Stop(signal os.Signal) {
	_ = s.process.Signal(signal) // if it has ended, that is what it should do
	<-s.exited
}

func (s *Server) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := s.begin(); err != nil {
			return err
		}
		for running := true; running; {
			err := s.exec(ctx, "select 1")
			if err == nil {
				return nil
			}
			select {
			case <-s.exited:
				// What is left of a server that was killed may still be ending.
				running = !strings.Contains(s.printed(), "is still in use") && !strings.Contains(s.printed(), "lock file")
				if running {
					return fmt.Errorf("PostgreSQL ended before it answered:\n%s", s.printed())
				}
				<-tick.C
			case <-ctx.Done():
				s.Stop(os.Kill)
				return fmt.Errorf("PostgreSQL does not answer: %w\n%s", errors.Join(ctx.Err(), err), s.printed())
			case <-tick.C:
			}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("PostgreSQL does not start: %w\n%s", ctx.Err(), s.printed())
		}
	}
}

// begin starts the process.
func (s *Server) begin() error {
	s.starts++ // what is left of a server that was killed still writes to its own
	output, err := os.Create(s.output())
	if err != nil {
		return err
	}
	defer func() { _ = output.Close() }() // the process has its own
	cmd := s.cluster.Command(context.Background(), "postgres", "-D", s.cluster.Data,
		"-c", "listen_addresses=", "-c", "unix_socket_directories="+s.dir, "-c", "fsync=on", "-c", "shared_buffers=32MB")
	cmd.Stdout, cmd.Stderr = output, output
	attach(cmd.SysProcAttr)
	started := make(chan error)
	s.exited = make(chan struct{})
	go func(exited chan struct{}) { start(cmd, started, exited) }(s.exited)
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	s.process = cmd.Process
	return nil
}

// close ends the server and removes its directory.
func (s *Server) close() error {
	if s.process != nil {
		s.Stop(syscall.SIGQUIT)
	}
	return os.RemoveAll(s.dir)
}

func (s *Server) output() string { return filepath.Join(s.dir, fmt.Sprintf("output%d.log", s.starts)) }

// printed returns the end of what the server printed.
func (s *Server) printed() string {
	const most = 2000
	b, err := os.ReadFile(s.output())
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-most):])
}

package sqlite_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/sqlite"
)

// childEnv makes the test binary a process that folds sampleLog into the
// database it names, tells of each commit in a line and waits for one.
const childEnv = "LEAT_SQLITE_TEST_CHILD"

const (
	sampleEvents  = 8_000
	sampleStreams = 97
)

// sampleLog is the same log in every process.
func sampleLog(ctx context.Context) (leat.Log, error) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	log, err := leattest.New(leat.Config{ID: "sample"}, func() time.Time { return now })
	if err != nil {
		return nil, err
	}
	for i := 0; i < sampleEvents; i += 200 {
		var events []leat.Event
		for j := i; j < i+200; j++ {
			events = append(events, leat.Event{
				ID: fmt.Sprint(j), Stream: fmt.Sprintf("{x}stock-%d", j%sampleStreams), Type: "Received", Source: "test", Data: []byte("1"),
			})
		}
		if _, err := log.Append(ctx, events); err != nil {
			return nil, err
		}
	}
	return log, nil
}

func child(path string) {
	if err := fold(context.Background(), path); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("done")
}

func fold(ctx context.Context, path string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	log, err := sampleLog(ctx)
	if err != nil {
		return err
	}
	db, err := sqlite.Open(path)
	if err != nil {
		return err
	}
	defer db.Close()
	const tables = `
		create table if not exists seen (stream text, version integer, primary key (stream, version)) without rowid;
		create table if not exists stock (sku text primary key, units integer not null) without rowid`
	if _, err := db.ExecContext(ctx, tables); err != nil {
		return err
	}
	app, err := service.NewApp(service.Config{Log: log}, service.Projection[*sql.Tx]{
		Name: "stock", Into: sqlite.ReadModel(db),
		Apply: func(ctx context.Context, tx *sql.Tx, r leat.Recorded) error {
			if _, err := sqlite.Exec(ctx, tx, "insert into seen values (?, ?)", r.Stream, int64(r.Version)); err != nil {
				return err // it was applied before
			}
			_, err := sqlite.Exec(ctx, tx, addUnits, r.Stream, 1)
			return err
		},
		Then: func(context.Context) error {
			fmt.Println("committed")
			_, err := os.Stdin.Read(make([]byte, 1)) // until the test lets it go on
			return err
		},
	})
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	to, err := leat.Start(ctx, log, leat.Now)
	if err != nil {
		return err
	}
	if err := app.WaitCaughtUp(ctx, to); err != nil {
		return err
	}
	if parked := app.Status()[0].Parked; parked > 0 {
		return fmt.Errorf("%d events are parked: %s", parked, app.Status()[0].LastError)
	}
	cancel()
	return <-ended
}

// A projection that is killed with SIGKILL again and again has applied each
// event once.
func TestKilledProjectionAppliesOnce(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	path := filepath.Join(t.TempDir(), "stock.db")
	kills := 0
	for !runChild(t, path, 1+rnd.IntN(3), time.Duration(rnd.IntN(5000))*time.Microsecond) {
		kills++
	}
	t.Logf("killed %d times", kills)
	if kills == 0 {
		t.Error("the process was never killed")
	}
	db := open(t, path)
	var streams, units, seen int
	if err := db.QueryRow("select count(*), sum(units), (select count(*) from seen) from stock").Scan(&streams, &units, &seen); err != nil {
		t.Fatal(err)
	}
	if streams != sampleStreams || units != sampleEvents || seen != sampleEvents {
		t.Errorf("%d streams with %d units from %d events, want %d, %d and %d", streams, units, seen, sampleStreams, sampleEvents, sampleEvents)
	}
}

// runChild starts a process, lets it go on after some commits, and kills it a
// moment later, most often within a transaction. It reports whether the process
// was done before.
func runChild(t *testing.T, path string, commits int, moment time.Duration) (done bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // this test
	cmd.Env = append(os.Environ(), childEnv+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == "done" {
			done = true
			break
		}
		if killed {
			continue // it stands at the next commit
		}
		_, _ = in.Write([]byte("\n"))
		if commits--; commits == 0 {
			killed = true
			time.AfterFunc(moment, func() { _ = cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); err != nil && !killed {
		t.Fatalf("the process failed: %v", err)
	}
	return done
}

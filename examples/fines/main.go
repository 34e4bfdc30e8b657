// Command fines follows the fines of an Italian town's police, 150,370 cases over
// twelve years, through a log, an aggregate and a projection, and checks what was
// paid against the running total that the source itself keeps.
//
// The data are the Road Traffic Fine Management Process event log of Massimiliano
// de Leoni and Felix Mannhardt (4TU.ResearchData, 2015,
// doi:10.4121/uuid:270fd440-1057-4fb9-89a9-b699b47990f5), as a CSV file compressed
// with gzip.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
	"github.com/leathq/leat/service"
)

func main() {
	file := flag.String("file", "road-traffic-fines.csv.gz", "the event log")
	dir := flag.String("data", "", "where to keep the log and the database; a directory that is removed at the end when empty")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *file, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "fines:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, file, dir string) (err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "fines-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	log, err := openLog(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	began := time.Now()
	events, err := importFile(ctx, log, file)
	if err != nil {
		return err
	}
	rate(out, "recorded", events, began)

	db, err := openLedger(ctx, filepath.Join(dir, "ledger.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	began = time.Now()
	if err := catchUp(ctx, log, ledger(db)); err != nil {
		return err
	}
	rate(out, "projected", events, began)
	return report(ctx, out, db)
}

func rate(out io.Writer, what string, events int, began time.Time) {
	took := time.Since(began)
	fmt.Fprintf(out, "%-10s %d events in %.1f s, %.0f a second\n", what, events, took.Seconds(), float64(events)/took.Seconds())
}

func report(ctx context.Context, out io.Writer, db *sql.DB) error {
	t, fines, err := total(ctx, db)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d fines\n%d of %d payments, on %d of %d days with payments, explain the source's running total\n",
		fines, t.ExplainedPayments, t.Payments, t.ExplainedDays, t.Days)
	return nil
}

// openLog opens the log in a directory, and makes it when there is none.
func openLog(dir string) (*engine.Log, error) {
	log, err := engine.Open(dir, engine.Options{})
	if !errors.Is(err, leat.ErrNotFound) && !errors.Is(err, fs.ErrNotExist) {
		return log, err
	}
	return engine.Create(dir, leat.Config{}, engine.Options{})
}

// inFlight is how many Appends an import has under way.
const inFlight = 1000

// importFile records the rows of a file, those of a case together, and returns how
// many there are.
func importFile(ctx context.Context, log leat.Log, path string) (rows int, err error) {
	var events []leat.Event
	var pending []leat.Pending
	settle := func(left int) error {
		for len(pending) > left {
			p := pending[0]
			pending = pending[1:]
			if _, err := p.Wait(); err != nil {
				return err
			}
		}
		return nil
	}
	record := func() error {
		if len(events) > 0 {
			pending = append(pending, leat.Submit(ctx, log, events))
		}
		events = nil
		return settle(inFlight)
	}
	defer func() {
		for len(pending) > 0 { // after an error
			_, _ = pending[0].Wait()
			pending = pending[1:]
		}
	}()
	for r, err := range readRows(path) {
		if err != nil {
			return rows, err
		}
		e, err := r.event()
		if err != nil {
			return rows, err
		}
		if len(events) > 0 && events[0].Stream != e.Stream {
			if err := record(); err != nil {
				return rows, err
			}
		}
		events = append(events, e)
		rows++
	}
	if err := record(); err != nil {
		return rows, err
	}
	return rows, settle(0)
}

// catchUp runs an application until it has handled what is in the log now.
func catchUp(ctx context.Context, log leat.Log, r service.Runner) error {
	app, err := service.NewApp(service.Config{Log: log}, r)
	if err != nil {
		return err
	}
	to, err := leat.Start(ctx, log, leat.Now)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	err = app.WaitCaughtUp(ctx, to)
	stop()
	return errors.Join(<-ended, err)
}

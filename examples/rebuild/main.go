// Command rebuild makes a new version of a read model beside the one in use, from
// the beginning of the log and while events go on to arrive, tells when it has
// caught up, and switches over.
//
//	go run ./examples/rebuild                                  # made-up orders
//	go run ./examples/rebuild --orders online-retail.csv.gz    # real ones
package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
	"github.com/leathq/leat/examples/shop/retail"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/sqlite"
)

func main() {
	file := flag.String("orders", "", "an order file in the layout of the UCI Online Retail data set; made up when empty")
	flag.Parse()
	plan, err := read(*file)
	if err == nil {
		err = run(context.Background(), os.Stdout, plan)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rebuild:", err)
		os.Exit(1)
	}
}

func read(file string) (*retail.Plan, error) {
	if file != "" {
		return retail.ReadFile(file)
	}
	var made bytes.Buffer
	if err := retail.Generate(&made, 1, 5_000); err != nil {
		return nil, err
	}
	return retail.Read("made-up orders", &made)
}

func run(ctx context.Context, out io.Writer, plan *retail.Plan) error {
	dir, err := os.MkdirTemp("", "rebuild-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// Single: one Append takes events of many streams.
	log, err := engine.Create(filepath.Join(dir, "log"), leat.Config{Single: true}, engine.Options{})
	if err != nil {
		return err
	}
	defer log.Close()
	db, err := sqlite.Open(filepath.Join(dir, "sales.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, tables); err != nil {
		return err
	}
	events, err := salesOf(plan)
	if err != nil {
		return err
	}
	half := len(events) / 2
	if err := record(ctx, log, events[:half]); err != nil {
		return err
	}

	model := sqlite.ReadModel(db)
	v1, err := service.NewApp(service.Config{Log: log}, salesV1(model))
	if err != nil {
		return err
	}
	v2, err := service.NewApp(service.Config{Log: log}, salesV2(model)) // in a service: the next release, beside this one
	if err != nil {
		return err
	}
	arrive := func(ctx context.Context) error { return arrive(ctx, log, events[half:]) }
	return beside(ctx, v1.Run, func() error {
		if err := caughtUp(ctx, log, v1); err != nil {
			return err
		}
		return beside(ctx, v2.Run, func() error {
			if err := beside(ctx, arrive, func() error { return follow(ctx, out, v2) }); err != nil {
				return err
			}
			fmt.Fprintf(out, "sales/v2 has caught up; sales/v1 has handled %d events that arrived meanwhile\n", v1.Status()[0].Handled-uint64(half))
			if err := caughtUp(ctx, log, v1, v2); err != nil {
				return err
			}
			return compare(ctx, out, db)
		})
	})
}

// beside runs something while f does something else, and has it end then.
func beside(ctx context.Context, run func(context.Context) error, f func() error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	err := f()
	stop()
	return errors.Join(err, <-ended)
}

// follow tells how the rebuild of sales/v2 gets on until it is done.
func follow(ctx context.Context, out io.Writer, app *service.App) error {
	began := time.Now()
	rebuilt := make(chan error, 1)
	go func() { rebuilt <- app.WaitRebuilt(ctx, "sales/v2") }()
	tell := time.NewTicker(time.Second)
	defer tell.Stop()
	for {
		select {
		case err := <-rebuilt:
			s, took := app.Status()[0], time.Since(began).Seconds()
			fmt.Fprintf(out, "%s: %d events in %.1f s, %.0f a second\n", s.Name, s.Handled, took, float64(s.Handled)/took)
			return err
		case <-tell.C:
			s, speed := app.Status()[0], "its rate is not known yet"
			if s.Rate > 0 {
				speed = fmt.Sprintf("%.0f a second, done in %s", s.Rate, s.ETA().Round(100*time.Millisecond))
			}
			fmt.Fprintf(out, "%s: %d events left, %s\n", s.Name, s.Replay, speed)
		}
	}
}

// caughtUp waits until applications have handled what is in the log now.
func caughtUp(ctx context.Context, log leat.Log, apps ...*service.App) error {
	to, err := leat.Start(ctx, log, leat.Now)
	if err != nil {
		return err
	}
	for _, app := range apps {
		err = errors.Join(err, app.WaitCaughtUp(ctx, to))
	}
	return err
}

// compare compares the two versions, and tells to switch when they agree.
func compare(ctx context.Context, out io.Writer, db *sql.DB) error {
	was, err := sumOf(ctx, db, "sales_v1")
	if err != nil {
		return err
	}
	is, err := sumOf(ctx, db, "sales_v2")
	if err != nil {
		return err
	}
	if was != is {
		return fmt.Errorf("sales/v1 adds up to %+v, sales/v2 to %+v", was, is)
	}
	fmt.Fprintf(out, "both add up to %d articles, %d units, £%.3f: queries go to sales_v2 from now on, and sales/v1 can end\n",
		is.Articles, is.Units, float64(is.Amount)/1000)
	return nil
}

// record appends events.
func record(ctx context.Context, log leat.Log, events []leat.Event) error {
	for some := range slices.Chunk(events, leat.MinLimits.AppendEvents) {
		if _, err := log.Append(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

// arrive appends events, some at a time, until ctx ends or all are there.
func arrive(ctx context.Context, log leat.Log, events []leat.Event) error {
	const each, pause = 100, 10 * time.Millisecond
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for some := range slices.Chunk(events, each) {
		if err := record(context.WithoutCancel(ctx), log, some); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
	return nil
}

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
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
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
	log, err := engine.Create(filepath.Join(dir, "log"), leat.Config{}, engine.Options{})
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
	model, half := sqlite.ReadModel(db), len(events)/2
	if err := record(ctx, log, events[:half]); err != nil {
		return err
	}

	return running(ctx, log, func(v1 *service.App) error {
		if err := follow(ctx, out, log, v1); err != nil {
			return err
		}
		arriving, stop := arrive(ctx, log, events[half:])
		err := running(ctx, log, func(v2 *service.App) error {
			if err := follow(ctx, out, log, v2); err != nil {
				return err
			}
			fmt.Fprintf(out, "sales/v2 has caught up; sales/v1 is %d events behind, and %d arrived meanwhile\n", v1.Status()[0].Lag, arriving())
			if err := stop(); err != nil { // so that both can be compared
				return err
			}
			to, err := leat.Start(ctx, log, leat.Now)
			if err != nil {
				return err
			}
			if err := errors.Join(v1.WaitCaughtUp(ctx, to), v2.WaitCaughtUp(ctx, to)); err != nil {
				return err
			}
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
		}, salesV2(model))
		return errors.Join(err, stop())
	}, salesV1(model))
}

// running runs an application while f does something.
func running(ctx context.Context, log leat.Log, f func(*service.App) error, r service.Runner) error {
	app, err := service.NewApp(service.Config{Log: log}, r)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	err = f(app)
	stop()
	return errors.Join(err, <-ended)
}

// follow tells how an application gets on until it has handled what was in the log
// when it began.
func follow(ctx context.Context, out io.Writer, log leat.Log, app *service.App) error {
	to, err := leat.Start(ctx, log, leat.Now)
	if err != nil {
		return err
	}
	began := time.Now()
	caughtUp := make(chan error, 1)
	go func() { caughtUp <- app.WaitCaughtUp(ctx, to) }()
	tell := time.NewTicker(time.Second)
	defer tell.Stop()
	for {
		select {
		case err := <-caughtUp:
			s, took := app.Status()[0], time.Since(began)
			fmt.Fprintf(out, "%s: %d events in %.1f s, %.0f a second\n", s.Name, s.Handled, took.Seconds(), float64(s.Handled)/took.Seconds())
			return err
		case <-tell.C:
			s := app.Status()[0]
			rate := float64(s.Handled) / time.Since(began).Seconds()
			if rate > 0 {
				left := time.Duration(float64(s.Lag) / rate * float64(time.Second))
				fmt.Fprintf(out, "%s: %d events, %d to go, %.0f a second, %s left\n", s.Name, s.Handled, s.Lag, rate, left.Round(100*time.Millisecond))
			}
		}
	}
}

// record appends events, those of one stream in order.
func record(ctx context.Context, log leat.Log, events []leat.Event) (err error) {
	streams := make(map[string][]leat.Event)
	var order []string
	for _, e := range events {
		if streams[e.Stream] == nil {
			order = append(order, e.Stream)
		}
		streams[e.Stream] = append(streams[e.Stream], e)
	}
	for left := len(events); left > 0; { // one Append of each stream at a time
		var pending []leat.Pending
		for _, s := range order {
			if n := min(len(streams[s]), leat.MinLimits.AppendEvents); n > 0 {
				pending = append(pending, leat.Submit(ctx, log, streams[s][:n]))
				streams[s] = streams[s][n:]
				left -= n
			}
		}
		for _, p := range pending {
			_, failed := p.Wait()
			err = errors.Join(err, failed)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// arrive appends events, some at a time, until it is stopped or has appended all.
func arrive(ctx context.Context, log leat.Log, events []leat.Event) (arrived func() int, stop func() error) {
	const each, pause = 100, 10 * time.Millisecond
	ctx, cancel := context.WithCancel(ctx)
	var mu sync.Mutex
	n, ended := 0, make(chan error, 1)
	go func() {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for len(events) > 0 {
			some := events[:min(each, len(events))]
			if err := record(context.WithoutCancel(ctx), log, some); err != nil {
				ended <- err
				return
			}
			events = events[len(some):]
			mu.Lock()
			n += len(some)
			mu.Unlock()
			select {
			case <-ctx.Done():
				ended <- nil
				return
			case <-tick.C:
			}
		}
		ended <- nil
	}()
	arrived = func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
	return arrived, sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
}

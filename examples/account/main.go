// Command account is the smallest service: one aggregate, one read model, two
// commands and a query. The README shows parts of it, and
// docs/your-first-service.md builds it step by step.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
	"github.com/leathq/leat/service"
)

func main() {
	url := flag.String("log", "leat://127.0.0.1:7070/bank", "the log")
	path := flag.String("db", "account.db", "the service's own database")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: account [flags] deposit NAME PENCE | withdraw NAME PENCE | balance NAME")
		flag.PrintDefaults()
	}
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *url, *path, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "account:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, url, path string, args []string) error {
	command, name, err := parse(args)
	if err != nil {
		return err
	}
	log, err := client.Dial(ctx, url, client.Options{})
	if err != nil {
		return err
	}
	defer log.Close()
	db, err := openBalances(ctx, path)
	if err != nil {
		return err
	}
	defer db.Close()

	app, err := service.NewApp(service.Config{Log: log, Leases: log, LeaseTTL: time.Second}, balances(db))
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	err = carryOut(ctx, out, log, app, db, command, name)
	stop() // the app drains
	return errors.Join(err, <-ended)
}

type decision func(Account) ([]Event, error)

// parse reads a command line. The decision is nil for a query.
func parse(args []string) (decide decision, name string, err error) {
	usage := errors.New("say deposit NAME PENCE, withdraw NAME PENCE, or balance NAME")
	if len(args) == 2 && args[0] == "balance" {
		return nil, args[1], nil
	}
	if len(args) != 3 {
		return nil, "", usage
	}
	pence, err := strconv.Atoi(args[2])
	if err != nil || pence < 1 || pence > 1_000_000_00 {
		return nil, "", fmt.Errorf("PENCE must be 1 to 100,000,000, got %q", args[2])
	}
	switch args[0] {
	case "deposit":
		return Deposit(pence), args[1], nil
	case "withdraw":
		return Withdraw(pence), args[1], nil
	}
	return nil, "", usage
}

func carryOut(ctx context.Context, out io.Writer, log leat.Log, app *service.App, db *sql.DB, decide decision, name string) error {
	if decide != nil {
		r, err := accounts.Do(ctx, log, name, decide)
		if err != nil {
			return err
		}
		if err := app.WaitFor(ctx, r.Receipt); err != nil { // read your own write
			return err
		}
	}
	pence, err := balance(ctx, db, name)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s has %d pence\n", name, pence)
	return err
}

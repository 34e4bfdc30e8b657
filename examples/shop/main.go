package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"syscall"

	"github.com/leathq/leat/examples/shop/database"
)

const usage = `Trade a wholesaler's orders on Leat and check that the books agree.

Three services (orders, inventory, billing), each with its own database and two
worker processes, meet only through the events of one log, which a process of its
own keeps. The shop drives an order file through the HTTP API of its gateway,
waits until everything is handled, archives the log to Parquet, reads the file
again by itself, and compares what must have come out with what the services
say, to the tenth of a penny.

    go run ./examples/shop --once
          2,000 made-up orders, with all the traits of real ones
    go run ./examples/shop --once --orders online-retail.csv.gz --data /tmp/shop
          a file in the layout of the UCI Online Retail data set, and keep
          everything: kill it whenever you like, and run it again to go on
    go run ./examples/shop
          the same, but stay open when the books are done, for you and curl;
          Ctrl-C closes
    go run ./examples/shop --once --chaos
          the same, while about each second a process is killed or paused

Exit status: 0 all checks agree, 1 they do not or something failed, 2 bad usage.

Flags:
`

// options are what the flags say.
type options struct {
	once       bool
	orders     string
	seed       uint64
	count      int
	data       string
	chaos      bool
	chaosSeed  uint64
	cpuprofile string

	billing string          // URL of billing's database
	given   map[string]bool // flags that were set
}

// driverMemory is what the garbage collector of the main process tries to keep
// within: it holds all orders, and then what all streams and IDs are.
const driverMemory = 200 << 20

func main() { os.Exit(start(os.Args[1:], os.Stdout, os.Stderr)) }

// start returns the exit status.
func start(args []string, stdout, stderr io.Writer) int {
	if status, is := startRole(args, os.Stdin, stderr); is {
		return status
	}
	debug.SetMemoryLimit(driverMemory)
	o, flags, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		help(stdout, flags)
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "shop: %v; --help explains\n", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	ok, err := profiled(o.cpuprofile, func() (bool, error) { return run(ctx, o, stdout, stderr) })
	switch {
	case err != nil && ctx.Err() != nil:
		fmt.Fprintln(stderr, "shop: interrupted; with --data the next run goes on from here")
	case err != nil:
		fmt.Fprintf(stderr, "shop: %v\n", err)
	}
	if !ok {
		return 1
	}
	return 0
}

func parse(args []string) (options, *flag.FlagSet, error) {
	o := options{given: make(map[string]bool)}
	f := flag.NewFlagSet("shop", flag.ContinueOnError)
	f.SetOutput(io.Discard) // errors and help are told by start
	f.BoolVar(&o.once, "once", false, "end when the books are checked, instead of staying open")
	f.StringVar(&o.orders, "orders", "", "trade the orders in `FILE`: CSV or gzipped CSV with the columns InvoiceNo,\nStockCode, Description, Quantity, InvoiceDate, UnitPrice, CustomerID, Country")
	f.Uint64Var(&o.seed, "seed", 1, "`SEED` of made-up orders: the same seed makes the same orders")
	f.IntVar(&o.count, "count", 2000, "`HOW MANY` orders to make up")
	f.StringVar(&o.data, "data", "", "keep log, archive and databases in `DIR` and go on from what is there; without it\nthey are in a temporary directory that is removed at the end")
	f.StringVar(&o.billing, "billing", "", "keep billing's books in PostgreSQL, in the empty database at `URL`, such as\npostgres://shop@localhost/billing, instead of a file; with --data the same URL\neach time")
	f.BoolVar(&o.chaos, "chaos", false, "kill or pause a random process about each second while orders are handled,\na hundred times at most")
	f.Uint64Var(&o.chaosSeed, "chaos-seed", rand.Uint64(), "`SEED` of --chaos: which processes, and when")
	f.StringVar(&o.cpuprofile, "cpuprofile", "", "write a CPU profile for go tool pprof to `FILE`")
	if err := f.Parse(args); err != nil {
		return o, f, err
	}
	f.Visit(func(f *flag.Flag) { o.given[f.Name] = true })
	return o, f, o.check(f.Args())
}

func help(out io.Writer, flags *flag.FlagSet) {
	fmt.Fprint(out, usage)
	flags.VisitAll(func(f *flag.Flag) {
		value, text := flag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" {
			text += " (" + f.DefValue + ")"
		}
		fmt.Fprintf(out, "    --%s\n          %s\n", strings.TrimSpace(f.Name+" "+value), strings.ReplaceAll(text, "\n", "\n          "))
	})
}

func (o options) check(rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("unexpected argument %q: an order file is given as --orders FILE", rest[0])
	}
	if o.given["billing"] && !database.AtServer(o.billing) {
		return fmt.Errorf("--billing %q: a URL is needed that begins with postgres://", o.billing)
	}
	if o.given["orders"] && (o.given["seed"] || o.given["count"]) {
		return errors.New("--seed and --count are for made-up orders and do not go with --orders")
	}
	return nil
}

// profiled runs work and profiles it if path is not empty.
func profiled(path string, work func() (bool, error)) (bool, error) {
	if path == "" {
		return work()
	}
	f, err := os.Create(path)
	if err != nil {
		return false, fmt.Errorf("write the CPU profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return false, errors.Join(fmt.Errorf("write the CPU profile: %w", err), f.Close())
	}
	ok, err := work()
	pprof.StopCPUProfile()
	return ok, errors.Join(err, f.Close())
}

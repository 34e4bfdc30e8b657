// Command bench drives the same load against Leat and against what one might
// use instead: PostgreSQL, NATS JetStream, Redis Streams and SQLite, each
// durable before it acknowledges and each with its version check. README.md
// says how to run it, docs/performance.md of Leat what came of it and why it is
// done so.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	if len(args) > 0 && args[0] == serveCommand {
		return serve(ctx, args[1:])
	}
	o, show, err := parse(args, progress)
	if err != nil {
		return err
	}
	if err := onDisk(o.dir); err != nil {
		return err
	}
	c := newComparison(o, progress)
	if err := c.run(ctx); err != nil {
		return err
	}
	if err := show(out, &c.report); err != nil {
		return err
	}
	for _, o := range c.report.Systems {
		if o.Failed != "" {
			return fmt.Errorf("%s: %s", o.System, o.Failed)
		}
	}
	return nil
}

// A printer prints a report.
type printer func(io.Writer, *report) error

// parse reads the command line.
func parse(args []string, usage io.Writer) (o options, _ printer, err error) {
	o.loads = loads
	names := []string{ceilingName}
	for _, s := range systems {
		names = append(names, s.name)
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(usage)
	chosen := flags.String("systems", strings.Join(names, ","), "what to compare")
	flags.IntVar(&o.runs, "runs", 3, "how often each load runs; the report has medians")
	flags.DurationVar(&o.each.time, "for", 5*time.Second, "the time after which a load ends")
	flags.Uint64Var(&o.each.events, "most", 5_000_000, "the events after which a load ends, if that comes first")
	flags.IntVar(&o.events, "events", 1_000_000, "the events to read from; 0 leaves reading out")
	flags.StringVar(&o.dir, "dir", os.TempDir(), "a directory on the disk to measure; what is made there is removed")
	asJSON := flags.Bool("json", false, "print JSON")
	asMarkdown := flags.Bool("markdown", false, "print the tables of docs/performance.md")
	if err := flags.Parse(args); err != nil {
		return o, nil, err
	}
	o.ceilingTime = o.each.time
	o.systems = strings.Split(*chosen, ",")
	for _, name := range o.systems {
		if !slices.Contains(names, name) {
			return o, nil, fmt.Errorf("--systems: %q is none of %s", name, strings.Join(names, ", "))
		}
	}
	switch {
	case flags.NArg() > 0:
		return o, nil, fmt.Errorf("what is %q? all arguments are flags; --help lists them", flags.Arg(0))
	case o.runs < 1 || o.each.time <= 0 || o.events < 0:
		return o, nil, errors.New("--runs is 1 or more, --for above 0, --events 0 or more")
	case o.each.events < largestRound:
		return o, nil, fmt.Errorf("--most: a load is at least %d events, one append of each producer", largestRound)
	case *asJSON:
		return o, printJSON, nil
	case *asMarkdown:
		return o, printTables(table.markdown), nil
	}
	return o, printTables(table.text), nil
}

func printJSON(w io.Writer, r *report) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

func printTables(each func(table, io.Writer) error) printer {
	return func(w io.Writer, r *report) error {
		for i, t := range r.tables() {
			if i > 0 {
				fmt.Fprintln(w)
			}
			if err := each(t, w); err != nil {
				return err
			}
		}
		return nil
	}
}

// Command leat works with event logs: it makes them, appends to them, reads and
// follows them, and checks them. Run leat --help to learn how.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/alecthomas/kong"
)

const about = `Leat keeps every event for good and feeds services from them.

A log holds many streams, each the history of one entity, such as order-536365. Name the log by URL: dir:PATH is
one log in a directory, leat://HOST:PORT/LOG one at a server. Set LEAT_LOG once, or give --log each time.

	$ export LEAT_LOG=dir:mylog
	$ leat log create $LEAT_LOG
	$ leat append order-1 OrderPlaced '{"total":1250}'
	$ leat read order-1`

type cli struct {
	Log     logCmd     `cmd:"" help:"Create a log, or show what one holds."`
	Append  appendCmd  `cmd:"" help:"Record events."`
	Read    readCmd    `cmd:"" help:"Print one stream, or all events, and end."`
	Follow  followCmd  `cmd:"" help:"Print events, and those to come."`
	Bench   benchCmd   `cmd:"" help:"Measure a log, and how close it comes to what the machine can do."`
	Backup  backupCmd  `cmd:"" help:"Copy a log, so that it can be used again when this one is lost."`
	Archive archiveCmd `cmd:"" help:"Keep a log for good in object storage, and check what is kept."`
	Restore restoreCmd `cmd:"" help:"Make a log again from its archive."`
	Retain  retainCmd  `cmd:"" help:"Remove old events from a log that are safe in its archive."`
	Apps    appsCmd    `cmd:"" help:"Show how the applications fare that read a log, and pause them."`
	Parked  parkedCmd  `cmd:"" help:"Show the events that applications could not handle, and deal with them."`
	Doctor  doctorCmd  `cmd:"" help:"Check everything that a log's directory holds."`
	Serve   serveCmd   `cmd:"" help:"Serve the logs in a directory to other processes."`
}

// console is where a command talks to whoever started it.
type console struct {
	in       io.Reader
	out, err io.Writer
}

func main() {
	spareProcessor()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], console{os.Stdin, os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

// spareProcessor has Go run one goroutine more at a time than there are
// processors, unless GOMAXPROCS says how many. Whoever waits for the disk to sync
// counts as running until the scheduler notices, which takes about as long as the
// sync, and one is nearly always waiting: docs/performance.md.
func spareProcessor() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
}

// Exit codes, besides 0.
const (
	exitFailed = 1 // what was asked for did not happen
	exitUsage  = 2 // the command line is wrong
)

// exited is how kong's request to end the program reaches run.
type exited int

// run carries out one command line and returns the exit code.
func run(ctx context.Context, args []string, c console) (code int) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case exited:
			code = int(r)
		default:
			panic(r)
		}
	}()
	parser, err := kong.New(&cli{},
		kong.Name("leat"), kong.Description(about),
		kong.UsageOnError(), kong.Writers(c.out, c.err), kong.Exit(func(code int) { panic(exited(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 120}),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(c),
	)
	if err != nil {
		panic(err) // the declarations above are wrong
	}
	cmd, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(c.err, "leat: %v\nRun \"leat --help\" to learn more.\n", err)
		return exitUsage
	}
	if err := cmd.Run(); err != nil && !errors.Is(err, errInterrupted) {
		fmt.Fprintf(c.err, "leat: %v\n", err)
		return exitFailed
	}
	return 0
}

// errInterrupted is how a command ends that goes on until it is interrupted.
var errInterrupted = errors.New("interrupted")

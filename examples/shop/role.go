package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"
	"time"
)

// Every process of the shop is this program in a role, which its first argument
// names. The main process starts them all; to start one by hand, keep its
// standard input open, since its end tells a process to drain:
//
//	shop store --data DIR --grpc ADDRESS --http ADDRESS
//	shop archive --log URL --store URL --key FILE --listen ADDRESS
//	shop orders|inventory|billing --log URL --db FILE|URL --listen ADDRESS --worker NAME [--webhook URL]
//	shop accountant --db FILE --listen ADDRESS
//	shop gateway --listen ADDRESS --orders URL,… --inventory URL,… --billing URL,…
//
// They print what an operator should know on standard error.

// A role is what a process of the shop does.
type role struct {
	name string
	// flags declares the role's flags and returns what runs until ctx ends.
	flags func(*flag.FlagSet) func(ctx context.Context, logger *slog.Logger) error
}

func roles() []role {
	all := []role{{"store", storeRole}, {"archive", archiveRole}, {"gateway", gatewayRole}, {"accountant", accountantRole}}
	for _, s := range services {
		all = append(all, role{s.name, s.role})
	}
	return all
}

const (
	// softMemory is what the garbage collector of a process tries to keep within.
	// The store and the databases hold some more outside of its heap.
	softMemory = 192 << 20
	// roleDrain is how long a process has for what is under way when it drains,
	// so that all together stay within drainAll.
	roleDrain = 2 * time.Second
)

// startRole runs the role that args begin with, if they do.
func startRole(args []string, stdin io.Reader, stderr io.Writer) (status int, is bool) {
	all := roles()
	if len(args) == 0 {
		return 0, false
	}
	at := slices.IndexFunc(all, func(r role) bool { return r.name == args[0] })
	if at < 0 {
		return 0, false
	}
	f := flag.NewFlagSet("shop "+args[0], flag.ContinueOnError)
	f.SetOutput(stderr)
	run := all[at].flags(f)
	switch err := f.Parse(args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		return 0, true
	case err != nil:
		return 2, true
	case f.NArg() > 0:
		fmt.Fprintf(stderr, "shop %s: unexpected argument %q\n", args[0], f.Arg(0))
		return 2, true
	}
	debug.SetMemoryLimit(softMemory)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, stdin) // it ends when whoever started the process wants it to, or is gone
		cancel()
	}()
	logger := slog.New(slog.NewTextHandler(stderr, nil)).With("pid", os.Getpid())
	logger.Info("started", "role", args[0])
	if err := run(ctx, logger); err != nil {
		logger.Error("ended", "role", args[0], "error", err)
		return 1, true
	}
	logger.Info("drained", "role", args[0])
	return 0, true
}

// required says which of the flags is not set.
func required(f *flag.FlagSet, names ...string) error {
	for _, n := range names {
		if f.Lookup(n).Value.String() == "" {
			return fmt.Errorf("flag --%s is needed", n)
		}
	}
	return nil
}

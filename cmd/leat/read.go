package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leathq/leat"
)

// selection is how read and follow choose events and print them.
type selection struct {
	Type     []string `placeholder:"TYPE" help:"Only events of this type; may be repeated."`
	Category []string `placeholder:"NAME" help:"Only streams of this category, what stands before the first \"-\" of a name; may be repeated."`
	System   bool     `help:"Also the log's own events, of streams that start with \"$\"."`
	From     string   `xor:"from" placeholder:"CHECKPOINT" help:"Go on after a checkpoint, as follow prints it when it ends."`
	Since    string   `xor:"from" placeholder:"TIME" help:"Only what was committed since: 2026-01-31, 2026-01-31T12:00:00Z, 90m (ago) or now."`
	JSON     bool     `help:"Print one JSON object a line."`
}

func (s selection) filter(streams ...string) leat.Filter {
	return leat.Filter{Streams: streams, Categories: s.Category, Types: s.Type, System: s.System}
}

// start returns where to begin: by default at the oldest event that is kept.
func (s selection) start(ctx context.Context, log leat.Log) (leat.Checkpoint, error) {
	if s.From != "" {
		return leat.ParseCheckpoint(s.From)
	}
	since, err := parseSince(s.Since, time.Now())
	if err != nil {
		return leat.Checkpoint{}, err
	}
	return leat.Start(ctx, log, since)
}

func parseSince(s string, now time.Time) (time.Time, error) {
	switch s {
	case "":
		return time.Time{}, nil
	case "now":
		return leat.Now, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly, "2006-01-02 15:04:05", "2006-01-02T15:04"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, &leat.InvalidError{
		Field: "--since", Limit: "a day, a time (RFC 3339), a duration such as 90m, or now", Got: fmt.Sprintf("%q", s),
	}
}

type readCmd struct {
	logFlag
	Stream string `arg:"" optional:"" help:"The stream to read, such as order-536365. All streams when left out."`
	selection
	After   uint64 `help:"With STREAM: only versions above this one."`
	Through uint64 `help:"With STREAM: only versions up to this one."`
	Reverse bool   `help:"With STREAM: newest first."`
	Limit   int    `help:"End after this many events."`
}

func (readCmd) Help() string {
	return `
	$ leat read order-536365                     the history of one order
	$ leat read order-536365 --reverse --limit 1 its last event
	$ leat read --category order --since 90m     all orders, of the last 90 minutes
	$ leat read --json | jq .data                one JSON object a line, for scripts
`
}

func (cmd readCmd) Validate() error {
	switch {
	case cmd.Stream == "" && (cmd.After > 0 || cmd.Through > 0 || cmd.Reverse):
		return errors.New("--after, --through and --reverse need a STREAM: they are about its versions")
	case cmd.Stream != "" && (cmd.From != "" || cmd.Since != "" || len(cmd.Category) > 0):
		return errors.New("--from, --since and --category are for all streams: leave out STREAM")
	case cmd.Limit < 0:
		return errors.New("--limit must be 0 (no limit) or more")
	}
	return nil
}

func (cmd readCmd) Run(ctx context.Context, c console) error {
	return cmd.with(ctx, func(log leat.Log) error {
		p := newPrinter(c.out, cmd.JSON)
		defer p.flush()
		seq, err := cmd.events(ctx, log)
		if err != nil {
			return err
		}
		count := 0
		for r, err := range seq {
			if err != nil {
				return err
			}
			if err := p.print(&r); err != nil {
				return err
			}
			if count++; count == cmd.Limit {
				break
			}
		}
		if count == 0 {
			fmt.Fprintln(c.err, "no events")
		}
		return p.flush()
	})
}

func (cmd readCmd) events(ctx context.Context, log leat.Log) (func(func(leat.Recorded, error) bool), error) {
	if cmd.Stream == "" {
		from, err := cmd.start(ctx, log)
		if err != nil {
			return nil, err
		}
		return leat.Read(ctx, log, cmd.filter(), from), nil
	}
	r := leat.Range{After: cmd.After, Through: cmd.Through}
	if cmd.Reverse {
		r = r.Reverse()
	}
	matcher := cmd.filter(cmd.Stream).Matcher()
	return func(yield func(leat.Recorded, error) bool) {
		for e, err := range log.ReadStream(ctx, cmd.Stream, r) {
			if (err != nil || matcher.Match(e.Stream, e.Type)) && !yield(e, err) {
				return
			}
		}
	}, nil
}

type followCmd struct {
	logFlag
	Stream []string `arg:"" optional:"" help:"The streams to follow. All when left out."`
	selection
}

func (followCmd) Help() string {
	return `
Prints what is there, then waits for more until Ctrl-C, and ends with the checkpoint from which to go on.

	$ leat follow --type OrderPlaced
	$ leat follow --since now --json
	$ leat follow --from 0199f3c0-...@1,shardId-000000000000=536
`
}

func (cmd followCmd) Run(ctx context.Context, c console) error {
	return cmd.with(ctx, func(log leat.Log) error {
		p := newPrinter(c.out, cmd.JSON)
		defer p.flush()
		at, err := cmd.start(ctx, log)
		if err != nil {
			return err
		}
		for b, err := range leat.Follow(ctx, log, cmd.filter(cmd.Stream...), at) {
			if err != nil {
				if ctx.Err() == nil {
					return err
				}
				fmt.Fprintf(c.err, "go on from here with --from %s\n", at)
				return errInterrupted
			}
			for i := range b.Events {
				if err := p.print(&b.Events[i]); err != nil {
					return err
				}
			}
			if err := p.flush(); err != nil {
				return err
			}
			at.Advance(b)
		}
		return nil
	})
}

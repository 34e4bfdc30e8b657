package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

type parkedRetryCmd struct {
	databaseFlag
	App    string `arg:"" optional:"" help:"The application. All when left out, with --all."`
	Stream string `arg:"" optional:"" help:"The stream."`
	All    bool   `help:"All streams of the application, or of all applications."`
}

func (parkedRetryCmd) Help() string {
	return `
The application tries the events of the stream again, in order, within about a second while it runs. One that fails again
stays where it was.

	$ leat parked retry stock order-536365
	$ leat parked retry stock --all
	$ leat parked retry --all
`
}

func (cmd parkedRetryCmd) Run(ctx context.Context, c console) error {
	if cmd.All == (cmd.Stream != "") {
		return errors.New("say what to retry: APP STREAM, or APP --all, or --all")
	}
	return cmd.with(ctx, func(store service.CheckpointStore) error {
		names := []string{cmd.App}
		var err error
		if cmd.App == "" {
			names, err = store.Applications(ctx)
		} else {
			err = checkApp(ctx, store, cmd.App)
		}
		if err != nil {
			return err
		}
		asked := 0
		for _, app := range names {
			streams := []string{cmd.Stream}
			if cmd.All {
				if streams, err = heldUp(ctx, store, app); err != nil {
					return err
				}
			}
			for _, stream := range streams {
				err := store.Retry(ctx, app, stream)
				if cmd.All && errors.Is(err, service.ErrNotParked) {
					continue // it was handled meanwhile
				}
				if err != nil {
					return err
				}
				asked++
			}
		}
		if asked == 0 {
			_, err = fmt.Fprintln(c.out, "nothing is parked")
			return err
		}
		_, err = fmt.Fprintf(c.out, "asked for %d of the streams; what fails again stays in leat parked list\n", asked)
		return err
	})
}

// heldUp returns the streams of which events wait.
func heldUp(ctx context.Context, store service.CheckpointStore, app string) ([]string, error) {
	events, err := store.Parked(ctx, app, "")
	if err != nil {
		return nil, err
	}
	var streams []string
	for _, p := range events {
		if p.Waits() && !slices.Contains(streams[max(0, len(streams)-1):], p.Stream) {
			streams = append(streams, p.Stream)
		}
	}
	return streams, nil
}

type parkedDiscardCmd struct {
	databaseFlag
	App     string `arg:"" help:"The application."`
	Stream  string `arg:"" help:"The stream."`
	Version uint64 `arg:"" help:"The event's version in its stream."`
	Reason  string `required:"" help:"Why. It is kept beside the event."`
	Yes     bool   `help:"Do not ask."`
}

func (parkedDiscardCmd) Help() string {
	return `
The application will never handle the event, and goes on with the next one of its stream. This cannot be undone; the entry
stays in the database, with the reason, and the event in the log.

	$ leat parked discard stock order-536365 3 --reason "a test order"
`
}

func (cmd parkedDiscardCmd) Run(ctx context.Context, c console) error {
	if strings.TrimSpace(cmd.Reason) == "" {
		return &leat.InvalidError{Field: "--reason", Limit: "what whoever looks at this later has to know", Got: fmt.Sprintf("%q", cmd.Reason)}
	}
	return cmd.with(ctx, func(store service.CheckpointStore) error {
		if err := checkApp(ctx, store, cmd.App); err != nil {
			return err
		}
		events, err := parkedOf(ctx, store, cmd.App, cmd.Stream)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(events, func(e parkedEvent) bool { return e.Version == cmd.Version && e.State != stateDiscarded })
		if i < 0 {
			return fmt.Errorf("version %d of stream %q: %w by %q; leat parked show %s %s shows what is",
				cmd.Version, cmd.Stream, service.ErrNotParked, cmd.App, cmd.App, cmd.Stream)
		}
		if err := cmd.confirm(c, &events[i]); err != nil {
			return err
		}
		if err := store.Discard(ctx, cmd.App, cmd.Stream, cmd.Version, cmd.Reason); err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.out, "discarded version %d of %s\n", cmd.Version, name(cmd.Stream))
		return err
	})
}

// confirm asks whether the event is to be discarded.
func (cmd parkedDiscardCmd) confirm(c console, e *parkedEvent) error {
	if cmd.Yes {
		return nil
	}
	fmt.Fprintf(c.out, "%s, version %d of %s, is %s", name(e.Type), e.Version, name(e.Stream), e.State)
	if e.Error != "" {
		fmt.Fprintf(c.out, ": %s", name(e.Error))
	}
	fmt.Fprintf(c.out, "\n%s will never handle it. Discard it? [y/N] ", name(cmd.App))
	answer, _ := bufio.NewReader(c.in).ReadString('\n') // none is no
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		fmt.Fprintln(c.out)
		return errors.New("not discarded: answer y, or give --yes where nobody can")
	}
	return nil
}

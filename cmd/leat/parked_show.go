package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/eventjson"
	"github.com/leathq/leat/service"
)

type parkedShowCmd struct {
	databaseFlag
	App     string `arg:"" help:"The application."`
	Stream  string `arg:"" help:"The stream."`
	Version uint64 `arg:"" optional:"" help:"Only the event of this version."`
	LogURL  string `name:"log" env:"LEAT_LOG" placeholder:"URL" help:"The log to read the events from: dir:PATH or leat://HOST:PORT/LOG."`
	JSON    bool   `help:"Print one JSON object an event, one a line."`
}

// A shownEvent is a parkedEvent with the event that the log has.
type shownEvent struct {
	parkedEvent
	Event *eventjson.Event `json:"event,omitempty"`
}

func (cmd parkedShowCmd) Run(ctx context.Context, c console) error {
	var found []parkedEvent
	err := cmd.with(ctx, func(store service.CheckpointStore) error {
		if err := checkApp(ctx, store, cmd.App); err != nil {
			return err
		}
		events, err := parkedOf(ctx, store, cmd.App, cmd.Stream)
		for _, e := range events {
			if cmd.Version == 0 || e.Version == cmd.Version {
				found = append(found, e)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		what := fmt.Sprintf("stream %q", cmd.Stream)
		if cmd.Version > 0 {
			what = fmt.Sprintf("version %d of %s", cmd.Version, what)
		}
		return fmt.Errorf("%s: %w by %q; leat parked list shows what is", what, service.ErrNotParked, cmd.App)
	}
	if cmd.LogURL == "" {
		return cmd.show(ctx, c, nil, found)
	}
	return logFlag{cmd.LogURL}.with(ctx, func(log leat.Log) error { return cmd.show(ctx, c, log, found) })
}

func (cmd parkedShowCmd) show(ctx context.Context, c console, log leat.Log, found []parkedEvent) error {
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	for i := range found {
		shown := shownEvent{parkedEvent: found[i]}
		if log != nil {
			r, err := parkedFrom(ctx, log, &found[i])
			if err != nil {
				return err
			}
			event := eventjson.FromRecorded(&r)
			shown.Event = &event
		}
		if cmd.JSON {
			if err := e.Encode(&shown); err != nil {
				return err
			}
			continue
		}
		if i > 0 {
			fmt.Fprintln(c.out)
		}
		if err := cmd.print(c.out, &shown); err != nil {
			return err
		}
	}
	return nil
}

// parkedFrom reads a parked event from the log.
func parkedFrom(ctx context.Context, log leat.Log, p *parkedEvent) (leat.Recorded, error) {
	for r, err := range log.ReadStream(ctx, p.Stream, leat.Range{After: p.Version - 1, Through: p.Version}) {
		if err == nil && r.ID != p.ID {
			err = fmt.Errorf("version %d of %q has the ID %q in this log, not %q: is it the log that the application follows?", p.Version, p.Stream, r.ID, p.ID)
		}
		return r, err
	}
	return leat.Recorded{}, fmt.Errorf("version %d of stream %q: %w in this log: is it the one that the application follows?", p.Version, p.Stream, leat.ErrNotFound)
}

func (cmd parkedShowCmd) print(w io.Writer, e *shownEvent) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "event\t%s, version %d of %s\n", name(e.Type), e.Version, name(e.Stream))
	fmt.Fprintf(t, "id\t%s\n", name(e.ID))
	fmt.Fprintf(t, "place\t%s, sequence %d\n", e.Shard, e.Seq)
	switch e.State {
	case stateDiscarded:
		fmt.Fprintf(t, "state\tdiscarded %s: %s\n", e.Discarded.Format(time.RFC3339), name(e.Reason))
	case stateWaiting:
		fmt.Fprintf(t, "state\twaits behind another of its stream since %s\n", e.At.Format(time.RFC3339))
	case stateRetrying:
		fmt.Fprintf(t, "state\tto be tried again; %d wait behind it\n", e.Waiting-1)
	default:
		fmt.Fprintf(t, "state\ttried %d times, last %s; %d wait behind it\n", e.Attempts, e.At.Format(time.RFC3339), e.Waiting-1)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if e.Error != "" {
		fmt.Fprintf(w, "error\n%s", indented(e.Error))
	}
	if e.Event == nil {
		return nil
	}
	data, err := json.MarshalIndent(e.Event, "  ", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "recorded\n  %s\n", data)
	return err
}

// indented returns a text of several lines as it may be printed.
func indented(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString("  " + strings.TrimRight(printable([]byte(strings.ReplaceAll(line, "\t", "    "))), " ") + "\n")
	}
	return b.String()
}

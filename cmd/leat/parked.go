package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

type parkedCmd struct {
	List    parkedListCmd    `cmd:"" default:"withargs" help:"Show the streams that are held up, and by which event."`
	Show    parkedShowCmd    `cmd:"" help:"Show what is parked of one stream, with the errors, and the events from the log."`
	Retry   parkedRetryCmd   `cmd:"" help:"Let an application try parked events again."`
	Discard parkedDiscardCmd `cmd:"" help:"Take one parked event out of the line for good."`
}

func (parkedCmd) Help() string {
	return `
An event that an application cannot handle is parked: set aside in the service's own database, with its error. Every later
event of the same stream waits behind it; other streams go on. Mend what is wrong and retry, or discard the event.

	$ export LEAT_DB=sqlite:stock.db
	$ leat parked list
	$ leat parked show stock order-536365 --log leat://127.0.0.1:7070/shop
	$ leat parked retry stock order-536365
	$ leat parked retry --all
	$ leat parked discard stock order-536365 3 --reason "a test order"

The application itself does the work, within about a second, when it runs.
`
}

// A parkedEvent is the form of an entry.
type parkedEvent struct {
	Application string       `json:"application"`
	Stream      string       `json:"stream"`
	Version     uint64       `json:"version"`
	Shard       leat.ShardID `json:"shard"`
	Seq         uint64       `json:"seq"`
	ID          string       `json:"id"`
	Type        string       `json:"type"`
	State       string       `json:"state"`           // failed, retrying, waiting, discarded
	Error       string       `json:"error,omitempty"` // empty when it only waits
	Attempts    int          `json:"attempts"`
	At          time.Time    `json:"at"`                // parked, or tried last
	Waiting     int          `json:"waiting,omitempty"` // of the first of a stream that waits: how many of it do, itself included
	Discarded   time.Time    `json:"discarded,omitzero"`
	Reason      string       `json:"reason,omitempty"` // given when it was discarded
}

// States of a parkedEvent.
const (
	stateFailed    = "failed"    // it waits for somebody to do something about it
	stateRetrying  = "retrying"  // the application is asked to handle it
	stateWaiting   = "waiting"   // behind another of its stream
	stateDiscarded = "discarded" // somebody took it out
)

// parkedOf returns what an application has parked, those of one stream unless it
// is empty, in the order of stream and version.
func parkedOf(ctx context.Context, store service.CheckpointStore, app, stream string) ([]parkedEvent, error) {
	events, err := store.Parked(ctx, app, stream)
	if err != nil {
		return nil, err
	}
	due, err := store.Due(ctx, app)
	if err != nil {
		return nil, err
	}
	var all []parkedEvent
	first := -1 // of the stream, that waits
	for _, p := range events {
		e := parkedEvent{
			Application: app, Stream: p.Stream, Version: p.Version, Shard: p.Shard, Seq: p.Seq, ID: p.ID, Type: p.Type,
			Error: p.Error, Attempts: p.Attempts, At: p.At, Discarded: p.Discarded, Reason: p.Reason,
		}
		switch {
		case !p.Waits():
			e.State = stateDiscarded
		case first >= 0 && all[first].Stream == p.Stream:
			e.State = stateWaiting
			all[first].Waiting++
		default:
			e.State, e.Waiting, first = stateFailed, 1, len(all)
			if slices.Contains(due, p.Stream) {
				e.State = stateRetrying
			}
		}
		all = append(all, e)
	}
	return all, nil
}

// checkApp returns an error that names the applications of a service unless it is
// one of them.
func checkApp(ctx context.Context, store service.CheckpointStore, app string) error {
	names, err := store.Applications(ctx)
	if err != nil || slices.Contains(names, app) {
		return err
	}
	return fmt.Errorf("application %q: %w in this database, which has %q", app, leat.ErrNotFound, names)
}

type parkedListCmd struct {
	databaseFlag
	App  string `arg:"" optional:"" help:"Only this application."`
	All  bool   `help:"Every event, also those that wait behind another or were discarded."`
	JSON bool   `help:"Print one JSON object an event, one a line."`
}

func (cmd parkedListCmd) Run(ctx context.Context, c console) error {
	return cmd.with(ctx, func(store service.CheckpointStore) error {
		names, err := store.Applications(ctx)
		if err != nil {
			return err
		}
		if cmd.App != "" {
			if err := checkApp(ctx, store, cmd.App); err != nil {
				return err
			}
			names = []string{cmd.App}
		}
		var all []parkedEvent
		for _, app := range names {
			events, err := parkedOf(ctx, store, app, "")
			if err != nil {
				return err
			}
			all = append(all, events...)
		}
		if !cmd.All {
			all = slices.DeleteFunc(all, func(e parkedEvent) bool { return e.State == stateWaiting || e.State == stateDiscarded })
		}
		if cmd.JSON {
			return printJSON(c, all)
		}
		return printParked(c, all)
	})
}

func printJSON(c console, all []parkedEvent) error {
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	for i := range all {
		if err := e.Encode(&all[i]); err != nil {
			return err
		}
	}
	return nil
}

func printParked(c console, all []parkedEvent) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(c.out, "nothing is parked")
		return err
	}
	now := time.Now()
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "APPLICATION\tSTREAM\tVERSION\tTYPE\tSTATE\tATTEMPTS\tLAST\tWAITING\tERROR")
	for i := range all {
		e := &all[i]
		waiting, why := "", e.Error
		if e.Waiting > 0 {
			waiting = strconv.Itoa(e.Waiting)
		}
		if e.State == stateDiscarded {
			why = "discarded: " + e.Reason
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%d\t%s ago\t%s\t%s\n",
			name(e.Application), name(e.Stream), e.Version, name(e.Type), e.State, e.Attempts, short(now.Sub(e.At)), waiting, name(why))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(c.out, cutLines(b.String(), terminalWidth(c.out)))
	return err
}

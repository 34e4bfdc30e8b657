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
	"github.com/leathq/leat/client"
	"github.com/leathq/leat/eventjson"
)

type appsCmd struct {
	List   appsListCmd   `cmd:"" default:"withargs" help:"Show them: how far they are, who works for them, what is parked."`
	Pause  appsPauseCmd  `cmd:"" help:"Let all workers of an application stand still."`
	Resume appsResumeCmd `cmd:"" help:"Let a paused application go on."`
}

func (appsCmd) Help() string {
	return `
Applications that run with package service tell their log's server every two seconds how they fare.

	$ leat apps --log leat://127.0.0.1:7070/shop
	$ leat apps --watch
	$ leat apps pause stock
	$ leat apps resume stock

LAG is how many events an application is not yet done with, BEHIND how long ago the oldest of them was recorded, WAITING
how many parked events wait: those that it could not handle, and those behind them (see leat parked). ETA is when a rebuild
has caught up, or else the lag. A worker that is silent for ten seconds is gone; it is shown for an hour, or until it is there
again. An application that nobody works for is shown for 30 days, so that nobody overlooks it; DELETE /v1/logs/LOG/apps/NAME
at the server's HTTP address forgets it at once.
`
}

// reporterFlag is how commands name the log at whose server applications report.
type reporterFlag struct {
	LogURL string `name:"log" env:"LEAT_LOG" required:"" placeholder:"URL" help:"The log at a server: leat://HOST:PORT/LOG."`
}

// with connects to the server for the time of do.
func (f reporterFlag) with(ctx context.Context, do func(leat.Reporter) error) error {
	if !served(f.LogURL) {
		return &leat.InvalidError{
			Field: "--log", Limit: "leat://HOST:PORT/LOG: applications report to the server of a log, and one in a directory has none", Got: strconv.Quote(f.LogURL),
		}
	}
	log, err := client.Dial(ctx, f.LogURL, client.Options{})
	if err != nil {
		return err
	}
	defer log.Close()
	return do(log)
}

type appsListCmd struct {
	reporterFlag
	App   string `arg:"" optional:"" help:"Only this application."`
	Watch bool   `xor:"form" help:"Show it again every two seconds, on a terminal, until interrupted."`
	JSON  bool   `xor:"form" help:"Print one JSON object an application, one a line."`
}

// watchEvery is how often --watch shows how applications fare.
const watchEvery = 2 * time.Second

func (cmd appsListCmd) Run(ctx context.Context, c console) error {
	if cmd.Watch && terminalWidth(c.out) == 0 {
		return fmt.Errorf("--watch needs a terminal: without one run leat apps again, or read leat_app_lag_events and the like at /metrics")
	}
	return cmd.with(ctx, func(r leat.Reporter) error {
		for {
			if err := cmd.show(ctx, c, r); err != nil || !cmd.Watch {
				return err
			}
			select {
			case <-ctx.Done():
				return errInterrupted
			case <-time.After(watchEvery):
			}
		}
	})
}

func (cmd appsListCmd) show(ctx context.Context, c console, r leat.Reporter) error {
	apps, err := r.Apps(ctx)
	if err != nil {
		return err
	}
	if cmd.App != "" {
		apps = slices.DeleteFunc(apps, func(a leat.App) bool { return a.Name != cmd.App })
		if len(apps) == 0 {
			return fmt.Errorf("application %q: %w among those that reported; leat apps lists them", cmd.App, leat.ErrNotFound)
		}
	}
	now := time.Now()
	if cmd.JSON {
		e := json.NewEncoder(c.out)
		for i := range apps {
			if err := e.Encode(eventjson.FromApp(&apps[i], now)); err != nil {
				return err
			}
		}
		return nil
	}
	if len(apps) == 0 {
		_, err := fmt.Fprintln(c.out, "no application has reported lately")
		return err
	}
	var b strings.Builder
	if cmd.Watch {
		b.WriteString("\x1b[H\x1b[2J") // from the top of an empty screen
	}
	if err := printApps(&b, apps, now); err != nil {
		return err
	}
	_, err = io.WriteString(c.out, cutLines(b.String(), terminalWidth(c.out)))
	return err
}

// cutLines cuts lines to a width, unless that is 0, and spaces at their ends.
func cutLines(s string, width int) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		line = strings.TrimRight(line, " \n")
		if r := []rune(line); width > 0 && len(r) > width {
			line = string(r[:width-1]) + "…"
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

func printApps(w io.Writer, apps []leat.App, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "APPLICATION\tWORKER\tSTATE\tSHARDS\tLAG\tBEHIND\tRATE/S\tWAITING\tETA\tLAST ERROR")
	for i := range apps {
		a := &apps[i]
		s := a.Status()
		alive, held, open := 0, 0, 0
		for j := range a.Workers {
			if a.Workers[j].Alive() {
				alive++
			}
		}
		for _, shard := range s.Shards {
			if shard.Held {
				held++
			}
			if !shard.Closed {
				open++
			}
		}
		if len(a.Workers) == 0 { // nobody knows more of it
			fmt.Fprintf(t, "%s\t\t%s\t-\t-\t-\t-\t-\t-\t\n", name(a.Name), appState(a, &s, alive))
			continue
		}
		row(t, name(a.Name), "", appState(a, &s, alive), fmt.Sprintf("%d of %d", held, open), strconv.FormatUint(s.Waiting, 10), &s, now)
		for j := range a.Workers {
			w := &a.Workers[j]
			held := 0
			for _, shard := range w.Shards {
				if shard.Held && w.Alive() {
					held++
				}
			}
			part := ofHeld(w)
			row(t, "", name(w.Instance()), workerState(w, now), strconv.Itoa(held), "", &part, now)
		}
	}
	return t.Flush()
}

// ofHeld returns the status of what a worker works on.
func ofHeld(w *leat.Worker) leat.AppStatus {
	s := w.AppStatus
	s.Shards = slices.DeleteFunc(slices.Clone(s.Shards), func(shard leat.ShardStatus) bool { return !shard.Held || !w.Alive() })
	s.Sum()
	return s
}

func row(w io.Writer, app, worker, state, shards, waiting string, s *leat.AppStatus, now time.Time) {
	failed := ""
	if s.LastError != "" {
		failed = fmt.Sprintf("%s ago: %s", short(now.Sub(s.LastAt)), name(s.LastError))
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%.0f\t%s\t%s\t%s\n",
		app, worker, state, shards, s.Lag, short(s.Behind(now)), s.Rate, waiting, eta(s), failed)
}

func appState(a *leat.App, s *leat.AppStatus, alive int) string {
	switch {
	case a.Paused:
		return "paused"
	case alive == 0:
		return "no worker"
	case s.Replay > 0:
		return fmt.Sprintf("rebuilding, %d left", s.Replay)
	}
	return "running"
}

func workerState(w *leat.Worker, now time.Time) string {
	switch state := w.State(); state {
	case leat.WorkerEnded:
		return fmt.Sprintf("ended %s ago", short(now.Sub(w.At)))
	case leat.WorkerGone:
		return fmt.Sprintf("gone since %s", short(now.Sub(w.At)))
	default:
		return string(state)
	}
}

func eta(s *leat.AppStatus) string {
	switch left := s.ETA(); {
	case left == 0:
		return "-"
	case left < 0:
		return "never"
	default:
		return short(left)
	}
}

// short writes a duration with as many digits as a person wants to read.
func short(d time.Duration) string {
	switch d = max(0, d); {
	case d == 0:
		return "0s"
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	case d < 100*24*time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

// name returns a name from elsewhere as it may be printed on one line.
func name(s string) string {
	const most = 100
	s = printable([]byte(s))
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return s
}

type appsPauseCmd struct {
	reporterFlag
	App string `arg:"" help:"The application."`
}

func (appsPauseCmd) Help() string {
	return `
Within seconds every worker finishes what it is at, saves its checkpoint and gives up its shards. Workers that start later
stand still as well, also after the server has started again, until leat apps resume.

	$ leat apps pause stock
`
}

func (cmd appsPauseCmd) Run(ctx context.Context, c console) error {
	return cmd.with(ctx, func(r leat.Reporter) error {
		if err := r.Pause(ctx, cmd.App); err != nil {
			return err
		}
		known, err := r.Apps(ctx)
		if err != nil {
			return err
		}
		working := 0
		for _, a := range known {
			if a.Name != cmd.App {
				continue
			}
			for i := range a.Workers {
				if a.Workers[i].Alive() {
					working++
				}
			}
		}
		note := fmt.Sprintf("its %d workers stop within seconds", working)
		if working == 0 {
			note = "no worker of that name has reported lately"
		}
		_, err = fmt.Fprintf(c.out, "%s is paused; %s. To go on: leat apps resume %s\n", name(cmd.App), note, name(cmd.App))
		return err
	})
}

type appsResumeCmd struct {
	reporterFlag
	App string `arg:"" help:"The application."`
}

func (cmd appsResumeCmd) Run(ctx context.Context, c console) error {
	return cmd.with(ctx, func(r leat.Reporter) error {
		if err := r.Resume(ctx, cmd.App); err != nil {
			return err
		}
		_, err := fmt.Fprintf(c.out, "%s goes on within seconds\n", name(cmd.App))
		return err
	})
}

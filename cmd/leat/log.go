package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
	"github.com/leathq/leat/engine"
	"github.com/leathq/leat/eventjson"
)

// openedLog is a log that a command has opened and has to close.
type openedLog interface {
	leat.Log
	io.Closer
}

// logFlag is how commands that work on a log's events name it.
type logFlag struct {
	LogURL string `name:"log" env:"LEAT_LOG" required:"" placeholder:"URL" help:"The log: dir:PATH is one in a directory, leat://HOST:PORT/LOG one at a server."`
}

// with opens the log for the time of do.
func (f logFlag) with(ctx context.Context, do func(leat.Log) error) (err error) {
	log, err := openLog(ctx, f.LogURL)
	if err != nil {
		return err
	}
	defer func() {
		if e := log.Close(); err == nil {
			err = e
		}
	}()
	return do(log)
}

func openLog(ctx context.Context, url string) (openedLog, error) {
	if served(url) {
		return client.Dial(ctx, url, client.Options{})
	}
	dir, err := directory(url)
	if err != nil {
		return nil, err
	}
	return engine.Open(dir, engine.Options{})
}

// served reports whether a URL names a log at a server.
func served(url string) bool { return strings.HasPrefix(url, client.Scheme+":") }

// directory returns the path in a dir: URL.
func directory(url string) (string, error) {
	path, ok := strings.CutPrefix(url, "dir:")
	if !ok || path == "" {
		return "", &leat.InvalidError{Field: "log URL", Limit: "dir:PATH or leat://HOST:PORT/LOG", Got: fmt.Sprintf("%q", url)}
	}
	return path, nil
}

type logCmd struct {
	Create logCreateCmd `cmd:"" help:"Make a new, empty log."`
	Show   logShowCmd   `cmd:"" help:"Show what a log is and holds."`
	Trim   logTrimCmd   `cmd:"" help:"Forget the oldest events of a shard."`
}

type logCreateCmd struct {
	URL    string `arg:"" env:"LEAT_LOG" placeholder:"URL" help:"Where: dir:PATH, a directory that is empty or does not exist, or leat://HOST:PORT/LOG at a server."`
	Shards int    `default:"1" help:"Into how many shards to divide the log. They can be split later."`
	Single bool   `help:"One shard for good: total order over all streams, and appends that write any of them at once."`
	ID     string `help:"The log's ID, a UUID when left out."`
}

func (logCreateCmd) Help() string {
	return `
A shard is a part of the log with an order of its own; a stream lives in one of them. One shard is plenty for one
machine. More let a fleet of workers share the reading.

	$ leat log create dir:mylog
	$ leat log create leat://127.0.0.1:7070/orders --shards 4
`
}

const mostShards = 1024

func (cmd logCreateCmd) Run(ctx context.Context, c console) error {
	if cmd.Shards < 1 || cmd.Shards > mostShards {
		return &leat.InvalidError{Field: "--shards", Limit: fmt.Sprintf("1 to %d", mostShards), Got: fmt.Sprint(cmd.Shards)}
	}
	info, err := cmd.create(ctx, leat.Config{ID: cmd.ID, Single: cmd.Single, Shards: leat.EvenShards(cmd.Shards)})
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "created log %s in %s\n", info.ID, strings.TrimPrefix(cmd.URL, "dir:"))
	return nil
}

func (cmd logCreateCmd) create(ctx context.Context, config leat.Config) (_ leat.Info, err error) {
	if served(cmd.URL) {
		return client.Create(ctx, cmd.URL, config, client.Options{})
	}
	dir, err := directory(cmd.URL)
	if err != nil {
		return leat.Info{}, err
	}
	log, err := engine.Create(dir, config, engine.Options{})
	if err != nil {
		return leat.Info{}, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	return log.Info(ctx)
}

type logShowCmd struct {
	URL  string `arg:"" env:"LEAT_LOG" placeholder:"URL" help:"The log: dir:PATH or leat://HOST:PORT/LOG."`
	JSON bool   `help:"Print one JSON object."`
}

func (cmd logShowCmd) Run(ctx context.Context, c console) error {
	return logFlag{cmd.URL}.with(ctx, func(log leat.Log) error {
		info, err := log.Info(ctx)
		if err != nil {
			return err
		}
		shards, err := log.Shards(ctx)
		if err != nil {
			return err
		}
		if cmd.JSON {
			return json.NewEncoder(c.out).Encode(eventjson.FromLog("", info, shards))
		}
		var disk uint64 // a server has it in its metrics
		if l, ok := log.(*engine.Log); ok {
			disk = l.Stats().DiskBytes
		}
		return printLog(c.out, info, shards, disk)
	})
}

func printLog(w io.Writer, info leat.Info, shards []leat.Shard, disk uint64) error {
	var events uint64
	checkpoint := leat.Checkpoint{Log: info.ID, Epoch: info.Epoch}
	for _, s := range shards {
		events += s.Head + 1 - s.Oldest
		checkpoint.Set(s.ID, s.Head)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "log\t%s\n", info.ID)
	fmt.Fprintf(t, "epoch\t%d\n", info.Epoch)
	fmt.Fprintf(t, "created\t%s\n", info.Created.Format(time.RFC3339Nano))
	fmt.Fprintf(t, "events\t%d\n", events)
	fmt.Fprintf(t, "head\t%s\n", checkpoint)
	if disk > 0 {
		fmt.Fprintf(t, "disk\t%.1f MB\n", float64(disk)/1e6)
	}
	if info.Single {
		fmt.Fprintf(t, "single\tone shard for good\n")
	}
	fmt.Fprintf(t, "\nSHARD\tFROM\tTO\tOLDEST\tHEAD\tSTATE\n")
	for _, s := range shards {
		state := "open"
		if s.Closed {
			state = "closed"
		}
		for _, p := range s.Parents {
			state += ", continues " + string(p)
		}
		fmt.Fprintf(t, "%s\t%s…\t%s…\t%d\t%d\t%s\n", s.ID, s.From.String()[:8], s.To.String()[:8], s.Oldest, s.Head, state)
	}
	return t.Flush()
}

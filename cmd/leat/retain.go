package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"text/tabwriter"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

type retainCmd struct {
	URL string `arg:"" env:"LEAT_LOG" placeholder:"URL" help:"The log: dir:PATH or leat://HOST:PORT/LOG."`
	storeFlag
	Days   int      `name:"days" placeholder:"N" help:"Keep the events of so many days."`
	Bytes  byteSize `name:"bytes" placeholder:"SIZE" help:"Keep so many bytes of events, such as 20GiB, the newest of all shards together. With --days as well, what either does not keep goes."`
	Key    []string `name:"public-key" env:"LEAT_PUBLIC_KEY" placeholder:"KEY" help:"Trust what is signed with this public key and no other (or, of several, any). Left out, the archive's own word is taken for its keys."`
	DryRun bool     `help:"Show what would go, and change nothing."`
	JSON   bool     `help:"Print one JSON object."`
}

// maxDays is how many days a time.Duration holds.
const maxDays = int(math.MaxInt64 / (24 * time.Hour))

// daysOf returns a number of days, which a flag names, as a duration.
func daysOf(flag string, n int) (time.Duration, error) {
	if n < 0 || n > maxDays {
		return 0, &leat.InvalidError{Field: flag, Limit: fmt.Sprintf("a number of days, 0 to %d", maxDays), Got: fmt.Sprint(n)}
	}
	return time.Duration(n) * 24 * time.Hour, nil
}

func (retainCmd) Help() string {
	return `
Gives back the space of events that are archived. First it reads them back from the archive, checks that they are what was
signed, and compares them with the log, one by one; then it removes them from the log. Nothing goes that is not archived:
when something is damaged or missing there, it names the object and keeps those events and all newer ones.

	$ leat retain leat://127.0.0.1:7070/orders --archive s3://backup/leat --days 30 --dry-run
	$ leat retain leat://127.0.0.1:7070/orders --archive s3://backup/leat --days 30
	$ leat retain dir:mylog --archive file:///backup/leat --bytes 20GiB

Whole segments of the archive go, so a little more may stay than is asked for. Who reads the log from its beginning is told
that it was trimmed, unless a server serves it with its archive: see leat serve --archive, which also does this by itself.
It can be interrupted at any time. The log records what was removed in the stream $log.
`
}

// retainedJSON is the form in which retain prints what is left as JSON.
type retainedJSON struct {
	Log          string              `json:"log"`
	DryRun       bool                `json:"dry_run"`
	Removed      uint64              `json:"removed"` // events
	RemovedBytes int64               `json:"removed_bytes"`
	Kept         uint64              `json:"kept"`
	KeptBytes    int64               `json:"kept_bytes"`
	Shards       []retainedShardJSON `json:"shards"`
}

type retainedShardJSON struct {
	ID           leat.ShardID `json:"id"`
	From         uint64       `json:"from"`   // first sequence kept before
	Oldest       uint64       `json:"oldest"` // first sequence kept now
	Head         uint64       `json:"head"`
	Archived     uint64       `json:"archived"`
	Segments     int          `json:"segments"`
	RemovedBytes int64        `json:"removed_bytes"`
	KeptBytes    int64        `json:"kept_bytes"`
}

func (cmd retainCmd) Run(ctx context.Context, c console) error {
	if cmd.Days < 0 || cmd.Bytes < 0 || cmd.Days == 0 && cmd.Bytes == 0 {
		return &leat.InvalidError{Field: "--days, --bytes", Limit: "at least one of the two, above 0"}
	}
	age, err := daysOf("--days", cmd.Days)
	if err != nil {
		return err
	}
	o := archive.RetainOptions{Age: age, Bytes: int64(cmd.Bytes), Keys: cmd.Key}
	return logFlag{cmd.URL}.with(ctx, func(log leat.Log) error {
		store, err := openStore(ctx, cmd.Archive)
		if err != nil {
			return err
		}
		shards, err := cmd.retain(ctx, c, log, store, o)
		if err != nil && len(shards) == 0 {
			return err
		}
		info, e := log.Info(ctx)
		if e != nil {
			return errors.Join(err, e)
		}
		return errors.Join(cmd.print(c.out, cmd.summarize(info.ID, shards)), err)
	})
}

// retain finds out what is to go and, unless it is a dry run, lets it go.
func (cmd retainCmd) retain(ctx context.Context, c console, log leat.Log, store archive.Store, o archive.RetainOptions) ([]archive.Retained, error) {
	o.DryRun = true
	plan, err := archive.Retain(ctx, log, store, o)
	if err != nil || cmd.DryRun {
		return plan, err
	}
	var total uint64
	for _, s := range plan {
		total += s.Oldest - s.From
	}
	bar := newBar(c.err, "verifying", "events")
	defer bar.clear()
	o.DryRun, o.Progress = false, func(events uint64) { bar.show(events, total) }
	return archive.Retain(ctx, log, store, o)
}

func (cmd retainCmd) summarize(log string, shards []archive.Retained) retainedJSON {
	r := retainedJSON{Log: log, DryRun: cmd.DryRun, Shards: []retainedShardJSON{}}
	for _, s := range shards {
		r.Removed += s.Oldest - s.From
		r.RemovedBytes += s.RemovedBytes
		r.Kept += s.Head + 1 - s.Oldest
		r.KeptBytes += s.KeptBytes
		r.Shards = append(r.Shards, retainedShardJSON{
			ID: s.Shard, From: s.From, Oldest: s.Oldest, Head: s.Head, Archived: s.Archived,
			Segments: s.Segments, RemovedBytes: s.RemovedBytes, KeptBytes: s.KeptBytes,
		})
	}
	return r
}

func (cmd retainCmd) print(w io.Writer, r retainedJSON) error {
	if cmd.JSON {
		return json.NewEncoder(w).Encode(r)
	}
	did := "removed"
	if cmd.DryRun {
		did = "would remove"
	}
	fmt.Fprintf(w, "log %s: %s %d events, %.1f MB; kept are %d events, %.1f MB\n\n",
		r.Log, did, r.Removed, float64(r.RemovedBytes)/1e6, r.Kept, float64(r.KeptBytes)/1e6)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "SHARD\tKEPT FROM\tBEFORE\tARCHIVED\tHEAD\tSEGMENTS\tREMOVED\tKEPT\n")
	for _, s := range r.Shards {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%.1f MB\t%.1f MB\n", s.ID, s.Oldest, s.From, s.Archived, s.Head, s.Segments,
			float64(s.RemovedBytes)/1e6, float64(s.KeptBytes)/1e6)
	}
	return t.Flush()
}

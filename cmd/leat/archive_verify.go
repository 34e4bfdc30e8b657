package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

type archiveVerifyCmd struct {
	archiveFlags
	Known  string `placeholder:"FILE" type:"existingfile" help:"Signed checkpoints that were kept elsewhere: what they speak for has to be there still."`
	Since  string `placeholder:"TIME" help:"Leave out segments whose events were all committed before: 2026-11-01, 2026-11-01T12:00:00Z, 720h (ago)."`
	LogURL string `name:"log" placeholder:"URL" help:"Also compare each event that this log still keeps: dir:PATH or leat://HOST:PORT/LOG."`
	JSON   bool   `help:"Print one JSON object."`
}

func (archiveVerifyCmd) Help() string {
	return `
Reads the archive from end to end and recomputes everything: each object's hash, the chain of manifests and their
signatures, the leaf of each event, the trees, the order of sequences, times and versions, the lineage of shards, and
that compacted files hold the same events. It changes nothing. It names each object that is at fault, and what that means for the data; the exit code is 1 then.

Without --public-key it takes the archive's own word for whose signatures count, so it finds damage, and not what
somebody has forged who can write there. That the end of a chain was cut off only checkpoints can tell that were kept
elsewhere.

	$ leat archive verify --archive file:///backup/leat --public-key leat+8f5c1d2e+A…
	$ leat archive status --archive file:///backup/leat --checkpoints > november.checkpoints
	$ leat archive verify --archive file:///backup/leat --known november.checkpoints
	$ leat archive verify --archive file:///backup/leat --log leat://localhost:7900/shop --since 720h
	$ leat archive verify --archive file:///backup/leat --json | jq .problems
`
}

func (cmd archiveVerifyCmd) Run(ctx context.Context, c console) (err error) {
	o := archive.VerifyOptions{PublicKeys: cmd.Key}
	if o.Since, err = parseSince(cmd.Since, time.Now()); err != nil {
		return err
	}
	if cmd.Known != "" {
		if o.Known, err = os.ReadFile(cmd.Known); err != nil {
			return err
		}
	}
	store, id, err := cmd.find(ctx)
	if err != nil {
		return err
	}
	if cmd.LogURL == "" {
		return cmd.verify(ctx, c, store, id, o)
	}
	return logFlag{cmd.LogURL}.with(ctx, func(log leat.Log) error {
		o.Log = log
		return cmd.verify(ctx, c, store, id, o)
	})
}

func (cmd archiveVerifyCmd) verify(ctx context.Context, c console, store archive.Store, id string, o archive.VerifyOptions) error {
	bar := newBar(c.err, "verifying", "MB")
	const mb = 1e6
	o.Progress = func(done, total uint64) { bar.show(done/mb, total/mb) }
	began := time.Now()
	r, err := archive.Verify(ctx, store, id, o)
	bar.clear()
	if err != nil {
		return err
	}
	if cmd.JSON {
		err = json.NewEncoder(c.out).Encode(verifiedJSON(r))
	} else {
		err = printVerified(c.out, r, time.Since(began))
	}
	if len(o.PublicKeys) == 0 && err == nil {
		fmt.Fprintln(c.err, "the archive's own word was taken for its keys: give --public-key to find forgeries too")
	}
	if err == nil && len(r.Problems) > 0 {
		return fmt.Errorf("the archive of log %s has %d problems: %w", id, len(r.Problems), leat.ErrCorrupt)
	}
	return err
}

// verified is the form in which verify prints a report as JSON.
type verified struct {
	Log       string            `json:"log"`
	Shards    uint64            `json:"shards"`
	Manifests uint64            `json:"manifests"`
	Segments  uint64            `json:"segments"`
	Skipped   uint64            `json:"skipped"`
	Events    uint64            `json:"events"`
	Compacted uint64            `json:"compacted"` // files
	Bytes     int64             `json:"bytes"`
	Compared  uint64            `json:"compared"`
	Problems  []archive.Finding `json:"problems"`
	Notes     []archive.Finding `json:"notes"`
}

func verifiedJSON(r archive.Report) verified {
	v := verified(r)
	if v.Problems == nil {
		v.Problems = []archive.Finding{}
	}
	if v.Notes == nil {
		v.Notes = []archive.Finding{}
	}
	return v
}

func printVerified(w io.Writer, r archive.Report, took time.Duration) error {
	printFindings(w, "•", r.Notes)
	printFindings(w, "✗", r.Problems)
	mark := "✓"
	if len(r.Problems) > 0 {
		mark = "✗"
	}
	fmt.Fprintf(w, "%s archive of log %s: %d events in %d segments, %.1f MB, %d manifests, %d shards; %d problems, in %.1f s\n",
		mark, r.Log, r.Events, r.Segments, float64(r.Bytes)/1e6, r.Manifests, r.Shards, len(r.Problems), took.Seconds())
	if r.Skipped > 0 {
		fmt.Fprintf(w, "  left out %d segments with older events\n", r.Skipped)
	}
	if r.Compacted > 0 {
		fmt.Fprintf(w, "  compared %d compacted files with the segments\n", r.Compacted)
	}
	if r.Compared > 0 {
		fmt.Fprintf(w, "  compared %d events with the log\n", r.Compared)
	}
	return nil
}

func printFindings(w io.Writer, mark string, findings []archive.Finding) {
	for _, f := range findings {
		fmt.Fprintf(w, "%s %s %s\n", mark, printable([]byte(f.Object)), printable([]byte(f.What)))
		if f.Meaning != "" {
			fmt.Fprintf(w, "    %s\n", printable([]byte(f.Meaning)))
		}
	}
}

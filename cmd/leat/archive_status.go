package main

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

type archiveStatusCmd struct {
	archiveFlags
	Checkpoints bool `xor:"form" help:"Print the signed checkpoint of each shard, to be kept elsewhere."`
	JSON        bool `xor:"form" help:"Print one JSON object."`
}

func (archiveStatusCmd) Help() string {
	return `
	$ leat archive status --archive file:///backup/leat
	$ leat archive status --archive s3://company-events/leat
	$ leat archive status --archive file:///backup/leat --checkpoints > shop-2026-11.checkpoints

Checkpoints that are kept where the archive's owner cannot change them tell later whether anything was removed: see leat
archive verify --known and leat archive prove --since.
`
}

// archiveStatus is what the command prints as JSON.
type archiveStatus struct {
	Log        string          `json:"log"`
	Checkpoint string          `json:"checkpoint"`
	Events     uint64          `json:"events"`
	EventBytes int64           `json:"event_bytes"`
	Segments   uint64          `json:"segments"`
	Bytes      int64           `json:"bytes"`
	Shards     []archivedShard `json:"shards"`
}

type archivedShard struct {
	ID     leat.ShardID `json:"id"`
	Events uint64       `json:"events"`
	Until  time.Time    `json:"until,omitzero"` // At of the last event
	Root   string       `json:"root"`
	Closed bool         `json:"closed"`
}

func (cmd archiveStatusCmd) Run(ctx context.Context, c console) error {
	a, err := cmd.open(ctx)
	if err != nil {
		return err
	}
	if cmd.Checkpoints {
		return printCheckpoints(ctx, c, a)
	}
	s, err := describeArchive(ctx, a)
	if err != nil {
		return err
	}
	if cmd.JSON {
		return json.NewEncoder(c.out).Encode(s)
	}
	t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "log\t%s\n", s.Log)
	fmt.Fprintf(t, "archived\t%s\n", s.Checkpoint)
	fmt.Fprintf(t, "events\t%d, %.1f MB\n", s.Events, float64(s.EventBytes)/1e6)
	fmt.Fprintf(t, "segments\t%d, %.1f MB\n", s.Segments, float64(s.Bytes)/1e6)
	fmt.Fprintf(t, "\nSHARD\tEVENTS\tUNTIL\tTREE ROOT\tSTATE\n")
	for _, shard := range s.Shards {
		state, until := "open", "-"
		if shard.Closed {
			state = "closed"
		}
		if !shard.Until.IsZero() {
			until = shard.Until.Format(time.RFC3339)
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\n", shard.ID, shard.Events, until, shard.Root, state)
	}
	return t.Flush()
}

func describeArchive(ctx context.Context, a *archive.Archive) (archiveStatus, error) {
	c, err := a.Checkpoint(ctx)
	if err != nil {
		return archiveStatus{}, err
	}
	ends, err := a.Ends(ctx)
	if err != nil {
		return archiveStatus{}, err
	}
	s := archiveStatus{Log: a.Log(), Checkpoint: c.String()}
	for _, e := range ends {
		s.Events += e.Checkpoint.Size
		s.EventBytes += e.EventBytes
		s.Segments += e.Segments
		s.Bytes += e.Bytes
		s.Shards = append(s.Shards, archivedShard{
			ID: e.Checkpoint.Shard, Events: e.Checkpoint.Size, Until: e.Until, Root: e.Checkpoint.Root.String(), Closed: e.Closed,
		})
	}
	return s, nil
}

// printCheckpoints prints signed checkpoints with an empty line after each.
func printCheckpoints(ctx context.Context, c console, a *archive.Archive) error {
	ends, err := a.Ends(ctx)
	if err != nil {
		return err
	}
	for _, e := range ends {
		if _, err := fmt.Fprintln(c.out, e.Checkpoint.Note); err != nil {
			return err
		}
	}
	return nil
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/leathq/leat/archive"
)

type archiveCompactCmd struct {
	archiveFlags
	KeyFile string        `name:"key" env:"LEAT_ARCHIVE_KEY" required:"" placeholder:"FILE" type:"existingfile" help:"The key that the archive is signed with."`
	Grace   time.Duration `default:"24h" help:"How long files that were replaced are kept for those who are reading them."`
	TempDir string        `placeholder:"DIR" type:"existingdir" help:"Where days are sorted that do not fit in memory."`
	JSON    bool          `help:"Print one JSON object."`
}

func (archiveCompactCmd) Help() string {
	return `
Sorts what is archived by stream: each day that is over into files of its own, and the days of each month that is over
into those of the month. A stream then loads from a few small parts of a few files. The segments stay as they are; they
are what a log is restored from.

Run it once a day. It can be interrupted at any time, and several may run at once.

	$ leat archive compact --archive file:///backup/leat --key archive.key
	$ leat archive compact --archive s3://backup/leat --id shop --key archive.key --temp-dir /var/tmp --json
`
}

// compactedJSON is what the command prints as JSON.
type compactedJSON struct {
	Log     string `json:"log"`
	Days    int    `json:"days"`
	Months  int    `json:"months"`
	Events  uint64 `json:"events"`
	Files   int    `json:"files"`
	Removed int    `json:"removed"`
}

func (cmd archiveCompactCmd) Run(ctx context.Context, c console) error {
	a, err := cmd.open(ctx)
	if err != nil {
		return err
	}
	key, err := archive.LoadKey(cmd.KeyFile)
	if err != nil {
		return err
	}
	bar := newBar(c.err, "compacting", "events")
	r, err := a.Compact(ctx, archive.CompactOptions{Key: key, Grace: cmd.Grace, TempDir: cmd.TempDir, Progress: bar.show})
	bar.clear()
	if err != nil {
		return err
	}
	if cmd.JSON {
		return json.NewEncoder(c.out).Encode(compactedJSON{a.Log(), r.Days, r.Months, r.Events, r.Files, r.Removed})
	}
	_, err = fmt.Fprintf(c.out, "log %s: compacted %d days and %d months, %d events in %d files; removed %d files\n",
		a.Log(), r.Days, r.Months, r.Events, r.Files, r.Removed)
	return err
}

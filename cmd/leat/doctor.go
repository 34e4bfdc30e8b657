package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
)

type doctorCmd struct {
	URL    string `arg:"" env:"LEAT_LOG" placeholder:"URL" help:"The log: dir:PATH. No other process may have it open."`
	Repair bool   `help:"Rebuild the index from the blocks first."`
	JSON   bool   `help:"Print one JSON object."`
}

func (doctorCmd) Help() string {
	return `
Reads the log from end to end and compares everything with everything: the checksum and content of each block, the
order of sequences, times and versions, and the index of streams and event IDs. It changes nothing. The exit code is 1
when something is wrong.

With --repair it rebuilds the index from the blocks, which are the truth, and then checks. A damaged block cannot be
rebuilt: then it names the block and changes nothing.

	$ leat doctor dir:mylog
	$ leat doctor dir:mylog --repair
	$ leat doctor dir:data/logs/orders           a server's log, while the server is stopped
`
}

func (cmd doctorCmd) Run(ctx context.Context, c console) error {
	if served(cmd.URL) {
		return &leat.InvalidError{Field: "log URL", Got: fmt.Sprintf("%q", cmd.URL),
			Limit: "dir:PATH: doctor reads a log's files, so stop the server and give DATA/logs/LOG"}
	}
	dir, err := directory(cmd.URL)
	if err != nil {
		return err
	}
	examine, title := engine.Check, "checking"
	if cmd.Repair {
		examine, title = engine.Repair, "repairing"
	}
	bar := newBar(c.err, title, "events")
	report, err := examine(ctx, dir, engine.Options{}, bar.show)
	bar.clear()
	if err != nil {
		return err
	}
	if cmd.JSON {
		err = json.NewEncoder(c.out).Encode(diagnose(report))
	} else {
		err = printReport(c.out, report)
	}
	if err == nil && report.Found > 0 {
		return fmt.Errorf("the log in %s has %d problems: %w", dir, report.Found, leat.ErrCorrupt)
	}
	return err
}

// diagnosisJSON is the form in which doctor prints a report as JSON.
type diagnosisJSON struct {
	Log      string        `json:"log"`
	Events   uint64        `json:"events"`
	Streams  uint64        `json:"streams"`
	IDs      uint64        `json:"ids"`
	Blocks   uint64        `json:"blocks"`
	Found    int           `json:"found"`
	Problems []problemJSON `json:"problems"` // the first engine.MaxProblems
}

type problemJSON struct {
	Place string `json:"place"`
	What  string `json:"what"`
}

func diagnose(r engine.Report) diagnosisJSON {
	d := diagnosisJSON{
		Log: r.Info.ID, Events: r.Events, Streams: r.Streams, IDs: r.IDs, Blocks: r.Blocks,
		Found: r.Found, Problems: []problemJSON{},
	}
	for _, p := range r.Problems {
		d.Problems = append(d.Problems, problemJSON(p))
	}
	return d
}

func printReport(w io.Writer, r engine.Report) error {
	for _, p := range r.Problems {
		fmt.Fprintf(w, "✗ %s\n", printable([]byte(p.String())))
	}
	if more := r.Found - len(r.Problems); more > 0 {
		fmt.Fprintf(w, "✗ and %d more\n", more)
	}
	mark := "✓"
	if r.Found > 0 {
		mark = "✗"
	}
	_, err := fmt.Fprintf(w, "%s log %s: %d events in %d blocks, %d shards, %d streams, %d event IDs; %d problems\n",
		mark, r.Info.ID, r.Events, r.Blocks, len(r.Shards), r.Streams, r.IDs, r.Found)
	return err
}

// A bar shows how far long work is, on a terminal; elsewhere it does nothing.
type bar struct {
	w     io.Writer
	title string
	unit  string // of what is counted
	shown time.Time
	width int
}

func newBar(w io.Writer, title, unit string) *bar {
	return &bar{w: w, title: title, unit: unit, width: terminalWidth(w)}
}

func (b *bar) show(done, total uint64) {
	const every, cells = 100 * time.Millisecond, 30
	if b.width == 0 || total == 0 || time.Since(b.shown) < every {
		return
	}
	b.shown = time.Now()
	full := int(done * cells / total)
	fmt.Fprintf(b.w, "\r%s %s%s %3d%% of %d %s\x1b[K",
		b.title, strings.Repeat("█", full), strings.Repeat("░", cells-full), done*100/total, total, b.unit)
}

// clear takes the bar off the terminal.
func (b *bar) clear() {
	if !b.shown.IsZero() {
		fmt.Fprint(b.w, "\r\x1b[K")
	}
}

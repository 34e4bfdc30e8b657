package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/leathq/leat/examples/shop/check"
	"github.com/leathq/leat/examples/shop/supervisor"
)

// A report is what a run comes to.
type report struct {
	trade     *trade
	audit     *audit
	apps      []application
	processes []supervisor.Status
	archive   archiveStatus
	memory    int64 // bytes of this process, at most; 0 where it is not known
	checks    []check.Result
}

func (r *report) ok() bool { return check.OK(r.checks) }

// nothingParked checks that no application gave up on an event.
func (r *report) nothingParked() check.Result {
	parked := uint64(0)
	var who []string
	for _, a := range r.apps {
		if a.parked > 0 {
			parked += a.parked
			who = append(who, fmt.Sprintf("%s: %s", a.name, a.why))
		}
	}
	return check.Result{
		Name: "applications: no event parked", Expected: "0 parked", OK: parked == 0,
		Actual: strings.Join(append([]string{fmt.Sprintf("%d parked", parked)}, who...), "; "),
	}
}

// print writes the report: what failed on top.
func (r *report) print(out io.Writer) {
	fmt.Fprintf(out, "\n%s\n", r.verdict())
	for _, c := range r.checks {
		if !c.OK {
			fmt.Fprintf(out, "\n  ✗ %s\n      expected  %s\n      found     %s\n", c.Name, c.Expected, c.Actual)
		}
	}
	r.run(out)
	r.events(out)
	r.applications(out)
	r.processTable(out)
	r.agreeing(out)
	fmt.Fprintf(out, "\n%s\n", r.verdict()) // again, where the eye is at the end
}

func (r *report) verdict() string {
	failed := 0
	for _, c := range r.checks {
		if !c.OK {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Sprintf("THE BOOKS DO NOT AGREE: %d of %d checks failed.", failed, len(r.checks))
	}
	return fmt.Sprintf("The books agree: all %d checks.", len(r.checks))
}

func (r *report) run(out io.Writer) {
	t := r.trade
	new := events(t.end) - t.was
	source := fmt.Sprintf("made up (--seed %d --count %d)", t.in.Seed, t.in.Count)
	if t.in.Orders != "" {
		source = t.in.Orders
	}
	data := t.dir
	if t.temporary {
		data += " (removed at the end; --data DIR keeps it)"
	}
	w := table(out)
	fmt.Fprintf(w, "\n  orders\t%s: %s rows, %s invoices, %s articles\n", source,
		thousands(int64(t.plan.Rows)), thousands(int64(len(t.plan.Steps))), thousands(int64(len(t.plan.Catalogue))))
	if t.was > 0 {
		fmt.Fprintf(w, "  continued\tthe log held %s events, %s are new\n", thousands(t.was), thousands(new))
	}
	fmt.Fprintf(w, "  commands\tgiven in %s: %s invoices/s\n", clock(t.driving), thousands(perSecond(int64(len(t.plan.Steps)), t.driving)))
	fmt.Fprintf(w, "  events\thandled in %s: %s events/s recorded\n", clock(t.handling), thousands(perSecond(new, t.handling)))
	fmt.Fprintf(w, "  archive\t%s of %s events in %d Parquet segments, %s of %s\n",
		thousands(events(r.archive.Archived)), thousands(events(t.end)), r.archive.Segments, size(r.archive.Bytes), size(r.archive.EventBytes))
	for _, shard := range slices.Sorted(maps.Keys(r.archive.Archived.Seqs)) {
		fmt.Fprintf(w, "  \t%s 1 to %s\n", shard, thousands(int64(r.archive.Archived.Seqs[shard])))
	}
	if n := t.shop.api.again.Load(); n > 0 {
		fmt.Fprintf(w, "  again\t%s requests had to be sent again\n", thousands(n))
	}
	if t.chaos != nil {
		kills, pauses := t.chaos.total()
		fmt.Fprintf(w, "  chaos\t%d processes killed, %d paused (--chaos-seed %d)\n", kills, pauses, t.chaos.seed)
	}
	fmt.Fprintf(w, "  all\t%s\n", clock(time.Since(t.began)))
	fmt.Fprintf(w, "  data\t%s\n", data)
	_ = w.Flush()
}

func (r *report) events(out io.Writer) {
	types := slices.SortedFunc(maps.Keys(r.audit.types), func(a, b string) int {
		return cmp.Or(cmp.Compare(r.audit.types[b], r.audit.types[a]), cmp.Compare(a, b))
	})
	w := table(out)
	fmt.Fprintf(w, "\nEvents\n")
	for _, t := range types {
		fmt.Fprintf(w, "  %s\t%12s\n", t, thousands(r.audit.types[t]))
	}
	fmt.Fprintf(w, "  in %s streams\t%12s\n", thousands(int64(len(r.audit.streams))), thousands(r.audit.read.Load()))
	_ = w.Flush()
}

func (r *report) applications(out io.Writer) {
	const row = "  %s\t%10s\t%10s\t%10s\t%8s\t%8s\t%8s\n"
	w := table(out)
	fmt.Fprintf(w, "\nApplications\n")
	fmt.Fprintf(w, row, "", "handled", "events/s", "most lag", "lag", "retries", "parked")
	for _, a := range r.apps {
		sum := a.sum()
		handled := int64(sum.handled)
		fmt.Fprintf(w, row, a.name, thousands(handled), thousands(perSecond(handled, r.trade.handling)),
			thousands(int64(a.furthest)), thousands(int64(a.lag)), thousands(int64(sum.failures)), thousands(int64(a.parked)))
	}
	_ = w.Flush()
	fmt.Fprintln(out, "  lag: all events of the log that an application has not passed yet")
}

func (r *report) processTable(out io.Writer) {
	const row = "  %s\t%10s\t%8s\t%8s\t%8s\n"
	w := table(out)
	fmt.Fprintf(w, "\nProcesses\n")
	fmt.Fprintf(w, row, "", "memory", "restarts", "killed", "paused")
	for _, p := range r.processes {
		killed, paused := 0, 0
		if c := r.trade.chaos; c != nil {
			killed, paused = c.kills[p.Name], c.pauses[p.Name]
		}
		fmt.Fprintf(w, row, p.Name, size(p.Memory), fmt.Sprint(p.Restarts), fmt.Sprint(killed), fmt.Sprint(paused))
	}
	fmt.Fprintf(w, row, "driver and judge", size(r.memory), "", "", "")
	_ = w.Flush()
	fmt.Fprintln(out, "  memory: the most that was resident")
}

func (r *report) agreeing(out io.Writer) {
	w := table(out)
	fmt.Fprintf(w, "\nChecks: the orders, read again, and the services' own databases say the same\n")
	for _, c := range r.checks {
		if c.OK {
			fmt.Fprintf(w, "  ✓ %s\t%s\n", c.Name, c.Actual)
		}
	}
	_ = w.Flush()
}

func table(out io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(out, 0, 0, 2, ' ', 0) }

// size shows a size as a person reads it.
func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.0f KiB", float64(n)/(1<<10))
}

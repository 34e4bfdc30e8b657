package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// A report is what a comparison came to, and its JSON form.
type report struct {
	loads []load

	CPUs    int        `json:"cpus"`
	Go      string     `json:"go"`
	Ceiling outcome    `json:"ceiling"`
	Systems []*outcome `json:"systems"`
}

// An outcome is what came of one system.
type outcome struct {
	system `json:"-"`

	System  string       `json:"system"`
	Title   string       `json:"title"`
	Version string       `json:"version,omitempty"`
	Reached string       `json:"reached,omitempty"`
	Missing string       `json:"missing,omitempty"` // how to install it
	Failed  string       `json:"failed,omitempty"`
	Appends []appended   `json:"appends,omitempty"` // of all runs
	Reads   *readOutcome `json:"reads,omitempty"`
	Checks  *checks      `json:"checks,omitempty"`
}

// appended is one run of one load.
type appended struct {
	Load            string  `json:"load"`
	Events          uint64  `json:"events"`
	EventsPerSecond float64 `json:"events_per_second"`
	MBPerSecond     float64 `json:"mb_per_second"` // of Data
	P50             float64 `json:"p50_us"`        // of an append
	P99             float64 `json:"p99_us"`
	P999            float64 `json:"p999_us"`
}

// readOutcome holds the rates of all runs.
type readOutcome struct {
	Events int           `json:"events"`
	Replay []float64     `json:"replay_events_per_second"`
	Lent   []float64     `json:"replay_lent_events_per_second,omitempty"`
	Load   []loadOutcome `json:"load"`
}

type loadOutcome struct {
	Goroutines       int       `json:"goroutines"`
	StreamsPerSecond []float64 `json:"streams_per_second"`
}

func newReport(loads []load) report {
	return report{
		loads: loads, CPUs: runtime.NumCPU(), Go: runtime.Version(),
		Ceiling: outcome{System: ceilingName, Title: "Ceiling"},
	}
}

func (o *outcome) add(l load, m *measured) {
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	o.Appends = append(o.Appends, appended{
		Load: l.name, Events: m.events, EventsPerSecond: m.rate(), MBPerSecond: m.rate() * float64(l.bytes) / 1e6,
		P50: us(m.latency.Quantile(0.5)), P99: us(m.latency.Quantile(0.99)), P999: us(m.latency.Quantile(0.999)),
	})
}

// of returns the runs of a load.
func (o *outcome) of(l load) []appended {
	return slices.DeleteFunc(slices.Clone(o.Appends), func(a appended) bool { return a.Load != l.name })
}

// medianOf returns the median of a figure over runs.
func medianOf[T any](runs []T, figure func(T) float64) float64 {
	values := make([]float64, len(runs))
	for i, r := range runs {
		values[i] = figure(r)
	}
	return median(values)
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	switch n := len(values); {
	case n == 0:
		return 0
	case n%2 == 0:
		return (values[n/2-1] + values[n/2]) / 2
	default:
		return values[n/2]
	}
}

// A table is printed for people.
type table struct {
	title string
	head  []string
	rows  [][]string
}

// tables returns the report as tables.
func (r *report) tables() []table {
	var tables []table
	for _, l := range r.loads {
		tables = append(tables, r.appendTable(l))
	}
	tables = append(tables, r.readTable(), r.checkTable(), r.absentTable())
	return slices.DeleteFunc(tables, func(t table) bool { return len(t.rows) == 0 })
}

func (r *report) appendTable(l load) table {
	t := table{
		title: "Append: " + l.title,
		head:  []string{"", "events/s", "lowest – highest", "MB/s", "of the ceiling", "p50 ms", "p99 ms", "events a run"},
	}
	ceiling := r.Ceiling.of(l)
	for _, o := range append([]*outcome{&r.Ceiling}, r.Systems...) {
		runs := o.of(l)
		if len(runs) == 0 {
			continue
		}
		rate := func(a appended) float64 { return a.EventsPerSecond }
		low, high := slices.MinFunc(runs, slower), slices.MaxFunc(runs, slower)
		t.rows = append(t.rows, []string{
			o.name(), count(medianOf(runs, rate)), count(low.EventsPerSecond) + " – " + count(high.EventsPerSecond),
			fmt.Sprintf("%.0f", medianOf(runs, func(a appended) float64 { return a.MBPerSecond })),
			ratio(runs, ceiling),
			fmt.Sprintf("%.2f", medianOf(runs, func(a appended) float64 { return a.P50 / 1000 })),
			fmt.Sprintf("%.2f", medianOf(runs, func(a appended) float64 { return a.P99 / 1000 })),
			count(medianOf(runs, func(a appended) float64 { return float64(a.Events) })),
		})
	}
	return t
}

func slower(a, b appended) int { return int(a.EventsPerSecond - b.EventsPerSecond) }

// ratio compares each run with the ceiling of the same run.
func ratio(runs, ceiling []appended) string {
	var ratios []float64
	for i := range min(len(runs), len(ceiling)) {
		ratios = append(ratios, runs[i].EventsPerSecond/ceiling[i].EventsPerSecond)
	}
	if len(ratios) == 0 {
		return ""
	}
	return fmt.Sprintf("%.3f", median(ratios))
}

func (r *report) readTable() table {
	t := table{title: "Read", head: []string{"", "replay events/s", "lowest – highest", "memory lent, events/s"}}
	for _, goroutines := range readers {
		t.head = append(t.head, fmt.Sprintf("load streams/s, %d at once", goroutines))
	}
	for _, o := range r.Systems {
		if o.Reads == nil || len(o.Reads.Replay) == 0 {
			continue
		}
		t.title = fmt.Sprintf("Read: %s events in streams of %d", count(float64(o.Reads.Events)), streamLength)
		row := []string{o.name(), count(median(o.Reads.Replay)), count(slices.Min(o.Reads.Replay)) + " – " + count(slices.Max(o.Reads.Replay)), ""}
		if len(o.Reads.Lent) > 0 {
			row[len(row)-1] = count(median(o.Reads.Lent))
		}
		for _, l := range o.Reads.Load {
			row = append(row, count(median(l.StreamsPerSecond)))
		}
		t.rows = append(t.rows, row)
	}
	return t
}

func (r *report) checkTable() table {
	t := table{
		title: "Checked after each load",
		head:  []string{"", "reached", "events, versions, contents", "stale version", "version ahead", "known ID"},
	}
	for _, o := range r.Systems {
		if o.Checks == nil || o.Failed != "" {
			continue
		}
		t.rows = append(t.rows, []string{
			o.name(), o.Reached, "all as acknowledged", "refused", refused(o.Checks.RefusesAhead), refused(o.Checks.RefusesKnownID),
		})
	}
	return t
}

func refused(yes bool) string {
	if yes {
		return "refused"
	}
	return "taken"
}

// absentTable lists the systems that were not compared to the end.
func (r *report) absentTable() table {
	t := table{title: "Not compared", head: []string{"", "why"}}
	for _, o := range r.Systems {
		switch {
		case o.Missing != "":
			t.rows = append(t.rows, []string{o.Title, "not installed: " + o.Missing})
		case o.Failed != "":
			t.rows = append(t.rows, []string{o.name(), "failed: " + strings.ReplaceAll(o.Failed, "\n", " ")})
		}
	}
	return t
}

func (o *outcome) name() string { return strings.TrimSpace(o.Title + " " + o.Version) }

// text prints a table for a terminal.
func (t table) text(w io.Writer) error {
	fmt.Fprintf(w, "%s\n\n", t.title)
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{t.head}, t.rows...) {
		fmt.Fprintf(columns, "  %s\n", strings.Join(row, "\t"))
	}
	return columns.Flush()
}

// markdown prints a table for docs/performance.md.
func (t table) markdown(w io.Writer) error {
	fmt.Fprintf(w, "%s\n\n", t.title)
	row := func(cells []string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }
	row(t.head)
	row(strings.Split(strings.Repeat("---,", len(t.head)-1)+"---", ","))
	for _, cells := range t.rows {
		row(cells)
	}
	return nil
}

// count prints a number with its thousands apart.
func count(f float64) string {
	digits := strconv.FormatFloat(f, 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

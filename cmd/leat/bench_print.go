package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// report prints the results of runs: a table, or JSON of the median. The first
// few runs are no part of the median.
func (f benchFlags) report(c console, runs []benchResult, first int, about func(io.Writer, benchResult)) error {
	median := medianOf(runs[first:])
	if f.JSON {
		if len(runs) > 1 {
			median.Runs = runs
		}
		return json.NewEncoder(c.out).Encode(median)
	}
	t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	columns := columnsOf(median)
	row := func(name string, cell func(column) string) {
		cells := []string{name}
		for _, c := range columns {
			cells = append(cells, cell(c))
		}
		fmt.Fprintln(t, strings.Join(cells, "\t")+"\t")
	}
	row("", func(c column) string { return c.title })
	for i, r := range runs {
		row(strconv.Itoa(i+1), func(c column) string { return c.value(&r) })
	}
	if len(runs) > 1 {
		row("median", func(c column) string { return c.value(&median) })
		best := runs[byRate(runs)[len(runs)-1]]
		row("best", func(c column) string { return c.value(&best) })
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(c.out)
	about(c.out, median)
	return nil
}

// A column is one figure of the table of runs.
type column struct {
	title string
	value func(*benchResult) string
}

func columnsOf(r benchResult) []column {
	columns := []column{{"EVENTS/S", func(r *benchResult) string { return thousands(r.EventsPerSecond) }}}
	if r.StreamsPerSecond > 0 {
		columns = append(columns, column{"STREAMS/S", func(r *benchResult) string { return thousands(r.StreamsPerSecond) }})
	}
	columns = append(columns,
		column{"MB/S", func(r *benchResult) string { return thousands(r.MBPerSecond) }},
		column{"P50", func(r *benchResult) string { return duration(r.P50) }},
		column{"P99", func(r *benchResult) string { return duration(r.P99) }},
		column{"P99.9", func(r *benchResult) string { return duration(r.P999) }},
	)
	if r.FollowResult != nil {
		columns = append(columns, column{"APPEND P50", func(r *benchResult) string { return duration(r.Append.P50) }})
	}
	columns = append(columns,
		column{"CPU/EVENT", func(r *benchResult) string { return duration(r.CPUPerEvent / 1e3) }},
		column{"ALLOCS/EVENT", func(r *benchResult) string { return fmt.Sprintf("%.2f", r.AllocsPerEvent) }},
	)
	if r.AppendResult != nil {
		columns = append(columns, column{"EVENTS/GROUP", func(r *benchResult) string { return thousands(r.EventsPerGroup) }})
	}
	return append(columns,
		column{"CEILING/S", func(r *benchResult) string { return thousands(r.Ceiling) }},
		column{"RATIO", func(r *benchResult) string { return ratio(r.CeilingRatio) }},
	)
}

// printAppends says what the figures of producers are about.
func printAppends(w io.Writer, r benchResult) {
	fmt.Fprintf(w, "%s to %s: %d producers, %d in flight each, %d events an append, %d B of data (%.0f B an event), streams %s, IDs %s, conditions %s\n",
		r.Command, r.Log, r.Producers, r.Pipeline, r.Batch, r.Size, r.EventBytes, r.Streams, r.IDs, onOff(r.Conditions))
	fmt.Fprintf(w, "%s events in %s, after %s to warm up; closing took %s\n",
		thousands(float64(r.Events)), seconds(r.Seconds), thousands(float64(r.WarmupEvents)), seconds(r.CloseSeconds))
	told := ""
	if !r.GroupsTold {
		told = " (estimated: all in flight make a group)"
	}
	fmt.Fprintf(w, "%s groups of %s B%s; the ceiling writes such groups: %s/s before, %s/s after, %s MB/s, one write and sync %s\n",
		thousands(float64(r.Groups)), thousands(r.BytesPerGroup), told,
		thousands(r.CeilingBefore), thousands(r.CeilingAfter), thousands(r.CeilingMB), duration(r.CeilingP50))
	if r.FollowResult != nil {
		fmt.Fprintf(w, "%d followers; P50 to P99.9 are from commit to seen; from made to seen: %s, %s, %s; append: %s, %s, %s\n", r.Followers,
			duration(r.Made.P50), duration(r.Made.P99), duration(r.Made.P999), duration(r.Append.P50), duration(r.Append.P99), duration(r.Append.P999))
	}
	printMemory(w, r)
	fmt.Fprintf(w, "of CPU and allocations, making an event is %s and %.2f\n", duration(r.GenerateNS/1e3), r.GenerateAllocs)
}

// printReads says what the figures of a replay or loads are about.
func printReads(w io.Writer, r benchResult) {
	switch r.Command {
	case "replay":
		part := "all shards"
		if r.Shard != "" {
			part = r.Shard
		}
		fmt.Fprintf(w, "replay of %s, %s: %s events of %.0f B by %s; P50 to P99.9 are of one read\n",
			r.Log, part, thousands(float64(r.Events)), r.EventBytes, r.API)
	default:
		fmt.Fprintf(w, "load of %s: %s of %s streams, %.1f events of %.0f B each, on %d goroutines; P50 to P99.9 are of one stream\n",
			r.Log, thousands(float64(r.Calls)), thousands(float64(r.Among)), float64(r.Events)/float64(max(1, r.Calls)), r.EventBytes, r.Goroutines)
	}
	fmt.Fprintf(w, "the ceiling reads the same bytes from memory: %s MB/s\n", thousands(r.CeilingMB))
	printMemory(w, r)
}

func printMemory(w io.Writer, r benchResult) {
	if e := r.EngineResult; e != nil {
		fmt.Fprintf(w, "engine: %s MB on disk, %s MB of memory, %s generations of the index sorted; %s blocks found in the cache, %s not\n",
			thousands(e.DiskMB), thousands(e.MemoryMB), thousands(float64(e.Generations)), thousands(float64(e.CacheHits)), thousands(float64(e.CacheMisses)))
	}
	fmt.Fprintf(w, "memory: at most %s MB resident, %s MB once the log was open, which took %s; heap %s MB at the end\n",
		thousands(r.PeakMB), thousands(r.OpenMB), seconds(r.OpenSeconds), thousands(r.HeapMB))
}

// thousands prints a number as people read it: 1,234,567, or 12.3 when small.
func thousands(v float64) string {
	if v < 100 && v != float64(int64(v)) {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	s := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// ratio prints two digits of a ratio, more than two when it is above 1.
func ratio(v float64) string {
	if v < .1 {
		return fmt.Sprintf("%.2g", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// duration prints microseconds with three digits.
func duration(us float64) string {
	switch {
	case us < 1:
		return fmt.Sprintf("%.0fns", us*1e3)
	case us < 1e3:
		return fmt.Sprintf("%.3gµs", us)
	case us < 1e6:
		return fmt.Sprintf("%.3gms", us/1e3)
	}
	return fmt.Sprintf("%.3gs", us/1e6)
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond).String()
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

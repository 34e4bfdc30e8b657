package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"

	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/internal/bench"
)

// archiveResult is what bench archive gave, in the form in which it prints it as
// JSON. docs/bench.md says what each field means.
type archiveResult struct {
	Command string `json:"command"`
	Log     string `json:"log"`

	Events      uint64  `json:"events"` // of the log that is archived
	EventBytes  float64 `json:"event_bytes"`
	Segments    uint64  `json:"segments"`
	SegmentMB   float64 `json:"segment_mb"` // all of them
	Compression float64 `json:"compression_ratio"`

	Append  *measured `json:"append,omitempty"`
	Beside  *measured `json:"append_beside,omitempty"`
	Archive *measured `json:"archive"`
	Read    *measured `json:"read"`
	Verify  *measured `json:"verify"`
	Restore *measured `json:"restore"`
	Load    *loaded   `json:"load"`

	*BesideResult

	logID string
}

// BesideResult says whether an archiver kept up with appends. It is exported so
// that it can be read back with encoding/json.
type BesideResult struct {
	Fall           float64 `json:"append_fall_percent"` // of the rate at which events are appended
	Both           float64 `json:"appended_and_archived_events_per_second"`
	BehindEvents   uint64  `json:"behind_events"` // when the last was appended
	CatchUpSeconds float64 `json:"catch_up_seconds"`
}

// measured are the figures of one measure.
type measured struct {
	EventsPerSecond float64 `json:"events_per_second"`
	MBPerSecond     float64 `json:"event_mb_per_second"` // of whole events, in 10^6 bytes
	MBPerCPUSecond  float64 `json:"event_mb_per_cpu_second"`
	CPUPerEvent     float64 `json:"cpu_ns_per_event"`
	AllocsPerEvent  float64 `json:"allocs_per_event"`
	Ceiling         float64 `json:"ceiling_events_per_second"`
	CeilingRatio    float64 `json:"ceiling_ratio"` // events_per_second / ceiling_events_per_second
	Events          uint64  `json:"events"`
	Seconds         float64 `json:"seconds"`
	PeakMB          float64 `json:"peak_rss_mb"`

	eventBytes float64
}

// loaded are the figures of loading streams.
type loaded struct {
	latencyJSON
	Streams    uint64  `json:"streams"`
	Events     float64 `json:"events_per_stream"`
	StoreCalls float64 `json:"store_calls_per_stream"`
	StoreMB    float64 `json:"store_mb_per_stream"`
}

func newMeasured(f *bench.Figures) *measured {
	bytes := float64(f.Events) * f.EventBytes
	m := &measured{
		EventsPerSecond: round(f.Rate()), MBPerSecond: megabytes(bytes / f.Elapsed.Seconds()),
		CPUPerEvent:    round(float64(f.Usage.CPU) / float64(max(1, f.Events))),
		AllocsPerEvent: math.Round(1e3*float64(f.Usage.Allocs)/float64(max(1, f.Events))) / 1e3,
		Events:         f.Events, Seconds: f.Elapsed.Seconds(), PeakMB: megabytes(float64(bench.PeakBytes())), eventBytes: f.EventBytes,
	}
	if f.Usage.CPU > 0 {
		m.MBPerCPUSecond = megabytes(bytes / f.Usage.CPU.Seconds())
	}
	return m
}

// writeCeiling measures what the disk does with the same bytes in the same groups.
func (m *measured) writeCeiling(ctx context.Context, r *archiveRun, g bench.Grouping) error {
	return m.ceiling(bench.WriteCeiling(ctx, r.work, g, r.CeilingTime))
}

// readCeiling measures how fast the same bytes are read from memory.
func (m *measured) readCeiling(ctx context.Context, r *archiveRun) error {
	return m.ceiling(bench.ReadCeiling(ctx, r.work, m.Events, m.eventBytes, r.CeilingTime))
}

func (m *measured) ceiling(c *bench.Ceiling, err error) error {
	if err == nil {
		m.Ceiling = round(c.Rate())
		m.CeilingRatio = m.EventsPerSecond / m.Ceiling
	}
	return err
}

func (r *archiveResult) setBeside(b *bench.Beside) {
	alone, beside := r.Append.EventsPerSecond, b.Appended.Rate()
	r.BesideResult = &BesideResult{
		Fall: round(100 * (1 - beside/alone)), BehindEvents: b.Behind, CatchUpSeconds: b.CatchUp.Seconds(),
		Both: round(float64(b.Appended.Events) / (b.Appended.Elapsed + b.CatchUp).Seconds()),
	}
}

func (r *archiveResult) setStatus(s archive.Status) {
	r.logID = s.Archived.Log
	r.Events, r.EventBytes = s.Events, float64(s.EventBytes)/float64(s.Events)
	r.Segments, r.SegmentMB = s.Segments, megabytes(float64(s.Bytes))
	r.Compression = math.Round(100*float64(s.EventBytes)/float64(s.Bytes)) / 100
}

func (r *archiveResult) setLoad(f *bench.Figures, s *bench.CountingStore) {
	n := float64(f.Calls)
	r.Load = &loaded{
		latencyJSON: fromLatency(&f.Latency), Streams: f.Calls, Events: round(float64(f.Events) / n),
		StoreCalls: round(float64(s.Calls.Load()) / n), StoreMB: math.Round(float64(s.Bytes.Load())/n/1e4) / 100,
	}
}

func (f benchFlags) reportArchive(w io.Writer, r *archiveResult) error {
	if f.JSON {
		return json.NewEncoder(w).Encode(r)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tEVENTS/S\tMB/S\tMB/S OF CPU\tCPU/EVENT\tALLOCS/EVENT\tPEAK MB\tCEILING/S\tRATIO\t")
	for _, row := range []struct {
		name string
		m    *measured
	}{
		{"append", r.Append}, {"append beside an archiver", r.Beside}, {"archive", r.Archive}, {"read", r.Read}, {"verify", r.Verify}, {"restore", r.Restore},
	} {
		if m := row.m; m != nil {
			fmt.Fprintln(t, strings.Join([]string{
				row.name, thousands(m.EventsPerSecond), thousands(m.MBPerSecond), thousands(m.MBPerCPUSecond), duration(m.CPUPerEvent / 1e3),
				fmt.Sprintf("%.2f", m.AllocsPerEvent), thousands(m.PeakMB), thousands(m.Ceiling), ratio(m.CeilingRatio),
			}, "\t")+"\t")
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\narchive of %s: %s events of %.0f B, %s MB, in %s segments of %s MB together: %.2f times smaller\n",
		r.Log, thousands(float64(r.Events)), r.EventBytes, thousands(float64(r.Events)*r.EventBytes/1e6), thousands(float64(r.Segments)), thousands(r.SegmentMB), r.Compression)
	if b := r.BesideResult; b != nil {
		fmt.Fprintf(w, "beside an archiver, appends fall by %.0f%%; it was %s events behind when the last returned and took %s for these: %s events/s appended and archived\n",
			b.Fall, thousands(float64(b.BehindEvents)), seconds(b.CatchUpSeconds), thousands(b.Both))
	}
	_, err := fmt.Fprintf(w, "%s streams of %.1f events loaded from an archive just opened: P50 %s, P99 %s; %.1f calls of the store and %.2f MB each\n",
		thousands(float64(r.Load.Streams)), r.Load.Events, duration(r.Load.P50), duration(r.Load.P99), r.Load.StoreCalls, r.Load.StoreMB)
	return err
}

package main

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/leathq/leat/engine"
	"github.com/leathq/leat/internal/bench"
)

// benchResult is what a run gave, in the form in which bench prints it as JSON.
// docs/bench.md says what each field means.
type benchResult struct {
	Command string `json:"command"`
	Log     string `json:"log"`

	EventsPerSecond  float64 `json:"events_per_second"`
	StreamsPerSecond float64 `json:"streams_per_second,omitempty"`
	MBPerSecond      float64 `json:"mb_per_second"` // of data, in 10^6 bytes
	latencyJSON
	CPUPerEvent    float64 `json:"cpu_ns_per_event"`
	AllocsPerEvent float64 `json:"allocs_per_event"`

	Ceiling       float64 `json:"ceiling_events_per_second"`
	CeilingRatio  float64 `json:"ceiling_ratio"` // events_per_second / ceiling_events_per_second
	CeilingBefore float64 `json:"ceiling_before,omitempty"`
	CeilingAfter  float64 `json:"ceiling_after"`
	CeilingMB     float64 `json:"ceiling_mb_per_second"`
	CeilingP50    float64 `json:"ceiling_p50_us"`

	Events     uint64  `json:"events"`
	Calls      uint64  `json:"calls"` // of which the latency is
	Seconds    float64 `json:"seconds"`
	EventBytes float64 `json:"event_bytes"`
	PeakMB     float64 `json:"peak_rss_mb"`
	HeapMB     float64 `json:"heap_mb"`

	OpenSeconds float64 `json:"open_seconds"`
	OpenMB      float64 `json:"open_rss_mb"`

	*AppendResult
	*FollowResult
	*ReadResult
	*EngineResult

	Runs []benchResult `json:"runs,omitempty"`
}

// AppendResult is what describes a run of bench append or follow. It and its
// like are exported so that they can be read back with encoding/json.
type AppendResult struct {
	Producers      int     `json:"producers"`
	Pipeline       int     `json:"pipeline"`
	Connections    int     `json:"connections"`
	Batch          int     `json:"batch"`
	Size           int64   `json:"size"`
	Streams        string  `json:"streams"`
	IDs            string  `json:"ids"`
	Sources        int64   `json:"sources"`
	Conditions     bool    `json:"conditions"`
	Rate           float64 `json:"rate,omitempty"`
	WarmupEvents   uint64  `json:"warmup_events"`
	Groups         uint64  `json:"groups"`
	EventsPerGroup float64 `json:"events_per_group"`
	BytesPerGroup  float64 `json:"bytes_per_group"`
	GroupsTold     bool    `json:"groups_told"` // by the log; else estimated
	GenerateNS     float64 `json:"generate_ns_per_event"`
	GenerateAllocs float64 `json:"generate_allocs_per_event"`
	CloseSeconds   float64 `json:"close_seconds"`
}

// FollowResult is what only bench follow measures.
type FollowResult struct {
	Followers        int     `json:"followers"`
	AppendsPerSecond float64 `json:"appended_events_per_second"`
	Append           struct {
		latencyJSON
	} `json:"append"` // from the call to its return
	Made struct {
		latencyJSON
	} `json:"made"` // from when the event was made to when it was seen
}

// ReadResult is what describes a run of bench replay or load.
type ReadResult struct {
	API        string `json:"api,omitempty"`
	Shard      string `json:"shard,omitempty"`
	Goroutines int    `json:"goroutines"`
	Among      int    `json:"among_streams,omitempty"`
}

// EngineResult is what the engine tells of a log in a directory.
type EngineResult struct {
	DiskMB      float64 `json:"disk_mb"`
	MemoryMB    float64 `json:"memory_mb"`
	Generations uint64  `json:"generations"` // of the index, sorted in the run
	CacheHits   uint64  `json:"cache_hits"`
	CacheMisses uint64  `json:"cache_misses"`
}

// latencyJSON holds quantiles in microseconds.
type latencyJSON struct {
	P50  float64 `json:"p50_us"`
	P99  float64 `json:"p99_us"`
	P999 float64 `json:"p999_us"`
}

func fromLatency(h *bench.Histogram) latencyJSON {
	return latencyJSON{P50: micros(h.Quantile(.5)), P99: micros(h.Quantile(.99)), P999: micros(h.Quantile(.999))}
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// round keeps what of a rate is worth printing.
func round(v float64) float64 { return math.Round(v*10) / 10 }

// newResult returns the result of a run without figures.
func newResult(command string, log *benchLog) benchResult {
	return benchResult{
		Command: command, Log: log.url, OpenSeconds: log.opening.Seconds(), OpenMB: megabytes(float64(log.resided)),
	}
}

// megabytes returns bytes in 10^6.
func megabytes(bytes float64) float64 { return round(bytes / 1e6) }

func (r *benchResult) setFigures(f *bench.Figures) {
	r.EventsPerSecond = round(f.Rate())
	r.MBPerSecond = megabytes(float64(f.DataBytes) / f.Elapsed.Seconds())
	r.latencyJSON = fromLatency(&f.Latency)
	r.CPUPerEvent = round(float64(f.Usage.CPU) / float64(max(1, f.Events)))
	r.AllocsPerEvent = math.Round(1e3*float64(f.Usage.Allocs)/float64(max(1, f.Events))) / 1e3
	r.Events, r.Calls, r.Seconds, r.EventBytes = f.Events, f.Calls, f.Elapsed.Seconds(), f.EventBytes
	r.PeakMB, r.HeapMB = megabytes(float64(bench.PeakBytes())), megabytes(float64(bench.HeapBytes()))
}

func (r *benchResult) setGrouping(g bench.Grouping, told bool) {
	r.Groups, r.GroupsTold = g.Groups, told
	r.EventsPerGroup = float64(g.Events) / float64(max(1, g.Groups))
	r.BytesPerGroup = float64(g.Bytes) / float64(max(1, g.Groups))
}

// setStats writes what the engine told before and after a run, if it did.
func (r *benchResult) setStats(before, after *engine.Stats) {
	if after == nil {
		return
	}
	r.EngineResult = &EngineResult{
		DiskMB: megabytes(float64(after.DiskBytes)), MemoryMB: megabytes(float64(after.MemoryBytes)),
		Generations: after.Generations - before.Generations,
		CacheHits:   after.CacheHits - before.CacheHits, CacheMisses: after.CacheMisses - before.CacheMisses,
	}
}

func (f workloadFlags) describe() *AppendResult {
	return &AppendResult{
		Producers: f.Producers, Pipeline: f.Pipeline, Connections: f.Connections, Batch: f.Batch, Size: int64(f.Size),
		Streams: f.Streams.String(), IDs: string(f.IDs), Sources: int64(f.Sources), Conditions: f.Conditions, Rate: f.Rate,
	}
}

func (r *benchResult) setFollowed(f *bench.Followed, followers int) {
	r.FollowResult = &FollowResult{Followers: followers, AppendsPerSecond: round(f.Appended.Rate())}
	r.Append.latencyJSON = fromLatency(&f.Appended.Latency)
	r.Made.latencyJSON = fromLatency(f.SinceMade)
}

func (r *benchResult) setCeiling(c *bench.Ceiling) {
	r.Ceiling = round(c.Rate())
	r.CeilingRatio = r.EventsPerSecond / r.Ceiling
	r.CeilingMB = megabytes(float64(c.Bytes) / c.Elapsed.Seconds())
	r.CeilingP50 = micros(c.Latency.Quantile(.5))
}

// medianOf returns the run with the median rate, the lower one of two.
func medianOf(runs []benchResult) benchResult { return runs[byRate(runs)[(len(runs)-1)/2]] }

// byRate returns the indexes of runs, the slowest first.
func byRate(runs []benchResult) []int {
	order := make([]int, len(runs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(runs[a].EventsPerSecond, runs[b].EventsPerSecond) })
	return order
}

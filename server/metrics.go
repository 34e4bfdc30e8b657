package server

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/leathq/leat"
)

// metrics are what a server counts itself; see collector for what it asks its
// logs when somebody looks.
type metrics struct {
	registry *prometheus.Registry

	appends       *prometheus.CounterVec   // door, log, result
	appendSeconds *prometheus.HistogramVec // door
	appendEvents  *prometheus.CounterVec   // door, log
	appendBytes   *prometheus.CounterVec   // door, log
	reads         *prometheus.CounterVec   // door, log, result
	readSeconds   *prometheus.HistogramVec // door
	readEvents    *prometheus.CounterVec   // door, log
	readBytes     *prometheus.CounterVec   // door, log
}

// seconds are the buckets of latencies: from what the engine needs for one sync
// to what a long poll waits.
var seconds = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: seconds}, []string{"door"})
	}
	m := &metrics{
		registry:      prometheus.NewRegistry(),
		appends:       counter("leat_appends_total", "Appends by outcome: ok, duplicate, or the code of the error.", "door", "log", "result"),
		appendSeconds: histogram("leat_append_seconds", "How long appends took until they were durable; pipelined ones also waited for those of their portion, up to 64."),
		appendEvents:  counter("leat_append_events_total", "Events recorded.", "door", "log"),
		appendBytes:   counter("leat_append_bytes_total", "Bytes of the events recorded.", "door", "log"),
		reads:         counter("leat_reads_total", "Batches and streams read, by outcome: ok, or the code of the error.", "door", "log", "result"),
		readSeconds:   histogram("leat_read_seconds", "How long reads took, waiting for events included."),
		readEvents:    counter("leat_read_events_total", "Events read.", "door", "log"),
		readBytes:     counter("leat_read_bytes_total", "Bytes of the events read.", "door", "log"),
	}
	m.registry.MustRegister(m.appends, m.appendSeconds, m.appendEvents, m.appendBytes,
		m.reads, m.readSeconds, m.readEvents, m.readBytes,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// A meter measures one log at one door.
type meter struct {
	appends, reads            *prometheus.CounterVec // result
	appendsOK                 prometheus.Counter     // of appends
	appendEvents, appendBytes prometheus.Counter
	readEvents, readBytes     prometheus.Counter
	appendSeconds             prometheus.Observer
	readSeconds               prometheus.Observer
}

func (m *metrics) meter(door, log string) *meter {
	labels := prometheus.Labels{"door": door, "log": log}
	appends := m.appends.MustCurryWith(labels)
	return &meter{
		appends: appends, appendsOK: appends.WithLabelValues(result(nil)), appendSeconds: m.appendSeconds.WithLabelValues(door),
		appendEvents: m.appendEvents.With(labels), appendBytes: m.appendBytes.With(labels),
		reads: m.reads.MustCurryWith(labels), readSeconds: m.readSeconds.WithLabelValues(door),
		readEvents: m.readEvents.With(labels), readBytes: m.readBytes.With(labels),
	}
}

// append measures an Append that is done.
func (m *meter) append(began time.Time, events []leat.Event, r leat.Receipt, err error) {
	m.appendSeconds.Observe(time.Since(began).Seconds())
	switch {
	case err != nil:
		m.appends.WithLabelValues(result(err)).Inc()
	case r.Duplicate:
		m.appends.WithLabelValues("duplicate").Inc()
	default:
		m.appendsOK.Inc()
		m.appendEvents.Add(float64(len(events)))
		bytes := 0
		for i := range events {
			bytes += events[i].Size()
		}
		m.appendBytes.Add(float64(bytes))
	}
}

// read begins to measure a read; call what it returns with the outcome.
func (m *meter) read() func(events, bytes int, err error) {
	began := time.Now()
	return func(events, bytes int, err error) {
		m.readSeconds.Observe(time.Since(began).Seconds())
		m.reads.WithLabelValues(result(err)).Inc()
		m.readEvents.Add(float64(events))
		m.readBytes.Add(float64(bytes))
	}
}

// result names an outcome in metrics.
func result(err error) string {
	if err == nil {
		return "ok"
	}
	if code := leat.Code(err); code != "" {
		return code
	}
	return "other"
}

// A collector asks the logs for their figures when somebody looks.
type collector struct {
	server *Server
	head, oldest, disk, memory, groups,
	behind, leases, broken, ready *prometheus.Desc
}

func newCollector(s *Server) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &collector{
		server: s,
		head:   desc("leat_log_head", "Last durable sequence of a shard.", "log", "shard"),
		oldest: desc("leat_log_oldest", "First sequence that is kept of a shard.", "log", "shard"),
		disk:   desc("leat_log_disk_bytes", "Bytes taken by the log's files.", "log"),
		memory: desc("leat_log_memory_bytes", "Bytes of the log's caches.", "log"),
		groups: desc("leat_log_groups_total", "Commits; each makes many appends durable at once.", "log"),
		behind: desc("leat_clock_behind_seconds", "By how much the log's time is ahead of the clock.", "log"),
		leases: desc("leat_leases", "Leases that are held.", "log"),
		broken: desc("leat_logs_broken", "Logs that cannot be opened."),
		ready:  desc("leat_ready", "1 when the server is ready, 0 when not."),
	}
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for name, log := range c.server.logs.all() {
		stats := log.Stats()
		gauge(c.disk, float64(stats.DiskBytes), name)
		gauge(c.memory, float64(stats.MemoryBytes), name)
		gauge(c.behind, stats.ClockBehind.Seconds(), name)
		gauge(c.leases, float64(log.leases.Held()), name)
		ch <- prometheus.MustNewConstMetric(c.groups, prometheus.CounterValue, float64(stats.Groups), name)
		for _, f := range stats.Figures {
			ch <- f.metric(name)
		}
		if log.kept != nil {
			for _, f := range log.kept.Figures() {
				ch <- f.metric(name)
			}
		}
		shards, err := log.Shards(context.Background())
		if err != nil && !errors.Is(err, leat.ErrClosed) {
			c.server.logger.Warn("the heads of a log cannot be measured", "log", name, "error", err)
		}
		for _, s := range shards {
			gauge(c.head, float64(s.Head), name, string(s.ID))
			gauge(c.oldest, float64(s.Oldest), name, string(s.ID))
		}
	}
	if a := c.server.archive; a != nil {
		for _, f := range a.Figures() {
			ch <- f.metric("")
		}
	}
	gauge(c.broken, float64(len(c.server.logs.failed())))
	ready := 1.0
	if len(c.server.NotReady()) > 0 {
		ready = 0
	}
	gauge(c.ready, ready)
}

// metric returns a figure for Prometheus: of a log, unless that is empty.
func (f Figure) metric(log string) prometheus.Metric {
	names := slices.Sorted(maps.Keys(f.Labels))
	values := make([]string, 0, len(names)+1)
	for _, name := range names {
		values = append(values, f.Labels[name])
	}
	if log != "" {
		names, values = append(names, "log"), append(values, log)
	}
	desc := prometheus.NewDesc(f.Name, f.Help, names, nil)
	switch {
	case f.Latency != nil:
		within := make(map[float64]uint64, len(f.Latency.Within))
		for bound, n := range f.Latency.Within {
			within[bound.Seconds()] = n
		}
		return prometheus.MustNewConstHistogram(desc, f.Latency.Count, f.Latency.Sum.Seconds(), within, values...)
	case f.Total:
		return prometheus.MustNewConstMetric(desc, prometheus.CounterValue, f.Value, values...)
	}
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, f.Value, values...)
}

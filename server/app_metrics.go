package server

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/leathq/leat"
)

// maxAppSeries bounds the series that the shards of all applications of a log
// make together; where there would be more, applications are told of as a whole.
const maxAppSeries = 10_000

// An appCollector tells how applications fare, as their workers told.
type appCollector struct {
	server *Server
	lag, behind, shardLag, shardBehind, rate, replay,
	waiting, workers, paused, events *prometheus.Desc
}

func newAppCollector(s *Server) *appCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"log", "app"}, labels...), nil)
	}
	return &appCollector{
		server:      s,
		lag:         desc("leat_app_lag_events", "Events that an application is not yet done with."),
		behind:      desc("leat_app_behind_seconds", "How long ago the oldest event was recorded that an application is not yet done with."),
		shardLag:    desc("leat_app_shard_lag_events", "Events of a shard that an application is not yet done with.", "shard"),
		shardBehind: desc("leat_app_shard_behind_seconds", "How long ago the oldest event of a shard was recorded that an application is not yet done with.", "shard"),
		rate:        desc("leat_app_rate", "Events a second that an application got done with lately."),
		replay:      desc("leat_app_replay_events", "Events that a rebuild still has to go through."),
		waiting:     desc("leat_app_waiting_events", "Parked events that wait."),
		workers:     desc("leat_app_workers", "Workers of an application by state: alive, gone, ended.", "state"),
		paused:      desc("leat_app_paused", "1 when an application is paused for all its workers, 0 when not."),
		events:      desc("leat_app_events_total", "What became of events: seen, filtered, handled, skipped, forwarded, parked, unparked; and failures, attempts that failed.", "outcome"),
	}
}

func (c *appCollector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

func (c *appCollector) Collect(ch chan<- prometheus.Metric) {
	for name, log := range c.server.logs.all() {
		apps, err := log.apps.Apps(context.Background())
		if err != nil {
			if !errors.Is(err, leat.ErrClosed) {
				c.server.logger.Warn("the applications of a log cannot be measured", "log", name, "error", err)
			}
			continue
		}
		totals := log.apps.Totals()
		series := 0
		for i := range apps {
			status := apps[i].Status()
			c.app(ch, name, &apps[i], &status, totals[apps[i].Name])
			if series += len(status.Shards); series <= maxAppSeries {
				c.shards(ch, name, &status)
			}
		}
	}
}

func gauge(ch chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (c *appCollector) app(ch chan<- prometheus.Metric, log string, a *leat.App, s *leat.AppStatus, total leat.Tally) {
	if len(a.Workers) > 0 { // else nobody knows
		gauge(ch, c.lag, float64(s.Lag), log, a.Name)
		gauge(ch, c.behind, s.Behind(time.Now()).Seconds(), log, a.Name)
		gauge(ch, c.rate, s.Rate, log, a.Name)
		gauge(ch, c.replay, float64(s.Replay), log, a.Name)
		gauge(ch, c.waiting, float64(s.Waiting), log, a.Name)
	}
	states := map[leat.WorkerState]int{"alive": 0, leat.WorkerGone: 0, leat.WorkerEnded: 0}
	for i := range a.Workers {
		state := a.Workers[i].State()
		if a.Workers[i].Alive() {
			state = "alive"
		}
		states[state]++
	}
	for state, n := range states {
		gauge(ch, c.workers, float64(n), log, a.Name, string(state))
	}
	paused := 0.0
	if a.Paused {
		paused = 1
	}
	gauge(ch, c.paused, paused, log, a.Name)
	for outcome, n := range map[string]uint64{
		"seen": total.Seen, "filtered": total.Filtered, "handled": total.Handled, "skipped": total.Skipped,
		"forwarded": total.Forwarded, "parked": total.Parked, "unparked": total.Unparked, "failures": total.Failures,
	} {
		ch <- prometheus.MustNewConstMetric(c.events, prometheus.CounterValue, float64(n), log, a.Name, outcome)
	}
}

// shards tells of shards, but of those that are finished.
func (c *appCollector) shards(ch chan<- prometheus.Metric, log string, s *leat.AppStatus) {
	for i := range s.Shards {
		shard := &s.Shards[i]
		if shard.Closed {
			continue
		}
		gauge(ch, c.shardLag, float64(shard.Lag()), log, s.Name, string(shard.ID))
		gauge(ch, c.shardBehind, shard.Behind(time.Now()).Seconds(), log, s.Name, string(shard.ID))
	}
}

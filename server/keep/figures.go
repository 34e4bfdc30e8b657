package keep

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/server"
)

func gauge(name, help string, value float64) server.Figure {
	return server.Figure{Name: name, Help: help, Value: value}
}

func total(name, help string, value uint64) server.Figure {
	return server.Figure{Name: name + "_total", Help: help, Total: true, Value: float64(value)}
}

// labelled adds a label to a figure.
func labelled(f server.Figure, label, value string) server.Figure {
	f.Labels = map[string]string{label: value}
	return f
}

// seconds is a moment as Prometheus has it, 0 when there was none.
func seconds(at time.Time) float64 {
	if at.IsZero() {
		return 0
	}
	return float64(at.UnixNano()) / 1e9
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Figures implements [server.Kept].
func (k *kept) Figures() []server.Figure {
	s, stopped, lag := k.archiver.Stats(), k.isStopped(), k.lag()
	k.mu.Lock()
	defer k.mu.Unlock()
	figures := []server.Figure{
		gauge("leat_archive_success_timestamp_seconds", "When the log was last archived as far as was due; 0 before the first time.", seconds(s.Success)),
		gauge("leat_archive_failing", "1 while the log cannot be archived, 0 otherwise. It is tried again.", boolean(s.Err != nil || stopped)),
		gauge("leat_archive_stopped", "1 while the log is not archived because of what somebody has to mend, 0 otherwise.", boolean(stopped)),
		total("leat_archive_errors", "Attempts to archive that failed.", s.Errors),
		total("leat_archive_retries", "Attempts made again because another archiver was faster.", s.Retries),
		total("leat_archive_segments", "Segments archived since the server began.", s.Segments),
		total("leat_archive_events", "Events archived since the server began.", s.Events),
		total("leat_archive_event_bytes", "Bytes of the events archived since the server began.", uint64(s.EventBytes)),
		total("leat_archive_segment_bytes", "Bytes of the segments archived since the server began.", uint64(s.Bytes)),
	}
	figures = append(figures, lag...)
	figures = append(figures, heads("leat_archive_head", "Last sequence of a shard that is archived.", s.Archived)...)
	figures = append(figures, k.retention.figures("leat_retention")...)
	figures = append(figures, heads("leat_retention_verified_head", "Last sequence of a shard that was read back from the archive, found good, and removed from the log.", k.verified)...)
	figures = append(figures,
		total("leat_retention_removed_events", "Events removed since the server began.", k.removed),
		gauge("leat_retention_kept_bytes", "Bytes of the events that were kept of the log when retention last looked.", float64(k.keptBytes)),
	)
	figures = append(figures, k.compaction.figures("leat_compaction")...)
	return append(figures, total("leat_compaction_events", "Events sorted by stream since the server began.", k.compacted))
}

// lag returns how far the archive is behind, once that is known.
func (k *kept) lag() []server.Figure {
	events, oldest, err := k.archiver.Lag(context.Background())
	if err != nil {
		return nil
	}
	age := 0.0
	if events > 0 {
		age = max(0, time.Since(oldest).Seconds())
	}
	return []server.Figure{
		gauge("leat_archive_lag_events", "Events in the log that are not archived.", float64(events)),
		gauge("leat_archive_lag_seconds", "How long ago the first event was committed that is not archived; 0 when all are.", age),
	}
}

// heads returns a figure for each shard.
func heads(name, help string, seqs map[leat.ShardID]uint64) []server.Figure {
	var figures []server.Figure
	for _, shard := range slices.Sorted(maps.Keys(seqs)) {
		figures = append(figures, labelled(gauge(name, help, float64(seqs[shard])), "shard", string(shard)))
	}
	return figures
}

// figures returns those of a chore. The caller holds the mutex that covers it.
func (c *chore) figures(prefix string) []server.Figure {
	return []server.Figure{
		gauge(prefix+"_success_timestamp_seconds", "When "+c.name+" last succeeded; 0 before the first time.", seconds(c.success)),
		total(prefix+"_errors", "Times that "+c.name+" failed.", c.errors),
	}
}

// Figures implements [server.Archive].
func (a *Archive) Figures() []server.Figure {
	calls, waiting, longest := a.store.stats()
	var figures []server.Figure
	for _, kind := range slices.Sorted(maps.Keys(calls)) {
		figures = append(figures,
			labelled(total("leat_archive_store_calls", "Calls of the store by kind, those that the cache answered not included.", calls[kind].made), "call", kind),
			labelled(total("leat_archive_store_failures", "Calls of the store that failed.", calls[kind].failed), "call", kind))
	}
	c := a.cache.Stats()
	figures = append(figures,
		gauge("leat_archive_store_waiting", "Calls of the store that are under way.", float64(waiting)),
		gauge("leat_archive_store_waiting_seconds", "How long the longest of the calls under way has taken so far.", longest.Seconds()),
		total("leat_archive_cache_hits", "Reads of the archive that the cache answered.", c.Hits),
		total("leat_archive_cache_hit_bytes", "Bytes of the reads that the cache answered.", c.HitBytes),
		total("leat_archive_cache_misses", "Reads of the archive that went to the store.", c.Misses),
		total("leat_archive_cache_miss_bytes", "Bytes of the reads that went to the store.", c.MissBytes),
		total("leat_archive_cache_evicted", "Files removed to make room in the cache.", c.Evicted),
		total("leat_archive_cache_damaged", "Files of the cache found damaged, and removed.", c.Damaged),
		total("leat_archive_cache_failed", "Reads that the cache could not keep, such as on a full disk.", c.Failed),
		gauge("leat_archive_cache_bytes", "Bytes in the cache.", float64(c.Bytes)),
	)
	if opened := a.store.current(); opened != nil && a.config.Figures != nil {
		figures = append(figures, a.config.Figures(opened)...)
	}
	return figures
}

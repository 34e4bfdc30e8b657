package local

import (
	"time"

	"github.com/leathq/leat/engine"
	"github.com/leathq/leat/server"
)

// figures are those of a log that only its engine has.
func figures(s engine.Stats) []server.Figure {
	gauge := func(name, help string, value uint64) server.Figure {
		return server.Figure{Name: name, Help: help, Value: float64(value)}
	}
	total := func(name, help string, value uint64) server.Figure {
		return server.Figure{Name: name + "_total", Help: help, Total: true, Value: float64(value)}
	}
	st := s.Store
	return []server.Figure{
		gauge("leat_log_events", "Events kept.", s.Events),
		total("leat_log_recorded", "Events recorded since the log was opened, imported ones included.", s.Recorded),
		total("leat_log_recorded_bytes", "Bytes of the blocks of the events recorded.", s.Bytes),
		gauge("leat_log_block_files", "Files of blocks.", s.BlockFiles),
		gauge("leat_log_block_bytes", "Lengths of the files of blocks.", s.BlockBytes),
		latency("leat_log_sync_seconds", "How long syncs of the files of blocks took: what every append waits for.", s.Syncs),
		{Name: "leat_log_sync_longest_seconds", Help: "The longest sync of the files of blocks.", Value: s.Syncs.Max.Seconds()},
		total("leat_log_index_generations", "Generations of the index sorted into files.", s.Generations),
		gauge("leat_log_unindexed_events", "Events whose index is in memory only. Open reads them again.", s.Unindexed),
		total("leat_log_cache_hits", "Blocks of events that were read from memory.", s.CacheHits),
		total("leat_log_cache_misses", "Blocks of events that were not.", s.CacheMisses),

		total("leat_store_compactions", "Times that files were sorted into others.", st.Compactions),
		total("leat_store_compacted_bytes", "Bytes of the files that others were sorted into.", st.CompactedBytes),
		gauge("leat_store_compacting", "Compactions under way.", st.Compacting),
		gauge("leat_store_compacting_bytes", "Bytes that the compactions under way have written.", st.CompactingBytes),
		gauge("leat_store_compaction_debt_bytes", "Bytes to be compacted until the store is at rest, by estimate.", st.DebtBytes),
		total("leat_store_ingested_bytes", "Bytes of files of the index that the store took over as they are.", st.IngestedBytes),
		gauge("leat_store_l0_files", "Files that are sorted but not yet compacted. A key may be in any of them.", st.L0Files),
		gauge("leat_store_read_amplification", "Places in which a key is looked for, at most.", st.ReadAmp),
		gauge("leat_store_table_bytes", "Bytes of the files in use.", st.TableBytes),
		gauge("leat_store_cache_bytes", "Bytes of the store's own cache.", st.CacheBytes),
		total("leat_store_cache_hits", "Pieces of files that were read from the store's own cache.", st.CacheHits),
		total("leat_store_cache_misses", "Pieces of files that were not.", st.CacheMisses),
	}
}

func latency(name, help string, l engine.Latency) server.Figure {
	within := make(map[time.Duration]uint64, len(l.Within))
	for i, bound := range engine.LatencyBounds {
		within[bound] = l.Within[i]
	}
	return server.Figure{Name: name, Help: help, Latency: &server.Latency{Count: l.Count, Sum: l.Sum, Within: within}}
}

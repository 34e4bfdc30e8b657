package engine

import "time"

// Stats are a log's figures at one moment.
type Stats struct {
	Events      uint64        // kept: the distance from oldest to head, over all shards
	Recorded    uint64        // events since the log was opened
	Bytes       uint64        // of their blocks
	Groups      uint64        // group commits since the log was opened
	Generations uint64        // of the index that were sorted into files since the log was opened
	Unindexed   uint64        // events of which the index is in memory only
	CacheHits   uint64        // blocks that were read from memory
	CacheMisses uint64        // blocks that were not
	DiskBytes   uint64        // taken by the log's files
	MemoryBytes uint64        // of the caches, of the index in memory and of what is not yet flushed
	ClockBehind time.Duration // by which the last Recorded.At is ahead of the clock
	Full        error         // leat.ErrFull when the disk is, so that nothing can be appended
	Stopped     error         // ErrStopped once the storage failed
}

// indexBytes is what the index of an event takes in memory, roughly.
const indexBytes = 180

// Stats returns the log's figures; those of the store are zero once the log is
// closed. It asks the file system for its free space.
func (l *Log) Stats() Stats {
	s := Stats{
		Recorded: l.recorded.Load(), Bytes: l.bytes.Load(), Groups: l.groups.Load(),
		Generations: l.generations.Load(), CacheHits: l.blocks.hits.Load(), CacheMisses: l.blocks.misses.Load(),
		ClockBehind: max(0, time.Duration(l.latest.Load()-l.o.Clock().UnixNano())),
		Stopped:     l.fuse.err(),
	}
	if l.o.ReserveBytes >= 0 {
		_, s.Full = askRoom(l.o.FS, l.dir, l.o.ReserveBytes, 0)
	}
	covered := l.index.memory.Load().covered
	for i, shard := range l.view.Load().shards {
		s.Events += shard.Head + 1 - shard.Oldest
		s.Unindexed += shard.Head
		if i < len(covered) {
			s.Unindexed -= min(shard.Head, covered[i])
		}
	}
	l.reading.RLock()
	defer l.reading.RUnlock()
	if !l.closed {
		m := l.store.Metrics()
		s.DiskBytes = m.DiskSpaceUsage()
		s.MemoryBytes = uint64(m.BlockCache.Size) + m.MemTable.Size + uint64(l.blocks.bytes()) + s.Unindexed*indexBytes
	}
	return s
}

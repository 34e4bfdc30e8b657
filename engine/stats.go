package engine

import (
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

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
	DiskBytes   uint64        // lengths of the files in the log's directory, those of blocks included
	BlockFiles  uint64        // files of blocks
	BlockBytes  uint64        // their lengths
	MemoryBytes uint64        // of the caches, of the index in memory and of what the store has yet to sort into files
	ClockBehind time.Duration // by which the last Recorded.At is ahead of the clock
	Full        error         // leat.ErrFull when the disk is, so that nothing can be appended
	Stopped     error         // ErrStopped once the storage failed
	Syncs       Latency       // of the files of blocks: each makes one group durable
	Store       StoreStats
}

// StoreStats are the figures of the Pebble store that has the index of a log.
// Totals are since the log was opened.
type StoreStats struct {
	Compactions     uint64 // total of files sorted into others
	CompactedBytes  uint64 // total of bytes of these files
	Compacting      uint64 // compactions under way
	CompactingBytes uint64 // that they have written so far
	DebtBytes       uint64 // estimate of what is to be compacted until the store is at rest
	IngestedBytes   uint64 // total of bytes of files of the index taken over as they are
	L0Files         uint64 // files that are sorted but not yet compacted; a key may be in any of them
	ReadAmp         uint64 // places to look for a key in, at most
	TableBytes      uint64 // of the files in use
	CacheBytes      uint64 // of the store's own cache
	CacheHits       uint64 // total of pieces of files read from it
	CacheMisses     uint64 // total of those that were not
}

// indexBytes is what the index of an event takes in memory, roughly.
const indexBytes = 180

// Stats returns the log's figures; those of the store are zero once the log is
// closed. It asks the file system for its free space and the sizes of the log's
// files.
func (l *Log) Stats() Stats {
	s := Stats{
		Recorded: l.recorded.Load(), Bytes: l.bytes.Load(), Groups: l.groups.Load(),
		Generations: l.generations.Load(), CacheHits: l.blocks.hits.Load(), CacheMisses: l.blocks.misses.Load(),
		ClockBehind: max(0, time.Duration(l.latest.Load()-l.o.Clock().UnixNano())),
		Stopped:     l.fuse.err(),
		Syncs:       l.files.syncs.read(),
	}
	if l.o.ReserveBytes >= 0 {
		_, s.Full = askRoom(l.o.FS, l.dir, l.o.ReserveBytes, 0)
	}
	covered := l.index.memory.Load().covered
	for i, shard := range l.view.Load().shards {
		s.Events += shard.Head + 1 - shard.Oldest
		s.Unindexed += shard.Head
		if i < len(covered) {
			s.Unindexed -= min(shard.Head, max(covered[i], shard.Oldest-1))
		}
	}
	l.reading.RLock()
	defer l.reading.RUnlock()
	if !l.closed {
		m := l.store.Metrics()
		s.Store = storeStats(m)
		s.BlockFiles, s.BlockBytes = uint64(len(l.files.list())), dirBytes(l.o.FS, l.files.dir)
		s.DiskBytes = dirBytes(l.o.FS, l.dir) + s.BlockBytes
		s.MemoryBytes = s.Store.CacheBytes + m.MemTable.Size + uint64(l.blocks.bytes()) + s.Unindexed*indexBytes
	}
	return s
}

func storeStats(m *pebble.Metrics) StoreStats {
	s := StoreStats{
		Compactions: uint64(m.Compact.Count), Compacting: uint64(m.Compact.NumInProgress),
		CompactingBytes: uint64(m.Compact.InProgressBytes), DebtBytes: m.Compact.EstimatedDebt,
		L0Files: uint64(m.Levels[0].TablesCount), ReadAmp: uint64(m.ReadAmp()),
		TableBytes: m.Table.Local.LiveSize,
		CacheBytes: uint64(m.BlockCache.Size), CacheHits: uint64(m.BlockCache.Hits), CacheMisses: uint64(m.BlockCache.Misses),
	}
	for _, level := range m.Levels {
		s.CompactedBytes += level.TableBytesCompacted
		s.IngestedBytes += level.TableBytesIngested
	}
	return s
}

// dirBytes returns the lengths of the files in a directory.
func dirBytes(fsys vfs.FS, dir string) (bytes uint64) {
	names, err := fsys.List(dir)
	if err != nil {
		return 0
	}
	for _, name := range names {
		if info, err := fsys.Stat(fsys.PathJoin(dir, name)); err == nil && !info.IsDir() { // else it has gone meanwhile
			bytes += uint64(info.Size())
		}
	}
	return bytes
}

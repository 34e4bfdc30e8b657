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
	DiskBytes   uint64        // lengths of the files in the log's directory
	MemoryBytes uint64        // of the caches, of the index in memory and of what is not yet flushed
	ClockBehind time.Duration // by which the last Recorded.At is ahead of the clock
	Full        error         // leat.ErrFull when the disk is, so that nothing can be appended
	Stopped     error         // ErrStopped once the storage failed
	Syncs       Latency       // of the write-ahead log: each makes one group or a few durable
	Stalls      Latency       // of appends that had to wait until the store had sorted what it has
	Store       StoreStats
}

// StoreStats are the figures of the Pebble store that a log is in. Totals are
// since the log was opened.
type StoreStats struct {
	WALBytes        uint64 // live data of the write-ahead log, which Open reads again after a crash
	WALWritten      uint64 // total of bytes written to it
	MemTableBytes   uint64 // of what is not yet flushed
	Flushes         uint64 // total of memory sorted into files
	FlushedBytes    uint64 // total of bytes of these files
	Compactions     uint64 // total of files sorted into others
	CompactedBytes  uint64 // total of bytes of these files
	Compacting      uint64 // compactions under way
	CompactingBytes uint64 // that they have written so far
	DebtBytes       uint64 // estimate of what is to be compacted until the store is at rest
	IngestedBytes   uint64 // total of bytes of files of the index taken over as they are
	L0Files         uint64 // files that are sorted but not yet compacted; appends stall when these are too many
	ReadAmp         uint64 // places to look for a key in, at most
	TableBytes      uint64 // of the files in use that hold keys
	BlobBytes       uint64 // of the files in use that hold blocks; those written since the log was opened
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
		Syncs:       l.files.syncs.read(), Stalls: l.store.stalls.read(),
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
		s.Store = storeStats(l.store.Metrics())
		s.DiskBytes = dirBytes(l.o.FS, l.dir, l.files.dir)
		s.MemoryBytes = s.Store.CacheBytes + s.Store.MemTableBytes + uint64(l.blocks.bytes()) + s.Unindexed*indexBytes
	}
	return s
}

func storeStats(m *pebble.Metrics) StoreStats {
	s := StoreStats{
		WALBytes: m.WAL.Size, WALWritten: m.WAL.BytesWritten,
		MemTableBytes: m.MemTable.Size, Flushes: uint64(m.Flush.Count),
		Compactions: uint64(m.Compact.Count), Compacting: uint64(m.Compact.NumInProgress),
		CompactingBytes: uint64(m.Compact.InProgressBytes), DebtBytes: m.Compact.EstimatedDebt,
		L0Files: uint64(m.Levels[0].TablesCount), ReadAmp: uint64(m.ReadAmp()),
		TableBytes: m.Table.Local.LiveSize, BlobBytes: m.BlobFiles.Local.LiveSize,
		CacheBytes: uint64(m.BlockCache.Size), CacheHits: uint64(m.BlockCache.Hits), CacheMisses: uint64(m.BlockCache.Misses),
	}
	for _, level := range m.Levels {
		s.FlushedBytes += level.TableBytesFlushed + level.BlobBytesFlushed
		s.CompactedBytes += level.TableBytesCompacted + level.BlobBytesCompacted
		s.IngestedBytes += level.TableBytesIngested
	}
	return s
}

// dirBytes returns the lengths of the files in directories.
func dirBytes(fsys vfs.FS, dirs ...string) (bytes uint64) {
	for _, dir := range dirs {
		names, err := fsys.List(dir)
		if err != nil {
			continue
		}
		for _, name := range names {
			if info, err := fsys.Stat(fsys.PathJoin(dir, name)); err == nil && !info.IsDir() { // else it has gone meanwhile
				bytes += uint64(info.Size())
			}
		}
	}
	return bytes
}

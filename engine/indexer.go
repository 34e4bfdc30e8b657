package engine

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// An indexer sorts generations of the index into files of the store. It belongs
// to one goroutine.
type indexer struct {
	store   *store
	index   *index
	covered []uint64 // by shard: see memory.covered

	// progress is told of the blocks that replay indexes, unless it is nil. Its
	// error ends replay.
	progress func(*block) error
}

// A sealed is a full generation on its way to the store.
type sealed struct {
	*generation
	heads  []uint64 // of the shards when it was sealed
	shards [][]byte // what else they were: see storedShard; nothing when they are unchanged
	mark   blockEnd // where the groups ended
	last   *group   // of it, nil when all of it was recovered
}

// A sealed generation waits while the one before it is sorted, and the next one
// grows. The committer waits for room for more.
const maxSealed = 1

// indexAll sorts sealed generations into the store, until there are no more to
// come.
func (l *Log) indexAll(ix *indexer, generations <-chan *sealed) {
	for s := range generations {
		// Only what is durable may be indexed there: its blocks come first.
		if s.last != nil {
			select {
			case <-s.last.done:
			case <-l.fuse.blown:
			}
		}
		if l.fuse.err() != nil {
			continue
		}
		if err := l.addPatiently(ix, s); err != nil {
			l.fuse.blow(fmt.Errorf("write the index: %w", err))
			continue
		}
		l.generations.Add(1)
		if err := l.sweepBlocks(context.Background()); err != nil {
			l.o.Logger.Warn("what is trimmed stays on the disk", "dir", l.dir, "error", err)
		}
	}
}

// addPatiently adds a generation, and tries again while there is no space.
func (l *Log) addPatiently(ix *indexer, s *sealed) error {
	for {
		err := ix.add(s, l.view.Load().oldest)
		if !vfs.IsNoSpaceError(err) || l.fuse.err() != nil {
			return err
		}
		l.o.Logger.Warn("the index waits for space on the disk", "error", err)
		time.Sleep(retryPause)
	}
}

// add makes the oldest generation a part of the store and forgets it. Runs below
// the oldest sequence kept of a shard are left out.
func (ix *indexer) add(s *sealed, oldest func(shard uint32) uint64) error {
	w := &tableWriter{store: ix.store, name: "generation"}
	newest, err := ix.write(w, s, oldest)
	if err == nil && len(w.paths) > 0 {
		err = ix.store.ingest(w.paths)
	}
	if err != nil {
		return errors.Join(err, w.remove())
	}
	ix.covered = s.heads
	ix.index.drop(s.heads, s.mark, newest)
	return nil
}

// write writes a generation's entries in the order of their keys, and returns
// the entries with the greatest UUIDs.
func (ix *indexer) write(w *tableWriter, s *sealed, oldest func(shard uint32) uint64) (newest []uint32, err error) {
	for shard, text := range s.shards {
		w.value = append(w.value[:0], text...)
		w.set(shardKey(uint32(shard)))
	}
	w.setBlocks(s.generation, oldest)
	if len(s.shards) > 0 && s.mark.file > 0 {
		w.value = s.mark.append(w.value[:0])
		w.set(markKey)
	}
	for shard, head := range s.heads {
		if shard < len(ix.covered) && ix.covered[shard] == head {
			continue
		}
		w.value = binary.LittleEndian.AppendUint64(w.value[:0], head)
		w.set(coverKey(uint32(shard)))
	}
	chunks := ix.writeHeads(w, s, oldest)
	w.cut()
	uuids, texts := s.sortedIDs()
	w.setIDs(s.generation, texts)
	w.cut()
	for _, c := range chunks {
		w.value = append(w.value[:0], c.value...)
		w.set(append(w.key[:0], c.key...))
	}
	w.cut()
	w.dense = true
	w.setIDs(s.generation, uuids)
	w.cut()
	return uuids[max(0, len(uuids)-recentIDs-1):], w.err
}

// sortedStreams returns the streams in the order of their names.
func (g *generation) sortedStreams() []uint32 {
	streams := make([]sortKey, g.streams.n)
	common := 0
	if len(streams) > 0 {
		common = len(g.name(0))
	}
	for i := range g.streams.n {
		common = commonPrefix(g.name(0), g.name(i), common)
	}
	for i := range g.streams.n {
		streams[i] = sortKey{prefix(g.name(i)[common:]), i}
	}
	return sorted(streams, func(a, b uint32) int { return strings.Compare(g.name(a), g.name(b)) })
}

// sortedIDs returns the entries of IDs in the order of their keys: UUIDs, and
// others.
func (g *generation) sortedIDs() (uuids, texts []uint32) {
	u := make([]sortKey, 0, g.ids.n)
	var t []sortKey
	keys := make(map[uint32][]byte)
	for i := range g.ids.n {
		if e := g.ids.at(i); e.uuid {
			u = append(u, sortKey{prefix(g.idText(e)), i})
		} else {
			keys[i] = g.idKey(nil, i)
			t = append(t, sortKey{prefix(text(keys[i])), i})
		}
	}
	uuids = sorted(u, func(a, b uint32) int {
		x, y := g.ids.at(a), g.ids.at(b)
		return cmp.Or(strings.Compare(g.idText(x), g.idText(y)), strings.Compare(g.name(x.stream), g.name(y.stream)))
	})
	texts = sorted(t, func(a, b uint32) int { return bytes.Compare(keys[a], keys[b]) })
	return uuids, texts
}

func (g *generation) idKey(dst []byte, i uint32) []byte {
	e := g.ids.at(i)
	return appendIDKey(dst, g.name(e.stream), &eventID{text: g.idText(e), uuid: e.uuid})
}

// A sortKey is an entry and what its key begins with, which mostly decides its
// place without a look at the rest.
type sortKey struct {
	prefix uint64
	entry  uint32
}

func prefix(s string) uint64 {
	var b [8]byte
	copy(b[:], s)
	return binary.BigEndian.Uint64(b[:])
}

func sorted(keys []sortKey, compare func(a, b uint32) int) []uint32 {
	slices.SortFunc(keys, func(a, b sortKey) int {
		if a.prefix != b.prefix {
			return cmp.Compare(a.prefix, b.prefix)
		}
		return compare(a.entry, b.entry)
	})
	entries := make([]uint32, len(keys))
	for i, k := range keys {
		entries[i] = k.entry
	}
	return entries
}

// commonPrefix returns how many of the first n bytes two texts have in common.
func commonPrefix(a, b string, n int) int {
	n = min(n, len(b))
	i := 0
	for ; i+8 <= n; i += 8 {
		if diff := prefix(a[i:]) ^ prefix(b[i:]); diff != 0 {
			return i + bits.LeadingZeros64(diff)/8
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

// A tableWriter writes sorted entries into files that the store can take over.
// It keeps its first error.
type tableWriter struct {
	store *store
	name  string // of its files, together with their numbers
	paths []string
	table *sstable.Writer // nil between two files
	keys  int             // in it
	dense bool            // keys are asked for where they are, and nothing in it repeats

	key, value []byte // of the entry that comes next
	err        error
}

const (
	// tableKeys keeps the bloom filter of a file, which is read as a whole,
	// small.
	tableKeys = 64 << 10

	// tableName is what the names of files begin with that the store has not
	// taken over yet. Ingest removes them.
	tableName = "index-"
)

// set writes value under a key, whose memory becomes that of the next.
func (w *tableWriter) set(key []byte) {
	w.key = key
	if w.open() {
		w.err = w.table.Set(key, w.value)
	}
}

// delete writes that a key is no more.
func (w *tableWriter) delete(key []byte) {
	if w.open() {
		w.err = w.table.Delete(key)
	}
}

// setBlocks writes where the blocks are that end at the oldest sequences or
// above.
func (w *tableWriter) setBlocks(g *generation, oldest func(shard uint32) uint64) {
	lists := g.blocks.Load()
	if lists == nil {
		return
	}
	for shard, list := range *lists {
		if list == nil {
			continue
		}
		for i := range list.n.Load() {
			if e := list.entries.at(i); e.last >= oldest(uint32(shard)) {
				w.value = e.extent.append(w.value[:0])
				w.set(appendBlockKey(w.key[:0], blockID{uint32(shard), e.last}))
			}
		}
	}
}

func (w *tableWriter) setIDs(g *generation, entries []uint32) {
	for _, i := range entries {
		w.value = g.ids.at(i).known.append(w.value[:0])
		w.set(g.idKey(w.key[:0], i))
	}
}

// open makes sure that there is a file with room for a key.
func (w *tableWriter) open() bool {
	if w.keys >= tableKeys {
		w.cut()
	}
	if w.err != nil {
		return false
	}
	if w.table == nil {
		path := w.store.fs.PathJoin(w.store.dir, fmt.Sprintf("%s%s-%d", tableName, w.name, len(w.paths)))
		f, err := w.store.options.FS.Create(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			w.err = err
			return false
		}
		w.paths = append(w.paths, path)
		o := w.store.options.MakeWriterOptions(0, w.store.TableFormat())
		if w.dense {
			o.FilterPolicy, o.Compression = nil, sstable.NoCompression
		}
		w.table = sstable.NewWriter(objstorageprovider.NewFileWritable(f), o)
	}
	w.keys++
	return true
}

// cut finishes the file, durably so.
func (w *tableWriter) cut() {
	if w.table == nil {
		return
	}
	if err := w.table.Close(); w.err == nil {
		w.err = err
	}
	w.table, w.keys = nil, 0
}

// remove removes the files.
func (w *tableWriter) remove() error {
	w.cut()
	var errs []error
	for _, path := range w.paths {
		errs = append(errs, w.store.options.FS.Remove(path))
	}
	return errors.Join(errs...)
}

// removeTables removes what an interrupted tableWriter left.
func (s *store) removeTables() error {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, tableName) {
			err = errors.Join(err, s.fs.Remove(s.fs.PathJoin(s.dir, name)))
		}
	}
	return err
}

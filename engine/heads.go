package engine

import (
	"bytes"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// A stream's last runs stand with its version, so that one look-up finds all of
// most streams. When they become too many, those of earlier generations move to
// a chunk of their own.
const (
	headRuns  = 32 // in a head
	chunkRuns = 64 // in a chunk
)

// A chunk is an entry of runs as it is stored.
type chunk struct{ key, value []byte }

// writeHeads writes the heads of a generation's streams in the order of their
// names, and returns the chunks that are to be written, in the order of theirs.
func (ix *indexer) writeHeads(w *tableWriter, s *sealed, oldest func(shard uint32) uint64) []chunk {
	h := headWriter{indexer: ix, tableWriter: w, oldest: oldest}
	defer h.close()
	for _, i := range s.sortedStreams() {
		h.write(s.generation, i)
	}
	// A name comes after those that it is the beginning of, here.
	byKey := func(a, b chunk) int { return bytes.Compare(a.key, b.key) }
	if !slices.IsSortedFunc(h.chunks, byKey) {
		slices.SortFunc(h.chunks, byKey)
	}
	return h.chunks
}

type headWriter struct {
	*indexer
	*tableWriter
	oldest func(shard uint32) uint64
	stored *pebble.Iterator // over the heads in the store; nil until it is needed
	chunks []chunk
	old    []run
	runs   []run
}

func (h *headWriter) close() {
	if h.stored != nil {
		_ = h.stored.Close() // its errors were seen when it was used
	}
}

// write writes the head of a stream, and what there is no room for in it into
// chunks.
func (h *headWriter) write(g *generation, stream uint32) {
	name := g.name(stream)
	h.runs, h.old = h.runs[:0], h.old[:0]
	first := uint64(0)
	g.eachRun(stream, func(r run) bool {
		first = r.firstVersion()
		if r.seq >= h.oldest(r.shard) {
			h.runs = append(h.runs, r)
		}
		return true
	})
	slices.Reverse(h.runs)
	if first > 1 {
		h.readOld(name, first)
	}
	if len(h.old) > 0 && len(h.old)+len(h.runs) > headRuns {
		h.addChunk(name, h.old)
		h.old = h.old[:0]
	}
	rest := h.runs
	for len(h.old)+len(rest) > headRuns {
		n := min(chunkRuns, len(rest)-1)
		h.addChunk(name, rest[:n])
		rest = rest[n:]
	}
	w := h.tableWriter
	h.old = append(h.old, rest...)
	end := head{version: g.version(stream), runs: h.old}
	w.value = end.append(w.value[:0])
	w.set(appendHeadKey(w.key[:0], name))
}

// readOld makes old the runs below a version that the head of a stream has now.
// It has others when Repair was interrupted.
func (h *headWriter) readOld(name string, below uint64) {
	if h.stored == nil {
		var err error
		h.stored, err = h.indexer.store.NewIter(&pebble.IterOptions{LowerBound: []byte{headPrefix}, UpperBound: []byte{headPrefix + 1}})
		if err != nil {
			h.fail(err)
			return
		}
	}
	key := appendHeadKey(h.key[:0], name)
	h.key = key
	if !h.stored.SeekGE(key) || !bytes.Equal(h.stored.Key(), key) {
		h.fail(h.stored.Error())
		return
	}
	value, err := h.stored.ValueAndErr()
	if err != nil {
		h.fail(err)
		return
	}
	end, err := parseHead(value)
	h.fail(err)
	for _, r := range end.runs {
		if r.version < below && r.seq >= h.oldest(r.shard) {
			h.old = append(h.old, r)
		}
	}
}

// fail makes err the error of the writer, unless there was one before.
func (h *headWriter) fail(err error) {
	if h.err == nil {
		h.err = corruptOr(err)
	}
}

func (h *headWriter) addChunk(name string, runs []run) {
	h.chunks = append(h.chunks, chunk{appendRunKey(nil, name, runs[len(runs)-1].version), appendRuns(nil, runs)})
}

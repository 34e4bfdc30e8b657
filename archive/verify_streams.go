package archive

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math/bits"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/leathq/leat"
)

// A streamCheck finds streams whose versions are not 1, 2, 3 … and event IDs that
// a stream has twice, over all shards, in memory that does not grow with the
// archive. Each event leaves two records, one with its stream and version and one
// with its stream and ID. Names and IDs are hashed to 128 bits with a seed of this
// run, so nobody can make them collide. Records are divided by hash into
// partitions that fit in memory, in files when there are many; each is sorted at
// the end. A stream longer than bucketVersions is divided by version as well.
type streamCheck struct {
	seeds    [2]maphash.Seed
	versions []*partition
	ids      []*partition
	folder   string // of the partitions, empty when they are in memory

	mu      sync.Mutex
	full    map[bucket]bool // buckets of a stream that hold their last version
	started map[bucket]versionRecord
}

const (
	inMemoryEvents   = 1 << 18 // fewer records than of these events stay in memory
	partitionRecords = 1 << 18
	maxPartitions    = 256 // files open at once, of either kind
	bucketVersions   = 1 << 18
)

// A bucket is a part of a stream.
type bucket struct {
	stream [2]uint64 // hashes
	number uint64    // versions from number * bucketVersions on
}

// A versionRecord is what an event leaves: its stream, version and place.
type versionRecord struct {
	stream  [2]uint64
	version uint64
	place   place
}

// An idRecord is what an event leaves: a hash of its stream and ID, and its place.
type idRecord struct {
	hash  [2]uint64
	place place
}

// A place is a position with the shard's index in this verification.
type place struct {
	seq   uint64
	shard uint32
}

const (
	versionRecordBytes = 36
	idRecordBytes      = 28
)

// A partition is a share of the records.
type partition struct {
	mu sync.Mutex
	io.ReadWriter
}

func newStreamCheck(events uint64) (*streamCheck, error) {
	s := &streamCheck{
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		full:  make(map[bucket]bool), started: make(map[bucket]versionRecord),
	}
	n := 1
	if events > inMemoryEvents {
		n = 1 << min(bits.Len64(events/partitionRecords), bits.Len(maxPartitions-1))
		var err error
		if s.folder, err = os.MkdirTemp("", "leat-verify-*"); err != nil {
			return nil, err
		}
	}
	for i := range 2 * n {
		p := &partition{ReadWriter: new(bytes.Buffer)}
		if s.folder != "" {
			f, err := os.Create(filepath.Join(s.folder, fmt.Sprint(i)))
			if err != nil {
				s.close()
				return nil, err
			}
			p.ReadWriter = f
		}
		if i < n {
			s.versions = append(s.versions, p)
		} else {
			s.ids = append(s.ids, p)
		}
	}
	return s, nil
}

// close removes the files.
func (s *streamCheck) close() {
	for _, p := range slices.Concat(s.versions, s.ids) {
		if f, ok := p.ReadWriter.(*os.File); ok {
			f.Close()
		}
	}
	if s.folder != "" {
		os.RemoveAll(s.folder)
	}
}

// A streamWriter adds the events of one goroutine.
type streamWriter struct {
	check         *streamCheck
	versions, ids [][]byte // not yet written, by partition
}

func (s *streamCheck) writer() *streamWriter {
	return &streamWriter{s, make([][]byte, len(s.versions)), make([][]byte, len(s.ids))}
}

// hash returns the hashes of a name, which begin with others.
func (s *streamCheck) hash(before [2]uint64, name string) [2]uint64 {
	for i := range before {
		before[i] = bits.RotateLeft64(before[i], 31)*0x9e3779b97f4a7c15 ^ maphash.String(s.seeds[i], name)
	}
	return before
}

// in returns which of n partitions, a power of two, a hash falls into.
func in(hash uint64, n int) int { return int(hash & uint64(n-1)) }

// add records an event of the shard with an index.
func (w *streamWriter) add(e *leat.Recorded, shard uint32) error {
	stream := w.check.hash([2]uint64{}, e.Stream)
	i := in(stream[0]+e.Version/bucketVersions*0x9e3779b97f4a7c15, len(w.versions))
	b := appendHashes(w.versions[i], stream)
	b = binary.LittleEndian.AppendUint64(b, e.Version)
	w.versions[i] = appendPlace(b, e.Seq, shard)

	id := w.check.hash(stream, e.ID)
	k := in(id[0], len(w.ids))
	w.ids[k] = appendPlace(appendHashes(w.ids[k], id), e.Seq, shard)

	const most = 64 << 10
	if len(w.versions[i]) > most {
		if err := w.write(w.check.versions[i], &w.versions[i]); err != nil {
			return err
		}
	}
	if len(w.ids[k]) > most {
		return w.write(w.check.ids[k], &w.ids[k])
	}
	return nil
}

func appendHashes(b []byte, h [2]uint64) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(b, h[0]), h[1])
}

func appendPlace(b []byte, seq uint64, shard uint32) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint64(b, seq), shard)
}

func (w *streamWriter) write(p *partition, b *[]byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := p.Write(*b)
	*b = (*b)[:0]
	return err
}

// flush writes what is left.
func (w *streamWriter) flush() error {
	var errs []error
	for i := range w.versions {
		errs = append(errs, w.write(w.check.versions[i], &w.versions[i]), w.write(w.check.ids[i], &w.ids[i]))
	}
	return errors.Join(errs...)
}

// records returns all of a partition, of records of so many bytes.
func (p *partition) records(size int) ([]byte, error) {
	if f, ok := p.ReadWriter.(*os.File); ok {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
	}
	b, err := io.ReadAll(p)
	if err == nil && len(b)%size != 0 {
		err = fmt.Errorf("a file of %d bytes: %w", len(b), io.ErrUnexpectedEOF)
	}
	return b, err
}

func readPlace(b []byte) place {
	return place{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[8:])}
}

func readHashes(b []byte) [2]uint64 {
	return [2]uint64{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
}

// versions looks at what the events of all segments left.
func (v *verification) versions(ctx context.Context) error {
	s := streamFaults{verification: v, chains: make([]*verifiedChain, len(v.chains))}
	for _, c := range v.chains {
		s.chains[c.index] = c
		s.gaps = s.gaps || !c.whole || len(c.unread) > 0
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range v.streams.versions {
		g.Go(func() error { return s.checkVersions(ctx, v.streams.versions[i]) })
		g.Go(func() error { return s.checkIDs(ctx, v.streams.ids[i]) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for b, r := range v.streams.started {
		b.number--
		if !v.streams.full[b] {
			if err := s.hole(ctx, nil, r); err != nil {
				return err
			}
		}
	}
	if more := s.found - maxStreamFaults; more > 0 {
		v.problem(v.archive.object("segments/"), fmt.Sprintf("hold %d more events with a wrong version or an ID that occurs twice", more), "")
	}
	return nil
}

// maxStreamFaults bounds how many faults in streams are reported one by one.
const maxStreamFaults = 100

// streamFaults reports what is wrong with streams.
type streamFaults struct {
	*verification
	chains []*verifiedChain // by index
	gaps   bool             // some events were not read

	once  sync.Mutex // guards found
	found int
}

func (s *streamFaults) checkVersions(ctx context.Context, p *partition) error {
	b, err := p.records(versionRecordBytes)
	if err != nil {
		return err
	}
	records := make([]versionRecord, 0, len(b)/versionRecordBytes)
	for ; len(b) > 0; b = b[versionRecordBytes:] {
		records = append(records, versionRecord{readHashes(b), binary.LittleEndian.Uint64(b[16:]), readPlace(b[24:])})
	}
	slices.SortFunc(records, func(a, b versionRecord) int {
		return cmp.Or(cmp.Compare(a.stream[0], b.stream[0]), cmp.Compare(a.stream[1], b.stream[1]),
			cmp.Compare(a.version, b.version), cmp.Compare(a.place.seq, b.place.seq))
	})
	for i, r := range records {
		if err := ctx.Err(); err != nil {
			return err
		}
		var prev *versionRecord
		if i > 0 && records[i-1].stream == r.stream && r.version <= records[i-1].version+1 ||
			i > 0 && records[i-1].stream == r.stream && records[i-1].version/bucketVersions == r.version/bucketVersions {
			prev = &records[i-1]
		}
		if err := s.version(ctx, prev, r); err != nil {
			return err
		}
	}
	return nil
}

// version checks an event against the one before it in its stream, nil when that
// is in another partition or there is none.
func (s *streamFaults) version(ctx context.Context, prev *versionRecord, r versionRecord) error {
	b := bucket{r.stream, r.version / bucketVersions}
	if r.version%bucketVersions == bucketVersions-1 {
		s.streams.mu.Lock()
		s.streams.full[b] = true
		s.streams.mu.Unlock()
	}
	switch {
	case prev == nil && r.version == 1, prev != nil && r.version == prev.version+1 && s.precedes(prev.place, r.place):
		return nil
	case prev == nil && b.number > 0 && r.version%bucketVersions == 0:
		s.streams.mu.Lock()
		s.streams.started[b] = r
		s.streams.mu.Unlock()
		return nil
	case prev == nil || r.version > prev.version+1:
		return s.hole(ctx, prev, r)
	case r.version == prev.version:
		return s.report(ctx, r.place, "has version %d, which another event of the stream has too", r.version)
	}
	return s.report(ctx, r.place, "has version %d, and the version before it comes later", r.version)
}

// precedes reports whether an event of a stream may come before another.
func (s *streamFaults) precedes(a, b place) bool {
	if a.shard == b.shard {
		return a.seq < b.seq
	}
	return s.descends(b.shard, a.shard, len(s.chains))
}

// descends reports whether a shard continues another, over so many others at
// most.
func (s *streamFaults) descends(shard, from uint32, depth int) bool {
	l := s.chains[shard].opened()
	if l == nil {
		return true // it is damaged, and nobody can tell
	}
	for _, p := range l.Parents {
		for _, c := range s.chains {
			if c.shard == p && (c.index == from || depth > 0 && s.descends(c.index, from, depth-1)) {
				return true
			}
		}
	}
	return false
}

// hole reports versions that are missing before one, unless they may be in a
// segment that was not read.
func (s *streamFaults) hole(ctx context.Context, prev *versionRecord, r versionRecord) error {
	var from place
	want := r.version / bucketVersions * bucketVersions
	if prev != nil {
		from, want = prev.place, prev.version+1
	} else if want == 0 {
		want = 1
	}
	if s.gaps && s.unreadBetween(prev, from, r.place) {
		return nil
	}
	if want == r.version { // the bucket before it is not full
		return s.report(ctx, r.place, "has version %d, and versions before it are missing", r.version)
	}
	return s.report(ctx, r.place, "has version %d, and version %d is missing", r.version, want)
}

// unreadBetween reports whether events were left out between two places, the
// first of which may be the beginning of the stream.
func (s *streamFaults) unreadBetween(prev *versionRecord, a, b place) bool {
	if prev == nil || a.shard != b.shard {
		return true
	}
	c := s.chains[a.shard]
	return !c.whole || slices.ContainsFunc(c.unread, func(u span) bool { return u.last > a.seq && u.first < b.seq })
}

func (s *streamFaults) checkIDs(ctx context.Context, p *partition) error {
	b, err := p.records(idRecordBytes)
	if err != nil {
		return err
	}
	records := make([]idRecord, 0, len(b)/idRecordBytes)
	for ; len(b) > 0; b = b[idRecordBytes:] {
		records = append(records, idRecord{readHashes(b), readPlace(b[16:])})
	}
	slices.SortFunc(records, func(a, b idRecord) int {
		return cmp.Or(cmp.Compare(a.hash[0], b.hash[0]), cmp.Compare(a.hash[1], b.hash[1]),
			cmp.Compare(a.place.shard, b.place.shard), cmp.Compare(a.place.seq, b.place.seq))
	})
	for i := 1; i < len(records); i++ {
		if a, b := records[i-1], records[i]; a.hash == b.hash {
			if err := s.report(ctx, b.place, "has an ID that the stream has already, at sequence %d of %s", a.place.seq, s.chains[a.place.shard].shard); err != nil {
				return err
			}
		}
	}
	return nil
}

// report reads the event at a place again and says what is wrong with it.
func (s *streamFaults) report(ctx context.Context, p place, format string, args ...any) error {
	s.once.Lock()
	s.found++
	enough := s.found > maxStreamFaults
	s.once.Unlock()
	if enough {
		return nil
	}
	c := s.chains[p.shard]
	i := slices.IndexFunc(c.links, func(l link) bool { return l.Segment != nil && l.Segment.First <= p.seq && p.seq <= l.Segment.Last })
	e, err := s.archive.eventIn(ctx, c.shard, *c.links[i].Segment, p.seq)
	if err != nil {
		return err
	}
	s.problem(s.archive.object(c.links[i].Segment.Object),
		fmt.Sprintf("holds event %s of stream %s as sequence %d, which %s", e.ID, e.Stream, p.seq, fmt.Sprintf(format, args...)),
		"the log recorded it so, or whoever has the key forged it: a replay would not give the state that the log had")
	return nil
}

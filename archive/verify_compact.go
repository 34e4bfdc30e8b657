package archive

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/leathq/leat"
)

// Compacted files hold the same events as the segments in another order. Whether
// they do is told by sums: of each event, its sequence and leaf hash are hashed to
// 128 bits with seeds of this run, and these are added up, of the segments as of
// the files. Nobody who does not know the seeds can make two sets with one sum,
// and it needs no memory.

// remade is what damage to compacted files means.
const remade = "no event is lost: the segments have them. Put back a copy of it, or remove all of the shard's folder in compact/ and run leat archive compact"

// An eventSum is the sum of some events.
type eventSum struct {
	events uint64
	hashes [2]uint64
}

func (s *eventSum) add(o eventSum) {
	s.events += o.events
	s.hashes[0] += o.hashes[0]
	s.hashes[1] += o.hashes[1]
}

// A period is what a catalog says of the events of a day or month.
type period struct {
	catalog string // full name of the object
	chain   *verifiedChain
	first   uint64
	last    uint64
	files   []compacted

	mu       sync.Mutex
	segments eventSum
	sorted   eventSum
	ends     []sortedEnds // of the files, in their order; nil of those that are damaged
	damaged  bool         // some of it was not read
}

// sortedEnds are the first and the last event of a sorted file.
type sortedEnds struct{ first, last leat.Recorded }

// inOrder reports whether an event comes before another in compacted files.
func inOrder(a, b *leat.Recorded) bool {
	return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Version, b.Version)) < 0
}

// A summer adds up the events of one segment, which may lie in several periods.
type summer struct {
	seeds   *[2]maphash.Seed
	periods []*period // from that of the first event on
	sum     eventSum
}

// summer returns one for a segment.
func (v *verification) summer(c *verifiedChain, first uint64) *summer {
	i := sort.Search(len(c.periods), func(i int) bool { return c.periods[i].last >= first })
	return &summer{seeds: &v.streams.seeds, periods: c.periods[i:]}
}

func (s *summer) event(seq uint64, leaf [32]byte) {
	for len(s.periods) > 0 && seq > s.periods[0].last {
		s.flush()
	}
	if len(s.periods) > 0 && seq >= s.periods[0].first {
		s.sum.add(sumOf(s.seeds, seq, leaf))
	}
}

// flush adds what there is to its period.
func (s *summer) flush() {
	if len(s.periods) == 0 {
		return
	}
	p := s.periods[0]
	p.mu.Lock()
	p.segments.add(s.sum)
	p.mu.Unlock()
	s.sum, s.periods = eventSum{}, s.periods[1:]
}

func sumOf(seeds *[2]maphash.Seed, seq uint64, leaf [32]byte) eventSum {
	var b [40]byte
	copy(b[:], leaf[:])
	binary.LittleEndian.PutUint64(b[32:], seq)
	return eventSum{1, [2]uint64{maphash.Bytes(seeds[0], b[:]), maphash.Bytes(seeds[1], b[:])}}
}

// catalogs reads the catalogs of all chains.
func (v *verification) catalogs(ctx context.Context) error {
	for _, c := range v.sortedChains() {
		if err := v.catalogOf(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// catalogOf checks the catalogs of a chain. The last that is whole counts.
func (v *verification) catalogOf(ctx context.Context, c *verifiedChain) error {
	numbers, err := v.archive.catalogNumbers(ctx, c.shard)
	if err != nil {
		return err
	}
	var last *catalog
	for i, n := range numbers {
		if i > 0 && n != numbers[i-1]+1 {
			v.problem(v.archive.object(catalogName(c.shard, numbers[i-1]+1)), fmt.Sprintf("is missing, though number %d exists", n), remade)
		}
		cat, err := v.archive.readCatalog(ctx, c.shard, n)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a compactor has removed it meanwhile
		}
		if err != nil {
			if err := v.fault(v.archive.object(catalogName(c.shard, n)), err, remade); err != nil {
				return err
			}
			continue
		}
		last = cat
	}
	if last == nil {
		return v.unnamed(ctx, &catalog{Shard: c.shard})
	}
	object := v.archive.object(catalogName(c.shard, last.Number))
	i, found := slices.BinarySearchFunc(c.links, last.Manifest.Number, func(l link, n uint64) int { return cmp.Compare(l.Number, n) })
	switch {
	case last.Covered > c.tail().Total.Events && c.whole,
		found && c.links[i].sum != last.Manifest.SHA256:
		v.problem(object, fmt.Sprintf("was made of another manifest %d than there is", last.Manifest.Number),
			"the chain was cut off or made anew; if what is there is right, remove the compacted files and run leat archive compact")
	}
	for i := 0; i < len(last.Files); {
		p := &period{catalog: object, chain: c, first: last.Files[i].First, last: last.Files[i].Last}
		for ; i < len(last.Files) && last.Files[i].First == p.first; i++ {
			p.files = append(p.files, last.Files[i])
		}
		p.ends = make([]sortedEnds, len(p.files))
		c.periods = append(c.periods, p)
	}
	return v.unnamed(ctx, last)
}

// unnamed notes compacted files that no catalog names. When they were made for a
// catalog that is not there, a compactor was killed before it wrote that, or
// somebody has removed it. Nobody can tell, and it makes no difference: whichever
// catalog is the last, readers find each event once, in the files that it names or
// in the segments above them.
func (v *verification) unnamed(ctx context.Context, cat *catalog) error {
	unnamed, err := v.archive.unnamed(ctx, cat)
	if err != nil {
		return err
	}
	for _, object := range unnamed {
		what := "is named by no catalog that counts"
		if g, ok := generationOf(path.Base(object)); ok && g > cat.Number {
			what = fmt.Sprintf("was made for catalog %d, which is not there", g)
		}
		v.note(object, what, "readers ignore it; leat archive compact removes it in time")
	}
	return nil
}

// sorted verifies the i-th file of a period.
func (v *verification) sorted(ctx context.Context, p *period, i int) error {
	f := p.files[i]
	object := v.archive.object(f.Object)
	data, err := v.archive.get(ctx, object)
	if err == nil && (hexSum(data) != f.SHA256 || int64(len(data)) != f.Size) {
		err = corrupt(object, "has %d bytes and SHA-256 %s, its catalog says %d and %s", len(data), hexSum(data), f.Size, f.SHA256)
	}
	var sum eventSum
	var ends sortedEnds
	if err == nil {
		sum, ends, err = v.sortedRows(ctx, p, f, object, data)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.damaged = true
		return v.fault(object, err, remade)
	}
	p.sorted.add(sum)
	p.ends[i] = ends
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Compacted++
	v.report.Bytes += f.Size
	return nil
}

// sortedRows reads all of a sorted file.
func (v *verification) sortedRows(ctx context.Context, p *period, f compacted, object string, data []byte) (sum eventSum, ends sortedEnds, err error) {
	part := func(_ context.Context, s extent) ([]byte, error) {
		if s.Offset < 0 || s.Size < 0 || s.Offset > int64(len(data)) || s.Size > int64(len(data))-s.Offset {
			return nil, corrupt(object, "has %d bytes and describes %d at %d", len(data), s.Size, s.Offset)
		}
		b := data[s.Offset:][:s.Size]
		if hexSum(b) != s.SHA256 {
			return nil, corrupt(object, "has SHA-256 %s in the %d bytes at %d, not %s", hexSum(b), s.Size, s.Offset, s.SHA256)
		}
		return b, nil
	}
	source := &sortedSource{name: object, desc: f.sorted, part: part}
	file, err := source.open(ctx)
	if err != nil {
		return sum, ends, err
	}
	layout := dayLayout
	if f.Level == levelMonth {
		layout = monthLayout
	}
	for i := range file.groups {
		bits, err := part(ctx, file.filter(i))
		if err != nil {
			return sum, ends, err
		}
		streams, err := parseFilter(bits)
		if err != nil {
			return sum, ends, corrupt(object, "has no Bloom filter in row group %d: %v", i, err)
		}
		r, n, err := file.rows(ctx, source, i)
		if err != nil {
			return sum, ends, err
		}
		err = guardParquet(object, func() error {
			defer r.close()
			var e leat.Recorded
			stream := "" // of the row before, in this group
			for range n {
				leaf, err := r.proven(&e)
				begins := err == nil && e.Stream != stream
				stream = e.Stream
				switch {
				case err != nil:
					return err
				case e.Shard != p.chain.shard || e.Seq < p.first || e.Seq > p.last:
					return fmt.Errorf("it holds sequence %d of %s, and is one of sequences %d to %d", e.Seq, e.Shard, p.first, p.last)
				case e.At.UTC().Format(layout) != f.Period:
					return fmt.Errorf("it holds an event of %s", e.At)
				case sum.events > 0 && !inOrder(&ends.last, &e):
					return fmt.Errorf("version %d of stream %q follows version %d of stream %q", e.Version, e.Stream, ends.last.Version, ends.last.Stream)
				case begins && (!streams.mayHold(stream) || !file.mayHold(i, stream)):
					return fmt.Errorf("the index of row group %d leaves out stream %q, of which it holds events", i, stream)
				}
				if ends.last = (leat.Recorded{Event: leat.Event{Stream: e.Stream}, Version: e.Version}); sum.events == 0 {
					ends.first = ends.last
				}
				sum.add(sumOf(&v.streams.seeds, e.Seq, leaf))
			}
			return ctx.Err()
		})
		if err != nil {
			return sum, ends, err
		}
	}
	if ends.first.Stream != f.MinStream || ends.last.Stream != f.MaxStream {
		return sum, ends, corrupt(object, "holds streams from %q to %q, its catalog says from %q to %q", ends.first.Stream, ends.last.Stream, f.MinStream, f.MaxStream)
	}
	return sum, ends, nil
}

// compare tells where compacted files and segments do not hold the same events.
func (v *verification) compare() {
	for _, c := range v.sortedChains() {
		for _, p := range c.periods {
			v.period(p)
		}
	}
}

func (v *verification) period(p *period) {
	name := p.files[0].Period
	for i := 1; i < len(p.files) && !p.damaged; i++ {
		if !inOrder(&p.ends[i-1].last, &p.ends[i].first) {
			v.problem(p.catalog, fmt.Sprintf("says %s comes after %s, and their streams do not", p.files[i].Object, p.files[i-1].Object), remade)
		}
	}
	unread := !p.chain.whole || slices.ContainsFunc(p.chain.unread, func(u span) bool { return u.last >= p.first && u.first <= p.last })
	switch {
	case p.damaged:
	case unread:
		v.note(p.catalog, fmt.Sprintf("names files of %s, sequences %d to %d, of which not all segments were read", name, p.first, p.last),
			"they are whole; whether they hold the same events was not compared")
	case p.segments != p.sorted:
		v.problem(p.catalog, fmt.Sprintf("names files of %s that do not hold the events of the segments, sequences %d to %d: %s",
			name, p.first, p.last, strings.Join(objectsOf(p.files), ", ")), remade)
	}
}

func objectsOf(files []compacted) []string {
	var names []string
	for _, f := range files {
		names = append(names, f.Object)
	}
	return names
}

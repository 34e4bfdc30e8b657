package engine

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/leathq/leat"
)

// A Report is what Check found in a log.
type Report struct {
	Info   leat.Info
	Shards []leat.Shard

	// What was looked at.
	Blocks  uint64
	Events  uint64 // kept
	Streams uint64 // also those of which no event is kept
	IDs     uint64 // also those of events that are not kept
	Indexed uint64 // of Events; Open indexes the others

	// Problems holds the first MaxProblems, and Found is how many there are.
	Problems []Problem
	Found    int
}

// MaxProblems is how many problems a Report lists.
const MaxProblems = 100

// A Problem is something in a log that should not be.
type Problem struct {
	Place string // such as `shardId-000000000000, sequence 17`
	What  string
}

func (p Problem) String() string { return p.Place + ": " + p.What }

// Check reads a log from end to end, changing nothing, and compares everything
// with everything: the checksum and content of each block, sequences and times
// without hole or disorder, versions without hole, and the index of streams and
// IDs against the blocks. It calls progress, unless that is nil, with the
// number of events checked so far and in total. The log must not be open
// elsewhere. The error is not nil when there is no log to check, when a file of
// blocks is missing or does not say what it is, and when ctx ended.
func Check(ctx context.Context, dir string, o Options, progress func(done, total uint64)) (Report, error) {
	o = o.withDefaults()
	s, err := openExisting(dir, o, newFuse(o.Logger), readStore)
	if err != nil {
		return Report{}, fmt.Errorf("check log: %w", err)
	}
	c := &checker{
		store: s, files: newBlockFiles(dir, o, s.fuse), progress: progress, late: newIndex(s.DB, 0, 0),
	}
	if err := c.run(ctx); err != nil {
		return c.report, errors.Join(fmt.Errorf("check log in %s: %w", dir, err), c.files.close(), s.close())
	}
	return c.report, errors.Join(c.files.close(), s.close())
}

// A checker works on one Report.
type checker struct {
	store    *store
	files    *blockFiles
	progress func(done, total uint64)
	report   Report

	tails   []*tail
	covered []uint64 // by shard: see memory.covered
	next    []uint64 // by shard: the sequence that comes next
	last    []int64  // by shard: the At of what came before
	late    *index   // of the events that the store has not indexed
	total   uint64   // events kept
	done    uint64   // events checked
	indexed uint64   // blocks that the store has indexed
}

func (c *checker) run(ctx context.Context) (err error) {
	if c.report.Info, err = c.store.readInfo(); err != nil {
		return err
	}
	r, err := c.store.newReplay(func(*block, extent) error { return nil })
	if err != nil {
		return err
	}
	c.covered = slices.Clone(r.covered)
	if err := c.late.recover(c.store, c.covered, r.mark); err != nil {
		c.problem("ID index", "%v", err)
	}
	if err := c.files.open(); err != nil {
		return err
	}
	found, err := c.files.scan(r.mark)
	if errors.Is(err, leat.ErrCorrupt) {
		c.problem("files of blocks", "%v", err)
		found, err = c.files.whole()
	}
	if err != nil {
		return err
	}
	from := r.mark
	if from.file == 0 {
		from = c.files.first()
	}
	if err := r.run(c.files, from, found.end, ctx.Err); err != nil {
		if !errors.Is(err, leat.ErrCorrupt) {
			return err
		}
		c.problem("files of blocks", "%v", err)
	}
	c.tails = r.tails
	c.covered = append(c.covered, make([]uint64, len(c.tails)-len(c.covered))...)
	for _, t := range c.tails {
		c.total += t.Head + 1 - t.Oldest
		c.report.Shards = append(c.report.Shards, cloneShard(t.Shard))
	}
	if err := c.checkFiles(ctx, found.end); err != nil {
		return err
	}
	for _, check := range []func(context.Context) error{c.checkExtents, c.checkStreams, c.checkIDs} {
		if err := check(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) problem(place, format string, args ...any) {
	c.report.Found++
	if len(c.report.Problems) < MaxProblems {
		c.report.Problems = append(c.report.Problems, Problem{place, fmt.Sprintf(format, args...)})
	}
}

// each calls do for each pair between two keys. A failure of the store is a
// problem of the place.
func (c *checker) each(ctx context.Context, place string, lower, upper []byte, do func(key, value []byte)) error {
	it, err := c.store.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	defer it.Close()
	for it.First(); it.Valid(); it.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		value, err := it.ValueAndErr()
		if err != nil {
			c.problem(place, "key %x cannot be read: %v", it.Key(), err)
			continue
		}
		do(it.Key(), value)
	}
	if err := it.Error(); err != nil {
		c.problem(place, "what follows cannot be read: %v", err)
	}
	return nil
}

// checkFiles checks the blocks and what the index says of them.
func (c *checker) checkFiles(ctx context.Context, end blockEnd) error {
	c.next, c.last = make([]uint64, len(c.tails)), make([]int64, len(c.tails))
	for i, t := range c.tails {
		c.next[i] = t.Oldest
		for _, p := range t.parents {
			c.last[i] = max(c.last[i], p.floor())
		}
	}
	for i, b := range c.files.list() {
		to := end.at
		if b.number < end.file {
			to = c.files.list()[i+1].before
		}
		if err := c.checkFile(ctx, b, to); err != nil {
			return err
		}
	}
	for i, t := range c.tails {
		if c.next[i] <= t.Head {
			c.problem(c.place(t, c.next[i]), "the events from here to the head %d are missing", t.Head)
		}
	}
	return nil
}

func (c *checker) checkFile(ctx context.Context, b *blockFile, to int64) error {
	h, err := c.files.use(b.number)
	if err != nil {
		return err
	}
	defer func() { _ = h.release() }()
	r := newGroupReader(h, b, blockEnd{b.number, b.start(), b.first}, to)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := r.read()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errDamaged): // its blocks tell more
		case err != nil:
			c.problem(fmt.Sprintf("file of blocks %d, at %d", b.number, r.at), "what follows cannot be read: %v", err)
			return nil
		}
		known := c.report.Found
		itemErr := r.each(func(x extent, data []byte) error {
			c.checkBlock(x, data)
			return nil
		}, func(uint32, []byte) error { return nil })
		if err = cmp.Or(itemErr, err); err != nil && c.report.Found == known {
			c.problem(fmt.Sprintf("file of blocks %d, group %d at %d", b.number, r.number, r.at), "%v", err)
		}
		if c.progress != nil {
			c.progress(c.done, c.total)
		}
	}
}

// checkBlock checks a block and what the index says of it.
func (c *checker) checkBlock(x extent, data []byte) {
	id := blockIDOf(data)
	if int(id.shard) >= len(c.tails) {
		c.problem(fmt.Sprintf("file of blocks %d, at %d", x.file, x.at), "a block is damaged: it says that it is of shard %d", id.shard)
		return
	}
	t, next := c.tails[id.shard], c.next[id.shard]
	if id.last < t.Oldest && id.last <= c.covered[id.shard] {
		return // trimmed, and not yet removed
	}
	b, err := parseBlock(id, data)
	if err != nil {
		c.problem(c.place(t, next), "%v", err)
		if id.last >= next && id.last <= t.Head {
			c.next[id.shard] = id.last + 1
		}
		return
	}
	if id.last < t.Oldest { // it stays until its IDs are indexed
		c.checkIndex(t, b)
		return
	}
	if b.first > next || b.first < next && next > t.Oldest {
		c.problem(c.place(t, next), "the next block begins with sequence %d", b.first)
	}
	if b.record(0).at <= c.last[id.shard] {
		c.problem(c.place(t, b.first), "is not later than what is before it")
	}
	c.last[id.shard], c.next[id.shard] = b.record(b.len()-1).at, b.last+1
	if b.last <= c.covered[id.shard] {
		c.checkExtent(t, b, x)
	}
	c.checkIndex(t, b)
	c.report.Blocks++
}

// checkExtent checks that the index says where a block is.
func (c *checker) checkExtent(t *tail, b *block, want extent) {
	c.indexed++
	value, err := c.store.value(blockKey(b.shard, b.last))
	var x extent
	if err == nil {
		x, err = parseExtent(value)
	}
	if err == nil && x != want {
		err = fmt.Errorf("it says that it is at %d of the file %d", x.at, x.file)
	}
	if err != nil {
		c.problem(c.place(t, b.first), "place of its block in the index: %v", err)
	}
}

// checkExtents checks that the index has no blocks that are not there.
func (c *checker) checkExtents(ctx context.Context) error {
	var n uint64
	err := c.each(ctx, "block index", []byte{blockPrefix}, []byte{blockPrefix + 1}, func(key, _ []byte) {
		id, err := parseBlockKey(key)
		if err == nil && int(id.shard) >= len(c.tails) {
			err = fmt.Errorf("there is no shard %d", id.shard)
		}
		if err != nil {
			c.problem("block index", "%v", err)
			return
		}
		if id.last >= c.tails[id.shard].Oldest {
			n++
		}
	})
	if err == nil && n != c.indexed {
		c.problem("block index", "has %d blocks, there are %d", n, c.indexed)
	}
	return err
}

func (c *checker) place(t *tail, seq uint64) string { return fmt.Sprintf("%s, sequence %d", t.ID, seq) }

// checkIndex checks what the index says of the events of a block.
func (c *checker) checkIndex(t *tail, b *block) {
	events := b.entries()
	indexed := b.last <= c.covered[t.number]
	start := 0
	for i := range events {
		e := &events[i]
		if e.stream != events[start].stream {
			start = i
		}
		if !indexed {
			if err := c.checkLate(t, e); err != nil {
				c.problem(c.place(t, e.seq), "%v", err)
			}
		}
		if e.seq < t.Oldest {
			continue
		}
		c.done++
		c.report.Events++
		if !indexed {
			continue
		}
		c.report.Indexed++
		k, err := readKnown(c.store, appendIDKey(nil, e.stream, &e.eventID))
		switch {
		case err != nil:
			c.problem(c.place(t, e.seq), "ID %q of stream %q in the index: %v", e.id, e.stream, err)
		case k != e.known:
			c.problem(c.place(t, e.seq), "ID %q of stream %q is sequence %d of %s in the index, or of other content",
				e.id, e.stream, k.seq, leat.ShardNumber(int(k.shard)))
		}
		if i+1 == len(events) || events[i+1].stream != e.stream {
			c.checkRun(t, e, run{version: e.version, shard: e.shard, seq: e.seq, n: uint64(i + 1 - start), block: b.last})
		}
	}
}

// checkLate checks that an event that is not indexed yet continues its stream,
// and notes it.
func (c *checker) checkLate(t *tail, e *entry) error {
	stream := newTarget(e.stream)
	if err := c.late.resolve(&stream); err != nil {
		return err
	}
	_, reused, err := c.late.lookUp(&stream, e)
	switch {
	case err != nil:
		return err
	case reused:
		return fmt.Errorf("event ID %q of stream %q is recorded twice", e.id, e.stream)
	case e.version != stream.version+1 && (stream.version > 0 || !t.startsTrimmed()):
		return fmt.Errorf("version %d of stream %q follows version %d", e.version, e.stream, stream.version)
	}
	if stream.version == 0 {
		c.report.Streams++
	}
	c.report.IDs++
	c.late.note(&stream, e, e.version)
	return nil
}

// checkRun checks that the index has the run that ends with e.
func (c *checker) checkRun(t *tail, e *entry, want run) {
	r, err := c.findRun(e.stream, e.version)
	if r.block == 0 { // version 1 of the format did not say
		r.block = want.block
	}
	if err == nil && r != want {
		err = fmt.Errorf("it says %d events up to sequence %d of %s", r.n, r.seq, leat.ShardNumber(int(r.shard)))
	}
	if err != nil {
		c.problem(c.place(t, e.seq), "version %d of stream %q in the index: %v", e.version, e.stream, err)
	}
}

// findRun returns the run that the index has of a version, or the one after it.
func (c *checker) findRun(stream string, version uint64) (run, error) {
	cursor := runCursor{
		stream: stream,
		head: func() ([]run, error) {
			h, err := c.late.storedHead(stream)
			return h.runs, err
		},
		open: func() (*pebble.Iterator, error) {
			lower, upper := runBounds(stream)
			return c.store.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
		},
	}
	defer cursor.close()
	cursor.seek(version)
	r, ok, err := cursor.run()
	if err == nil && !ok {
		err = errors.New("there is no run")
	}
	return r, err
}

// checkStreams checks that the versions of each stream have no hole and end with
// its head, and that the index has no events that the blocks have not.
func (c *checker) checkStreams(ctx context.Context) error {
	it, err := c.store.NewIter(&pebble.IterOptions{LowerBound: []byte{runPrefix}, UpperBound: []byte{runPrefix + 1}})
	if err != nil {
		return err
	}
	defer it.Close()
	var events, chunks, all uint64
	var runs []run
	err = c.each(ctx, "stream heads", []byte{headPrefix}, []byte{headPrefix + 1}, func(key, value []byte) {
		c.report.Streams++
		stream := string(key[1:])
		h, err := parseHead(value)
		if err != nil {
			c.problem(fmt.Sprintf("stream %q", stream), "%v", err)
			return
		}
		runs = runs[:0]
		lower, upper := runBounds(stream)
		for it.SeekGE(lower); it.Valid() && bytes.Compare(it.Key(), upper) < 0; it.Next() {
			chunks++
			value, err := it.ValueAndErr()
			if err == nil {
				runs, err = parseChunk(runs, it.Key(), value)
			}
			if err != nil {
				c.problem(fmt.Sprintf("stream %q", stream), "%v", err)
			}
		}
		events += c.checkStream(stream, h.version, append(runs, h.runs...))
	})
	if err != nil {
		return err
	}
	err = c.each(ctx, "stream index", []byte{runPrefix}, []byte{runPrefix + 1}, func([]byte, []byte) { all++ })
	if err == nil && all != chunks {
		c.problem("stream index", "has %d chunks of streams that have no head", all-chunks)
	}
	if err == nil && events != c.report.Indexed {
		c.problem("stream index", "has %d events, the blocks have %d", events, c.report.Indexed)
	}
	return err
}

// checkStream checks the runs of a stream, and returns how many events they have
// that are kept.
func (c *checker) checkStream(stream string, head uint64, runs []run) (events uint64) {
	var version uint64
	for _, r := range runs {
		place := fmt.Sprintf("stream %q, version %d", stream, r.version)
		if int(r.shard) >= len(c.tails) || r.seq > c.covered[r.shard] {
			c.problem(place, "the index says sequence %d of %s, which does not exist or is not indexed yet", r.seq, leat.ShardNumber(int(r.shard)))
			continue
		}
		oldest := c.tails[r.shard].Oldest
		if r.seq < oldest {
			continue // trimmed, and not yet removed
		}
		if version > 0 && r.firstVersion() != version+1 {
			c.problem(place, "the event before it has version %d", version)
		}
		version = r.version
		events += min(r.n, r.seq+1-oldest)
	}
	if version > 0 && version != head {
		c.problem(fmt.Sprintf("stream %q", stream), "the head is %d, the last event has version %d", head, version)
	}
	return events
}

// checkIDs checks that the IDs are of events that exist or existed.
func (c *checker) checkIDs(ctx context.Context) error {
	for _, prefix := range []byte{idPrefix, uuidPrefix} {
		err := c.each(ctx, "ID index", []byte{prefix}, []byte{prefix + 1}, func(key, value []byte) {
			c.report.IDs++
			_, _, err := parseIDKey(key)
			k, valueErr := parseKnown(value)
			if err = cmp.Or(err, valueErr); err == nil && (int(k.shard) >= len(c.tails) || k.seq > c.covered[k.shard]) {
				err = fmt.Errorf("sequence %d of %s does not exist, or is not indexed yet", k.seq, leat.ShardNumber(int(k.shard)))
			}
			if err != nil {
				c.problem(fmt.Sprintf("ID index, key %q", key[1:]), "%v", err)
			}
		})
		if err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(c.tails, (*tail).startsTrimmed) && c.report.IDs != c.report.Events {
		c.problem("ID index", "has %d IDs, there are %d events", c.report.IDs, c.report.Events)
	}
	return nil
}

package engine

import (
	"context"
	"errors"
	"fmt"

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
// elsewhere. The error is not nil when there is no log to check or ctx ended.
func Check(ctx context.Context, dir string, o Options, progress func(done, total uint64)) (Report, error) {
	o = o.withDefaults()
	found, err := exists(o.FS, dir)
	if err != nil {
		return Report{}, fmt.Errorf("check log: %w", err)
	}
	if !found {
		return Report{}, fmt.Errorf("check log in %s: %w: the directory holds no log", dir, leat.ErrNotFound)
	}
	s, err := openStore(dir, o, newFuse(o.Logger), readStore)
	if err != nil {
		return Report{}, err
	}
	c := &checker{store: s, progress: progress}
	if err := c.run(ctx); err != nil {
		return c.report, errors.Join(fmt.Errorf("check log in %s: %w", dir, err), s.close())
	}
	return c.report, s.close()
}

// A checker works on one Report.
type checker struct {
	store    *store
	progress func(done, total uint64)
	report   Report

	tails []*tail
	total uint64 // events kept
	done  uint64 // events checked
}

func (c *checker) run(ctx context.Context) (err error) {
	if c.report.Info, err = c.store.readInfo(); err != nil {
		return err
	}
	if c.tails, err = c.store.readShards(); err != nil {
		return err
	}
	for _, t := range c.tails {
		if err := c.store.findEnd(t); err != nil {
			c.problem(string(t.ID)+", last block", "%v", err)
		}
		c.total += t.Head + 1 - t.Oldest
		c.report.Shards = append(c.report.Shards, cloneShard(t.Shard))
	}
	for _, t := range c.tails {
		if err := c.checkShard(ctx, t); err != nil {
			return err
		}
	}
	for _, check := range []func(context.Context) error{c.checkRuns, c.checkHeads, c.checkIDs} {
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

// checkShard checks the blocks of a shard and what the index says of them.
func (c *checker) checkShard(ctx context.Context, t *tail) error {
	next := t.Oldest // sequence
	var at int64
	for _, p := range t.parents {
		at = max(at, p.floor())
	}
	err := c.each(ctx, string(t.ID), blockKey(t.number, 0), blockKey(t.number+1, 0), func(key, value []byte) {
		_, last, err := parseBlockKey(key)
		if err != nil || last < t.Oldest {
			return // trimmed, and not yet removed
		}
		events, err := c.openEntries(key, value)
		if err != nil {
			c.problem(c.place(t, next), "%v", err)
			next = last + 1
			return
		}
		if first := events[0].seq; first > next || first < next && next > t.Oldest {
			c.problem(c.place(t, next), "the next block begins with sequence %d", first)
		}
		if events[0].at <= at {
			c.problem(c.place(t, events[0].seq), "is not later than what is before it")
		}
		at, next = events[len(events)-1].at, last+1
		c.checkIndex(t, events)
		c.report.Blocks++
		if c.progress != nil {
			c.progress(c.done, c.total)
		}
	})
	if next <= t.Head {
		c.problem(c.place(t, next), "the events from here to the head %d are missing", t.Head)
	}
	return err
}

func (c *checker) place(t *tail, seq uint64) string { return fmt.Sprintf("%s, sequence %d", t.ID, seq) }

// openEntries decodes a block whole.
func (c *checker) openEntries(key, value []byte) ([]entry, error) {
	b, err := openBlock(key, value)
	if err != nil {
		return nil, err
	}
	var events []entry
	for b.more() {
		r, err := b.next()
		if err != nil {
			return nil, err
		}
		e, err := r.event("")
		if err != nil {
			return nil, b.corrupt(fmt.Sprintf("event %d: %v", r.seq, err))
		}
		n := entry{stream: e.Stream, id: e.ID}
		n.known = known{r.shard, r.seq, r.version, r.at, r.time, leat.Digest(&e.Event)}
		events = append(events, n)
	}
	return events, nil
}

// checkIndex checks what the index says of the events of a block.
func (c *checker) checkIndex(t *tail, events []entry) {
	for i := range events {
		e := &events[i]
		if e.seq < t.Oldest {
			continue
		}
		c.done++
		c.report.Events++
		k, err := readKnown(c.store, appendIDKey(nil, e.stream, e.id))
		switch {
		case err != nil:
			c.problem(c.place(t, e.seq), "ID %q of stream %q in the index: %v", e.id, e.stream, err)
		case k != e.known:
			c.problem(c.place(t, e.seq), "ID %q of stream %q is sequence %d of %s in the index, or of other content",
				e.id, e.stream, k.seq, leat.ShardNumber(int(k.shard)))
		}
		if i+1 < len(events) && events[i+1].stream == e.stream {
			continue
		}
		n := uint64(1)
		for j := i - 1; j >= 0 && events[j].stream == e.stream; j-- {
			n++
		}
		c.checkRun(t, e, n)
	}
}

// checkRun checks that the index has the run of n events that ends with e.
func (c *checker) checkRun(t *tail, e *entry, n uint64) {
	key := appendRunKey(nil, e.stream, e.version)
	value, err := c.store.value(key)
	if err != nil {
		c.problem(c.place(t, e.seq), "version %d of stream %q in the index: %v", e.version, e.stream, err)
		return
	}
	r, err := parseRun(key, value)
	if err == nil && r != (run{version: e.version, shard: e.shard, seq: e.seq, n: n}) {
		err = fmt.Errorf("it says %d events up to sequence %d of %s", r.n, r.seq, leat.ShardNumber(int(r.shard)))
	}
	if err != nil {
		c.problem(c.place(t, e.seq), "version %d of stream %q in the index: %v", e.version, e.stream, err)
	}
}

// checkRuns checks that the versions of each stream have no hole and end with
// its head, and that the index has no events that the blocks have not.
func (c *checker) checkRuns(ctx context.Context) error {
	var stream string
	var version, events uint64
	end := func() {
		if version == 0 {
			return
		}
		head, err := readHead(c.store, appendHeadKey(nil, stream))
		if err == nil && head != version {
			err = fmt.Errorf("the head is %d, the last event has version %d", head, version)
		}
		if err != nil {
			c.problem(fmt.Sprintf("stream %q", stream), "%v", err)
		}
	}
	err := c.each(ctx, "stream index", []byte{runPrefix}, []byte{runPrefix + 1}, func(key, value []byte) {
		r, err := parseRun(key, value)
		if err != nil {
			c.problem("stream index", "%v", err)
			return
		}
		name, _, _ := parseRunKey(key) // parseRun parsed it
		place := fmt.Sprintf("stream %q, version %d", name, r.version)
		if int(r.shard) >= len(c.tails) || r.seq > c.tails[r.shard].Head {
			c.problem(place, "the index says sequence %d of %s, which does not exist", r.seq, leat.ShardNumber(int(r.shard)))
			return
		}
		oldest := c.tails[r.shard].Oldest
		if r.seq < oldest {
			return // trimmed, and not yet removed
		}
		if string(name) != stream {
			end()
			stream, version = string(name), r.firstVersion()-1
		}
		if r.firstVersion() != version+1 {
			c.problem(place, "the event before it has version %d", version)
		}
		version = r.version
		events += min(r.n, r.seq+1-oldest)
	})
	end()
	if err == nil && events != c.report.Events {
		c.problem("stream index", "has %d events, the blocks have %d", events, c.report.Events)
	}
	return err
}

func (c *checker) checkHeads(ctx context.Context) error {
	return c.each(ctx, "stream heads", []byte{headPrefix}, []byte{headPrefix + 1}, func(key, _ []byte) {
		c.report.Streams++
		if _, err := readHead(c.store, key); err != nil {
			c.problem(fmt.Sprintf("stream %q", key[1:]), "%v", err)
		}
	})
}

// checkIDs checks that the IDs are of events that exist or existed.
func (c *checker) checkIDs(ctx context.Context) error {
	err := c.each(ctx, "ID index", []byte{idPrefix}, []byte{idPrefix + 1}, func(key, value []byte) {
		c.report.IDs++
		k, err := parseKnown(value)
		if err == nil && (int(k.shard) >= len(c.tails) || k.seq > c.tails[k.shard].Head) {
			err = fmt.Errorf("sequence %d of %s does not exist", k.seq, leat.ShardNumber(int(k.shard)))
		}
		if err != nil {
			c.problem(fmt.Sprintf("ID index, key %q", key[1:]), "%v", err)
		}
	})
	trimmed := false
	for _, t := range c.tails {
		trimmed = trimmed || t.Oldest > 1
	}
	if err == nil && !trimmed && c.report.IDs != c.report.Events {
		c.problem("ID index", "has %d IDs, there are %d events", c.report.IDs, c.report.Events)
	}
	return err
}

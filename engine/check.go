package engine

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
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
// elsewhere. The error is not nil when there is no log to check or ctx ended.
func Check(ctx context.Context, dir string, o Options, progress func(done, total uint64)) (Report, error) {
	o = o.withDefaults()
	s, err := openExisting(dir, o, newFuse(o.Logger), readStore)
	if err != nil {
		return Report{}, fmt.Errorf("check log: %w", err)
	}
	c := &checker{store: s, progress: progress, late: newIndex(s.DB, 0, 0)}
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

	tails   []*tail
	covered []uint64 // by shard: see memory.covered
	late    *index   // of the events that the store has not indexed
	total   uint64   // events kept
	done    uint64   // events checked
}

func (c *checker) run(ctx context.Context) (err error) {
	if c.report.Info, err = c.store.readInfo(); err != nil {
		return err
	}
	if c.tails, err = c.store.readShards(); err != nil {
		return err
	}
	if c.covered, err = c.store.readCovered(len(c.tails)); err != nil {
		return err
	}
	if err := c.late.recover(c.store, c.covered); err != nil {
		c.problem("ID index", "%v", err)
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
		if err != nil || last < t.Oldest && last <= c.covered[t.number] {
			return // trimmed, and not yet removed
		}
		b, err := parseBlock(key, bytes.Clone(value))
		if err != nil {
			c.problem(c.place(t, next), "%v", err)
			next = last + 1
			return
		}
		if last < t.Oldest { // it stays until its IDs are indexed
			c.checkIndex(t, b)
			return
		}
		if b.first > next || b.first < next && next > t.Oldest {
			c.problem(c.place(t, next), "the next block begins with sequence %d", b.first)
		}
		if b.record(0).at <= at {
			c.problem(c.place(t, b.first), "is not later than what is before it")
		}
		at, next = b.record(b.len()-1).at, last+1
		c.checkIndex(t, b)
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
	key := appendRunKey(nil, e.stream, e.version)
	value, err := c.store.value(key)
	if err != nil {
		c.problem(c.place(t, e.seq), "version %d of stream %q in the index: %v", e.version, e.stream, err)
		return
	}
	r, err := parseRun(key, value)
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
		if int(r.shard) >= len(c.tails) || r.seq > c.covered[r.shard] {
			c.problem(place, "the index says sequence %d of %s, which does not exist or is not indexed yet", r.seq, leat.ShardNumber(int(r.shard)))
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
	if err == nil && events != c.report.Indexed {
		c.problem("stream index", "has %d events, the blocks have %d", events, c.report.Indexed)
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

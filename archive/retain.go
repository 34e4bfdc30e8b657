package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/leathq/leat"
)

// RetainOptions say what Retain leaves in a log. At least one of Age and Bytes
// is needed; with both, what either does not keep goes.
type RetainOptions struct {
	// Age is how long an event stays after it was committed.
	Age time.Duration

	// Bytes is how many bytes of events (leat.Event.Size) stay, the newest of all
	// shards. What is not archived yet is counted by estimate.
	Bytes int64

	// Keys are the public keys of which one has signed the archive; without any
	// it is those that the archive names. See Open.
	Keys []string

	// DryRun finds out what would go, without reading segments.
	DryRun bool

	// Progress is called with the number of events verified so far; nil is not
	// called.
	Progress func(events uint64)
}

// Retained says what Retain has left of a shard, or would leave.
type Retained struct {
	Shard    leat.ShardID
	From     uint64 // first sequence kept before
	Oldest   uint64 // first sequence kept now
	Head     uint64
	Archived uint64 // last sequence that is archived

	Segments     int   // that cover what went
	RemovedBytes int64 // of events, as far as whole segments went
	KeptBytes    int64 // of events, those not archived by estimate
}

// trimEvery is how many bytes of segments are verified before what they hold is
// trimmed: who is interrupted goes on there, and space is given back soon.
const trimEvery = 1 << 30

// Retain removes the oldest events of a log, which has to be a [leat.Trimmer],
// by whole segments of its archive, and returns what is left of each shard.
//
// Before an event is removed, the manifest and the segment that hold it have
// been read from the store, found to be what was signed and what Restore takes,
// and compared with the log, event by event. So nothing goes that is not archived; what is damaged or
// lost in the store stays in the log, and so does everything newer: the error
// names the object, [leat.ErrCorrupt]. A store that was not archived to from this
// log, as it is now, is [leat.ErrDiverged], one without an archive of it
// [leat.ErrNotFound]. If the store is a [Cache], what it reads through is read.
//
// Removal goes by the moment of commit, oldest first, over all shards. An Append
// is never divided, and a shard is trimmed only when nothing is kept of those it
// continues. The log records each removal. Interrupted at any moment, Retain goes
// on where it was when it is called again, without verifying anything twice but
// the last gigabyte.
func Retain(ctx context.Context, log leat.Log, store Store, o RetainOptions) ([]Retained, error) {
	if o.Age < 0 || o.Bytes < 0 || o.Age == 0 && o.Bytes == 0 {
		return nil, &leat.InvalidError{Field: "retention", Limit: "an age, a number of bytes or both, above 0", Got: fmt.Sprintf("%s, %d bytes", o.Age, o.Bytes)}
	}
	if c, ok := store.(*Cache); ok {
		store = c.Store
	}
	r, err := newRetention(ctx, log, store, o)
	if err != nil {
		return nil, fmt.Errorf("retain: %w", err)
	}
	err = r.run(ctx)
	if ctx.Err() == nil { // what is verified goes, whatever came after
		err = errors.Join(err, r.trim(ctx))
	}
	if err != nil {
		err = fmt.Errorf("retain log %s: %w", r.archive.desc.Log, err)
	}
	return r.result(), err
}

// A retention is one run of Retain.
type retention struct {
	log     leat.Log
	trimmer leat.Trimmer
	archive *Archive // opened for this run: it knows nothing that it has not just read
	options RetainOptions

	before   time.Time // what was committed before goes
	kept     int64     // bytes of events in the log
	shards   []*shardCut
	verified int64  // bytes of segments since the last trim
	events   uint64 // verified
}

// A shardCut is where a retention cuts a shard.
type shardCut struct {
	shard   leat.Shard
	tail    link   // of its chain
	next    link   // adds the oldest segment that may go; zero when there is none
	keep    uint64 // all below is verified
	trimmed uint64 // all below is gone
	report  Retained
}

func newRetention(ctx context.Context, log leat.Log, store Store, o RetainOptions) (*retention, error) {
	trimmer, ok := log.(leat.Trimmer)
	if !ok {
		return nil, fmt.Errorf("%w: this log cannot be trimmed", leat.ErrUnsupported)
	}
	info, err := log.Info(ctx)
	if err != nil {
		return nil, err
	}
	archive, err := Open(ctx, store, info.ID, o.Keys...)
	if err != nil {
		return nil, err
	}
	r := &retention{log: log, trimmer: trimmer, archive: archive, options: o}
	if o.Age > 0 {
		r.before = time.Now().Add(-o.Age)
	}
	tails, err := archive.tails(ctx)
	if err != nil {
		return nil, err
	}
	// After the tails: what is archived meanwhile is in the log already.
	shards, err := log.Shards(ctx)
	if err != nil {
		return nil, err
	}
	if err := compare(ctx, log, info, shards, tails); err != nil {
		return nil, fmt.Errorf("compare log %s with its archive: %w", info.ID, err)
	}
	for _, s := range shards {
		if err := r.add(ctx, s, tails[s.ID]); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// add takes up a shard.
func (r *retention) add(ctx context.Context, shard leat.Shard, tail link) error {
	// A log that reads through to its archive says that it has everything. What
	// it keeps itself, the trim of nothing tells.
	oldest, err := r.trimmer.Trim(ctx, shard.ID, 1)
	if err != nil {
		return err
	}
	archived := tail.Total
	s := &shardCut{shard: shard, tail: tail, keep: oldest, trimmed: oldest}
	s.report = Retained{Shard: shard.ID, From: oldest, Head: shard.Head, Archived: archived.Events}
	if oldest <= archived.Events {
		if s.next, err = r.archive.find(ctx, shard.ID, oldest, tail); err != nil {
			return err
		}
		s.report.KeptBytes = archived.EventBytes - s.next.Total.EventBytes + s.next.Segment.EventBytes
	}
	if first := max(archived.Events+1, oldest); archived.Events > 0 && shard.Head >= first {
		s.report.KeptBytes += int64(float64(shard.Head+1-first) / float64(archived.Events) * float64(archived.EventBytes))
	}
	r.kept += s.report.KeptBytes
	r.shards = append(r.shards, s)
	return nil
}

// run verifies what is to go, the oldest first, and trims it from time to time.
func (r *retention) run(ctx context.Context) error {
	for s := r.oldest(); s != nil && r.goes(s.next.Segment); s = r.oldest() {
		if err := r.verify(ctx, s); err != nil {
			return err
		}
		gone := s.next.Segment
		s.keep = gone.Last + 1
		s.report.Segments++
		s.report.RemovedBytes += gone.EventBytes
		s.report.KeptBytes -= gone.EventBytes
		r.kept -= gone.EventBytes
		if r.verified += gone.Size; r.verified >= trimEvery {
			if err := r.trim(ctx); err != nil {
				return err
			}
		}
		if err := r.advance(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// goes reports whether a segment, the oldest of all, is not to be kept.
func (r *retention) goes(s *segment) bool {
	return s.MaxAt.Before(r.before) || r.options.Bytes > 0 && r.kept > r.options.Bytes
}

// oldest returns the shard whose next segment ends before that of all others,
// nil when there is none.
func (r *retention) oldest() (oldest *shardCut) {
	for _, s := range r.shards {
		if s.next.Segment == nil || slices.ContainsFunc(s.shard.Parents, r.keeps) {
			continue
		}
		if oldest == nil || s.next.Segment.MaxAt.Before(oldest.next.Segment.MaxAt) {
			oldest = s
		}
	}
	return oldest
}

// keeps reports whether a shard keeps events, or may come to.
func (r *retention) keeps(id leat.ShardID) bool {
	return slices.ContainsFunc(r.shards, func(s *shardCut) bool {
		return s.shard.ID == id && (!s.shard.Closed || s.keep <= s.shard.Head)
	})
}

// advance goes to the next segment of a shard.
func (r *retention) advance(ctx context.Context, s *shardCut) (err error) {
	for s.next.Number < s.tail.Number {
		if s.next, err = r.archive.follow(ctx, s.shard.ID, s.next); err != nil || s.next.Segment != nil {
			return err
		}
	}
	s.next = link{}
	return nil
}

// verify reads the next segment of a shard and compares its events with those of
// the log.
func (r *retention) verify(ctx context.Context, s *shardCut) error {
	if r.options.DryRun {
		return ctx.Err()
	}
	desc := *s.next.Segment
	tree, err := r.archive.edgeBefore(ctx, s.next)
	if err != nil {
		return err
	}
	tree = tree.clone()
	reader, err := r.archive.segment(ctx, s.shard.ID, desc)
	if err != nil {
		return err
	}
	defer reader.close()
	c := comparison{log: r.log, shard: s.shard.ID, oldest: s.trimmed, head: s.shard.Head}
	for e := (leat.Recorded{}); reader.next <= desc.Last; {
		leaf, err := reader.borrow(&e)
		if err == nil {
			err = c.event(ctx, &e, leaf)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		tree.add(leaf)
	}
	if c.differs != "" {
		return corrupt(r.archive.object(desc.Object), "%s", c.differs)
	}
	if encodeHash(tree.root()) != s.next.Tree.Root { // a restore would refuse it
		return corrupt(r.archive.object(manifestName(s.shard.ID, s.next.Number)), "has a tree that its events do not make")
	}
	r.events += desc.Events
	if r.options.Progress != nil {
		r.options.Progress(r.events)
	}
	return nil
}

// trim removes what is verified, parents before children.
func (r *retention) trim(ctx context.Context) error {
	r.verified = 0
	if r.options.DryRun {
		return nil
	}
	for _, s := range r.shards {
		if s.keep == s.trimmed {
			continue
		}
		oldest, err := r.trimmer.Trim(ctx, s.shard.ID, s.keep)
		if err != nil {
			return fmt.Errorf("trim %s below %d: %w", s.shard.ID, s.keep, err)
		}
		s.trimmed, s.keep = oldest, oldest
	}
	return nil
}

// result returns what is left of each shard.
func (r *retention) result() []Retained {
	var all []Retained
	for _, s := range r.shards {
		if s.report.Oldest = s.trimmed; r.options.DryRun {
			s.report.Oldest = s.keep
		}
		all = append(all, s.report)
	}
	return all
}

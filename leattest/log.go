package leattest

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/leathq/leat"
)

// Log is a [leat.Log] in memory. It is a [leat.Trimmer], [leat.Splitter],
// [leat.Importer] and [leat.Limiter]. It is safe for concurrent use.
type Log struct {
	clock func() time.Time

	mu      sync.Mutex
	closed  bool
	changed chan struct{} // closed and replaced when waiting readers should look again
	info    leat.Info
	shards  []*shard
	streams map[string]*stream
}

// A shard holds its kept events, in order: those from Oldest to Head.
type shard struct {
	leat.Shard
	events []leat.Recorded
	lastAt time.Time // of the last event ever, trimmed or not
}

// A stream is what trimming never forgets: the place of every version above
// base, in order. Versions up to base lie before the beginning of an imported
// log.
type stream struct {
	base   uint64
	places []place
	byID   map[string]int // index into places
}

// A place is where an event is, and what tells it from another with its ID.
type place struct {
	shard        leat.ShardID
	seq, version uint64
	at, time     time.Time
	digest       [16]byte
}

// New returns an empty log. Its clock is time.Now when nil.
func New(c leat.Config, clock func() time.Time) (*Log, error) {
	if clock == nil {
		clock = time.Now
	}
	info, shards, err := c.New(clock())
	if err != nil {
		return nil, err
	}
	l := &Log{clock: clock, changed: make(chan struct{}), info: info, streams: make(map[string]*stream)}
	for _, s := range shards {
		l.shards = append(l.shards, &shard{Shard: s})
	}
	return l, nil
}

// Close ends the log: everything it is asked from now on, and what waits in
// ReadShard, gets [leat.ErrClosed]. Its events are gone.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.wake()
	return nil
}

// Limits implements leat.Limiter.
func (l *Log) Limits() leat.Limits { return leat.MinLimits }

// Info implements leat.Log.
func (l *Log) Info(ctx context.Context) (leat.Info, error) {
	defer l.mu.Unlock()
	if err := l.lock(ctx); err != nil {
		return leat.Info{}, err
	}
	info := l.info
	info.Ended = cloneEpochs(info.Ended)
	return info, nil
}

// Shards implements leat.Log.
func (l *Log) Shards(ctx context.Context) ([]leat.Shard, error) {
	defer l.mu.Unlock()
	if err := l.lock(ctx); err != nil {
		return nil, err
	}
	shards := make([]leat.Shard, len(l.shards))
	for i, s := range l.shards {
		shards[i] = cloneShard(s.Shard)
	}
	return shards, nil
}

// Append implements leat.Log.
func (l *Log) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	key, err := leat.PrepareAppend(events, conds, l.Limits(), l.info.Single)
	if err != nil {
		return leat.Receipt{}, err
	}
	defer l.mu.Unlock()
	if err := l.lock(ctx); err != nil {
		return leat.Receipt{}, err
	}
	known, err := l.lookUp(events)
	if err != nil {
		return leat.Receipt{}, err
	}
	if len(known) > 0 {
		return receipt(known, true), nil
	}
	for _, c := range conds {
		if err := c.Check(l.stream(c.Stream).version()); err != nil {
			return leat.Receipt{}, err
		}
	}
	return receipt(l.record(l.openShard(key), events), false), nil
}

// lookUp returns the places of events that are all recorded already, nothing
// when none is, and an error when some are or an ID stands for something else.
func (l *Log) lookUp(events []leat.Event) ([]place, error) {
	type name struct{ stream, id string }
	given := make(map[name]bool)
	var places []place
	var known []int
	for i := range events {
		e := &events[i]
		reused := func(reason string) ([]place, error) {
			return nil, &leat.IDReusedError{Index: i, Stream: e.Stream, ID: e.ID, Reason: reason}
		}
		if given[name{e.Stream, e.ID}] {
			return reused("given twice in one append")
		}
		given[name{e.Stream, e.ID}] = true
		p, ok := l.stream(e.Stream).find(e.ID)
		switch {
		case !ok:
			continue
		case p.digest != leat.Digest(e):
			return reused("recorded with other content")
		case !e.Time.IsZero() && !e.Time.Equal(p.time):
			return reused("recorded with time " + p.time.Format(time.RFC3339Nano))
		case len(known) > 0 && !p.at.After(places[len(places)-1].at):
			// All streams of an Append lie on one line of shards, where At increases.
			return reused(fmt.Sprintf("recorded before events[%d]", known[len(known)-1]))
		}
		places, known = append(places, p), append(known, i)
	}
	if len(known) > 0 && len(known) < len(events) {
		return nil, &leat.PartialError{Known: known, Total: len(events)}
	}
	return places, nil
}

// record adds the events of one Append to a shard.
func (l *Log) record(s *shard, events []leat.Event) []place {
	now, commit := utc(l.clock()), s.Head+1
	var places []place
	for _, e := range events {
		at := l.lastAt(s).Add(1)
		if now.After(at) {
			at = now
		}
		if e.Time.IsZero() {
			e.Time = at
		}
		if e.ContentType == "" {
			e.ContentType = leat.DefaultContentType
		}
		places = append(places, l.add(s, leat.Recorded{
			Event: e, Shard: s.ID, Seq: s.Head + 1, Commit: commit, Version: l.stream(e.Stream).version() + 1, At: at,
		}))
	}
	l.wake()
	return places
}

// add puts an event, as it is, at the end of a shard and of its stream.
func (l *Log) add(s *shard, r leat.Recorded) place {
	r = clone(r)
	r.Time, r.At = utc(r.Time), utc(r.At)
	s.events = append(s.events, r)
	s.Head, s.lastAt = r.Seq, r.At

	st := l.streams[r.Stream]
	if st == nil {
		st = &stream{base: r.Version - 1, byID: make(map[string]int)}
		l.streams[r.Stream] = st
	}
	p := place{r.Shard, r.Seq, r.Version, r.At, r.Time, leat.Digest(&r.Event)}
	st.byID[r.ID] = len(st.places)
	st.places = append(st.places, p)
	return p
}

// receipt tells where events are. Its First and Last are in the shard of the
// last of them.
func receipt(places []place, duplicate bool) leat.Receipt {
	last := places[len(places)-1]
	r := leat.Receipt{Shard: last.shard, Last: last.seq, At: last.at, Duplicate: duplicate}
	for _, p := range places {
		r.Versions = append(r.Versions, p.version)
		if r.First == 0 && p.shard == last.shard {
			r.First = p.seq
		}
	}
	return r
}

// ReadStream implements leat.Log.
func (l *Log) ReadStream(ctx context.Context, name string, r leat.Range) iter.Seq2[leat.Recorded, error] {
	return func(yield func(leat.Recorded, error) bool) {
		events, err := l.readStream(ctx, name, r)
		for _, e := range events {
			if ctx.Err() != nil {
				err = ctx.Err()
				break
			}
			if !yield(e, nil) {
				return
			}
		}
		if err != nil {
			yield(leat.Recorded{}, err)
		}
	}
}

// readStream returns what ReadStream yields.
func (l *Log) readStream(ctx context.Context, name string, r leat.Range) ([]leat.Recorded, error) {
	defer l.mu.Unlock()
	if err := l.lock(ctx); err != nil {
		return nil, err
	}
	st := l.stream(name)
	first, last := r.After+1, st.version()
	if r.Through > 0 {
		last = min(last, r.Through)
	}
	if r.After >= last {
		return nil, nil
	}
	var err error
	if oldest := l.oldestKept(st); first < oldest {
		first, err = oldest, &leat.TrimmedError{Stream: name, Oldest: oldest}
		if !r.Reversed() {
			return nil, err
		}
	}
	var events []leat.Recorded
	for v := first; v <= last; v++ {
		p := st.places[v-st.base-1]
		s := l.shard(p.shard)
		events = append(events, clone(s.events[p.seq-s.Oldest]))
	}
	if r.Reversed() {
		slices.Reverse(events)
	}
	return events, err
}

// oldestKept returns the first version of a stream that is kept or to come.
// What is kept are always its last versions, because a shard is trimmed only
// after its parents.
func (l *Log) oldestKept(st *stream) uint64 {
	for _, p := range st.places {
		if p.seq >= l.shard(p.shard).Oldest {
			return p.version
		}
	}
	return st.version() + 1
}

// ReadShard implements leat.Log.
func (l *Log) ReadShard(ctx context.Context, id leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	timeout := time.NewTimer(o.Wait)
	defer timeout.Stop()
	for {
		b, changed, err := l.readShard(ctx, id, after, o)
		if err != nil || b.Next > after || b.Closed || o.Wait <= 0 {
			return b, err
		}
		select {
		case <-ctx.Done():
			return leat.Batch{}, ctx.Err()
		case <-timeout.C:
			return b, nil
		case <-changed:
		}
	}
}

// readShard returns what there is, and what is closed when there may be more.
func (l *Log) readShard(ctx context.Context, id leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, <-chan struct{}, error) {
	defer l.mu.Unlock()
	if err := l.lock(ctx); err != nil {
		return leat.Batch{}, nil, err
	}
	s := l.shard(id)
	switch {
	case o.Filter.Where != "":
		return leat.Batch{}, nil, fmt.Errorf("evaluate the filter %q: %w", o.Filter.Where, leat.ErrUnsupported)
	case s == nil:
		return leat.Batch{}, nil, l.noShard(id)
	case after > s.Head:
		return leat.Batch{}, nil, &leat.DivergedError{
			Reason: fmt.Sprintf("read after sequence %d of %s, whose head is %d", after, id, s.Head),
		}
	case after+1 < s.Oldest:
		return leat.Batch{}, nil, &leat.TrimmedError{Shard: id, Oldest: s.Oldest}
	}
	limit, matcher, examined := o.Limit, o.Filter.Matcher(), 0
	if limit <= 0 {
		limit = leat.DefaultReadLimit
	}
	b := leat.Batch{Shard: id, Epoch: l.info.Epoch, Next: after, Head: s.Head}
	for i := range s.events[after+1-s.Oldest:] {
		r := &s.events[after+1-s.Oldest+uint64(i)]
		full := len(b.Events) >= limit || examined >= leat.MaxReadBytes
		if full && r.Seq == r.Commit {
			break
		}
		b.Next = r.Seq
		examined += r.Size()
		if matcher.Match(r.Stream, r.Type) {
			b.Events = append(b.Events, clone(*r))
		}
	}
	b.Closed = s.Closed && b.Next == s.Head
	return b, l.changed, nil
}

// lock locks l for a call that the log can still answer. It is locked also when
// there is an error.
func (l *Log) lock(ctx context.Context) error {
	l.mu.Lock()
	if l.closed {
		return fmt.Errorf("log %s: %w", l.info.ID, leat.ErrClosed)
	}
	return ctx.Err()
}

// wake makes those who wait for something new look again.
func (l *Log) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// stream returns a stream that may be empty.
func (l *Log) stream(name string) *stream {
	if st := l.streams[name]; st != nil {
		return st
	}
	return &stream{}
}

func (st *stream) version() uint64 { return st.base + uint64(len(st.places)) }

func (st *stream) find(id string) (place, bool) {
	i, ok := st.byID[id]
	if !ok {
		return place{}, false
	}
	return st.places[i], true
}

// clone returns a copy that shares no memory with r.
func clone(r leat.Recorded) leat.Recorded {
	r.Data, r.Meta = slices.Clone(r.Data), slices.Clone(r.Meta)
	return r
}

// utc returns t as a log keeps it: to the nanosecond, without a zone or a
// monotonic reading.
func utc(t time.Time) time.Time { return time.Unix(0, t.UnixNano()).UTC() }

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
)

func nowMillis() uint64 { return uint64(time.Now().UnixMilli()) }

// work has producers, readers and an administrator at work on a log, all under
// the eyes of a ledger, until stop is closed or the log ends. The error says
// which promise was broken, or that of the log when ends does not take it as a
// good end.
func (g *ledger) work(ctx context.Context, log *engine.Log, name string, rng *rand.Rand, ends func(error) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var broken error
	start := func(doing string, f func(rng *rand.Rand) error) {
		rng := seeded(rng.Uint64())
		wg.Go(func() {
			err := f(rng)
			if err == nil || ends(err) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			broken = errors.Join(broken, fmt.Errorf("%s: %w", doing, err))
			cancel()
		})
	}
	for p := range 3 {
		w := &producer{ledger: g, log: log, name: fmt.Sprintf("%s.%d", name, p), versions: make(map[string]uint64)}
		start("produce", func(rng *rand.Rand) error { return w.run(ctx, rng) })
	}
	start("race for versions", func(rng *rand.Rand) error { return g.race(ctx, log, name, rng) })
	start("follow", func(*rand.Rand) error { return g.follow(ctx, log) })
	start("read streams", func(rng *rand.Rand) error { return g.readStreams(ctx, log, rng) })
	start("administer", func(rng *rand.Rand) error { return g.administer(ctx, log, rng) })
	wg.Wait()
	return broken
}

// A producer appends to streams of its own, whose versions it therefore knows,
// and to shared ones.
type producer struct {
	*ledger
	log      leat.Log
	name     string
	n        int
	versions map[string]uint64 // of its own streams
	last     []leat.Event      // that were acknowledged
	receipt  leat.Receipt
}

// run appends until the log takes no more, and returns the error that ended it.
func (p *producer) run(ctx context.Context, rng *rand.Rand) error {
	for {
		var err error
		switch k := rng.IntN(12); {
		case k == 0 && p.last != nil:
			err = p.again(ctx)
		case k == 1 && p.last != nil:
			err = p.partly(ctx, rng)
		default:
			err = p.appendNew(ctx, rng)
		}
		if err != nil {
			return err
		}
	}
}

func (p *producer) appendNew(ctx context.Context, rng *rand.Rand) error {
	own := rng.IntN(3) > 0
	key := fmt.Sprintf("{%s-%d}", p.name, rng.IntN(3))
	if !own {
		key = fmt.Sprintf("{shared-%d}", rng.IntN(3))
	}
	events := p.draw(rng, key)
	var conds []leat.Condition
	if own {
		for i := range 2 {
			stream := fmt.Sprintf("s%d-%s", i, key)
			conds = append(conds, leat.ExpectVersion(stream, p.versions[stream]))
		}
	}
	r, err := p.append(ctx, p.log, events[0].Type, events, conds...)
	if err != nil {
		return err
	}
	p.last, p.receipt = events, r
	for i, e := range events {
		if own && r.Versions[i] != p.versions[e.Stream]+1 {
			return fmt.Errorf("nobody else writes stream %q, which went from version %d to %d", e.Stream, p.versions[e.Stream], r.Versions[i])
		}
		p.versions[e.Stream] = r.Versions[i]
	}
	return nil
}

// draw draws the events of the next Append.
func (p *producer) draw(rng *rand.Rand, key string) []leat.Event {
	name := fmt.Sprintf("Append-%s-%d", p.name, p.n)
	p.n++
	n, size := 1+rng.IntN(4), 200
	switch rng.IntN(40) {
	case 0:
		n = 60
	case 1:
		size = 20 << 10
	}
	events := make([]leat.Event, n)
	for i := range events {
		data := make([]byte, rng.IntN(size))
		for j := range data {
			data[j] = byte(rng.Uint32())
		}
		events[i] = leat.Event{
			ID: drawID(rng, fmt.Sprintf("%s-%d", name, i)), Stream: fmt.Sprintf("s%d-%s", rng.IntN(2), key), Type: name,
			Source: "ledger", Data: data, Meta: leat.NewMeta("producer", p.name),
		}
	}
	return events
}

// again appends what was acknowledged last.
func (p *producer) again(ctx context.Context) error {
	r, err := p.log.Append(ctx, slices.Clone(p.last), leat.ExpectVersion(p.last[0].Stream, 1<<40))
	if err != nil {
		return err
	}
	want := p.receipt
	if want.Duplicate = true; !reflect.DeepEqual(r, want) {
		return fmt.Errorf("appended again, %s gets\n%+v, want\n%+v", p.last[0].Type, r, want)
	}
	return nil
}

// partly appends what was acknowledged last together with what is new.
func (p *producer) partly(ctx context.Context, rng *rand.Rand) error {
	fresh := p.last[0]
	fresh.ID = drawID(rng, fmt.Sprintf("%s-more-%d", fresh.Type, p.n))
	at := rng.IntN(len(p.last) + 1)
	events := slices.Insert(slices.Clone(p.last), at, fresh)
	r, err := p.log.Append(ctx, events)
	var partial *leat.PartialError
	switch {
	case errors.As(err, &partial):
		if len(partial.Known) != len(p.last) || slices.Contains(partial.Known, at) {
			return fmt.Errorf("append %s with another at %d: %w", fresh.Type, at, err)
		}
	case err == nil:
		return fmt.Errorf("append %s with another at %d: got %+v, want a PartialError", fresh.Type, at, r)
	default:
		return err
	}
	return nil
}

// race appends to streams that others write too, each time on the condition of
// the version it just read.
func (g *ledger) race(ctx context.Context, log leat.Log, name string, rng *rand.Rand) error {
	for n := 0; ; n++ {
		stream := fmt.Sprintf("s%d-{shared-%d}", rng.IntN(2), rng.IntN(3))
		var version uint64
		for e, err := range log.ReadStream(ctx, stream, leat.Range{}.Reverse()) {
			if err != nil && !errors.Is(err, leat.ErrTrimmed) {
				return err
			}
			version = e.Version
			break
		}
		if version == 0 && n > 0 { // trimmed whole, or not there yet
			if err := awaitNews(ctx, log, rng); err != nil {
				return err
			}
			continue
		}
		g.note(told{stream, version})
		name := fmt.Sprintf("Race-%s-%d", name, n)
		events := []leat.Event{{ID: drawID(rng, name), Stream: stream, Type: name, Source: "ledger"}}
		r, err := g.append(ctx, log, name, events, leat.ExpectVersion(stream, version))
		var conflict *leat.ConflictError
		switch {
		case errors.As(err, &conflict):
			if conflict.Actual <= version {
				return fmt.Errorf("stream %q was read at version %d: %w", stream, version, err)
			}
		case err != nil:
			return err
		case r.Versions[0] != version+1:
			return fmt.Errorf("appended to stream %q at version %d: got %+v", stream, version, r)
		}
	}
}

// follow reads all shards until ctx ends. What is trimmed before it was read is
// passed over.
func (g *ledger) follow(ctx context.Context, log leat.Log) error {
	from := leat.Checkpoint{}
	for {
		err := g.followFrom(ctx, log, &from)
		if !errors.Is(err, leat.ErrTrimmed) {
			return err
		}
		info, err := log.Info(ctx)
		if err != nil {
			return err
		}
		shards, err := log.Shards(ctx)
		if err != nil {
			return err
		}
		from = leat.Checkpoint{Log: info.ID, Epoch: info.Epoch, Seqs: make(map[leat.ShardID]uint64)}
		for _, s := range shards {
			from.Seqs[s.ID] = s.Oldest - 1
		}
	}
}

func (g *ledger) followFrom(ctx context.Context, log leat.Log, from *leat.Checkpoint) error {
	for b, err := range leat.Follow(ctx, log, leat.Filter{System: true}, *from) {
		if err != nil {
			return err
		}
		if len(b.Events) > 0 {
			g.note(seen(b.Events))
		}
	}
	return nil
}

// readStreams reads the shared streams, each from where it got to, until ctx
// ends.
func (g *ledger) readStreams(ctx context.Context, log leat.Log, rng *rand.Rand) error {
	next := make(map[string]uint64)
	for ctx.Err() == nil {
		stream := fmt.Sprintf("s%d-{shared-%d}", rng.IntN(2), rng.IntN(3))
		var events seen
		for e, err := range log.ReadStream(ctx, stream, leat.Range{After: next[stream]}) {
			var trimmed *leat.TrimmedError
			if errors.As(err, &trimmed) {
				next[stream] = trimmed.Oldest - 1
				break
			}
			if err != nil {
				return err
			}
			if e.Version != next[stream]+1 || e.Stream != stream {
				return fmt.Errorf("stream %q goes on after version %d with %d of %q", stream, next[stream], e.Version, e.Stream)
			}
			next[stream] = e.Version
			events = append(events, e)
		}
		if len(events) > 0 {
			g.note(events)
			g.note(told{stream, next[stream]})
		}
		if err := awaitNews(ctx, log, rng); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// awaitNews waits a moment for an event in any shard.
func awaitNews(ctx context.Context, log leat.Log, rng *rand.Rand) error {
	shards, err := log.Shards(ctx)
	if err != nil {
		return err
	}
	s := shards[rng.IntN(len(shards))]
	_, err = log.ReadShard(ctx, s.ID, s.Head, leat.ReadOptions{Wait: time.Millisecond})
	if errors.Is(err, leat.ErrTrimmed) {
		return nil
	}
	return err
}

// administer splits and trims shards, not often.
func (g *ledger) administer(ctx context.Context, log *engine.Log, rng *rand.Rand) error {
	for {
		if err := awaitNews(ctx, log, rng); err != nil {
			return err
		}
		before, err := log.Shards(ctx)
		if err != nil {
			return err
		}
		s := before[rng.IntN(len(before))]
		switch rng.IntN(12) {
		case 0:
			err = g.split(ctx, log, s, len(before))
		case 1, 2:
			err = g.trim(ctx, log, s, rng)
		}
		if err != nil {
			return err
		}
	}
}

func (g *ledger) split(ctx context.Context, log *engine.Log, s leat.Shard, shards int) error {
	if s.Closed || shards > 8 {
		return nil
	}
	_, err := log.Split(ctx, s.ID, s.Middle())
	if errors.Is(err, leat.ErrUnsupported) {
		return nil
	}
	if err == nil {
		g.note(split(s.ID))
	}
	return err
}

func (g *ledger) trim(ctx context.Context, log *engine.Log, s leat.Shard, rng *rand.Rand) error {
	if s.Head < s.Oldest {
		return nil
	}
	below := s.Oldest + rng.Uint64N(s.Head+2-s.Oldest)
	g.note(trimming{s.ID, below})
	oldest, err := log.Trim(ctx, s.ID, below)
	if errors.Is(err, leat.ErrInvalid) { // its parents keep events
		return nil
	}
	if err == nil {
		g.note(trimmed{s.ID, oldest})
	}
	return err
}

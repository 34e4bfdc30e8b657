package service_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

// Whatever fails, whenever it is killed, however shards are split, and whatever
// is retried and discarded meanwhile: no event is skipped, none is handled
// before those in front of it in its stream, and the checkpoint passes only what
// is handled or parked.
func TestNothingIsSkippedHoweverItFails(t *testing.T) {
	for name, run := range map[string]func(*chaos){
		"reactor":        func(c *chaos) { c.live(c.reactor(), 1) },
		"reactor × 2":    func(c *chaos) { c.live(c.reactor(), 2) },
		"forwarder":      func(c *chaos) { c.live(c.forwarder(service.Bounds{Events: 7, Bytes: 200}), 1) },
		"forwarder × 2":  func(c *chaos) { c.live(c.forwarder(service.Bounds{Events: 7, OnePerStream: true}), 2) },
		"projection":     func(c *chaos) { c.live(c.projection(), 1) },
		"projection × 2": func(c *chaos) { c.live(c.projection(), 2) },
	} {
		t.Run(name, func(t *testing.T) {
			seed := rand.Uint64()
			for i := range uint64(4) {
				synctest.Test(t, func(t *testing.T) {
					c := newChaos(t, seed+i)
					defer func() {
						if t.Failed() {
							t.Logf("seed %d", seed+i)
						}
					}()
					run(c)
				})
			}
		})
	}
}

// chaosStreams is how many streams there are: s-0, s-1 …
const chaosStreams = 7

// A chaos is a log, a database and handlers that fail by chance.
type chaos struct {
	t     *testing.T
	log   *leattest.Log
	model *servicetest.Memory

	mu      sync.Mutex
	rnd     *rand.Rand
	calm    bool            // nothing fails any more
	killed  map[int]bool    // processes
	poison  map[string]bool // events whose handler fails for good, or for a while
	handled map[string]map[uint64]bool
	active  map[string]bool
}

func newChaos(t *testing.T, seed uint64) *chaos {
	return &chaos{
		t: t, log: newLog(t, leat.Config{Shards: leat.EvenShards(2)}), model: servicetest.NewMemory(),
		rnd: rand.New(rand.NewPCG(seed, 0)), killed: make(map[int]bool), poison: make(map[string]bool),
		handled: make(map[string]map[uint64]bool), active: make(map[string]bool),
	}
}

func (c *chaos) below(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rnd.IntN(n)
}

// strike returns an error in one of n cases.
func (c *chaos) strike(n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.calm && c.rnd.IntN(n) == 0 {
		return errAway
	}
	return nil
}

// fate returns the error of an event's handler, or panics.
func (c *chaos) fate(r leat.Recorded) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calm {
		return nil
	}
	id := fmt.Sprint(r.Stream, "@", r.Version)
	if c.poison[id] {
		return service.Permanent(errBroken)
	}
	switch c.rnd.IntN(60) {
	case 0:
		c.poison[id] = true
		panic("poison")
	case 1, 2, 3:
		return errBroken
	}
	return nil
}

// projection notes in the read model what it was given.
func (c *chaos) projection() func(store *chaosStore) service.Runner {
	return func(store *chaosStore) service.Runner {
		p := history("app", store)
		apply := p.Apply
		p.Apply = func(ctx context.Context, tx *tx, r leat.Recorded) error {
			if err := apply(ctx, tx, r); err != nil {
				return err
			}
			return c.fate(r)
		}
		return p
	}
}

// reactor notes what it was given and checks its order as it goes.
func (c *chaos) reactor() func(store *chaosStore) service.Runner {
	return func(store *chaosStore) service.Runner {
		return service.Reactor{Name: "app", Checkpoints: store, Parallel: 3, React: func(ctx context.Context, r leat.Recorded) error {
			c.enter(store.number, r)
			time.Sleep(time.Duration(c.below(20)) * time.Millisecond)
			defer c.leave(store.number, r)
			if err := c.fate(r); err != nil {
				return err
			}
			c.note(r)
			return nil
		}}
	}
}

// enter and leave enclose what a process does with events. It never does so with
// two of one stream at a time, unless they are of one delivery.
func (c *chaos) enter(process int, events ...leat.Recorded) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range events {
		if c.active[fmt.Sprint(process, r.Stream)] {
			c.t.Errorf("two events of %s at once", r.Stream)
		}
	}
	for _, r := range events {
		c.active[fmt.Sprint(process, r.Stream)] = true
	}
}

func (c *chaos) leave(process int, events ...leat.Recorded) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range events {
		c.active[fmt.Sprint(process, r.Stream)] = false
	}
}

func (c *chaos) note(r leat.Recorded) {
	discarded := c.parked(false)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.handled[r.Stream] == nil {
		c.handled[r.Stream] = make(map[uint64]bool)
	}
	for v := uint64(1); v < r.Version; v++ {
		if !c.handled[r.Stream][v] && !discarded[fmt.Sprint(r.Stream, "@", v)] {
			c.t.Errorf("version %d of %s was handled before version %d", r.Version, r.Stream, v)
		}
	}
	c.handled[r.Stream][r.Version] = true
}

// parked returns the events that are parked and wait, or those discarded.
func (c *chaos) parked(waiting bool) map[string]bool {
	events, err := c.model.Parked(context.Background(), "app", "")
	ok(c.t, err)
	set := make(map[string]bool)
	for _, p := range events {
		if p.Waits() == waiting {
			set[fmt.Sprint(p.Stream, "@", p.Version)] = true
		}
	}
	return set
}

// done returns the versions of a stream that are handled. A projection's are in
// its read model.
func (c *chaos) done(stream string, data map[string]string) map[uint64]bool {
	versions := make(map[uint64]bool)
	last := uint64(0)
	for _, word := range strings.Fields(data[stream]) {
		v, err := strconv.ParseUint(word, 10, 64)
		ok(c.t, err)
		if v <= last {
			c.t.Errorf("%s was applied as %s: twice or out of order", stream, data[stream])
		}
		versions[v], last = true, v
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for v := range c.handled[stream] {
		versions[v] = true
	}
	return versions
}

// audit checks that what lies before the checkpoint is handled, parked or
// discarded.
func (c *chaos) audit() {
	ctx := context.Background()
	at, err := c.model.Checkpoint(ctx, "app")
	ok(c.t, err)
	waiting, discarded := c.parked(true), c.parked(false)
	data := c.model.Data() // after what waits: what is handled meanwhile is then in one of them
	done := make(map[string]map[uint64]bool)
	for i := range chaosStreams {
		name := fmt.Sprintf("s-%d", i)
		done[name] = c.done(name, data)
	}
	for r, err := range leat.Read(ctx, c.log, leat.Filter{}, leat.Checkpoint{}) {
		ok(c.t, err)
		id := fmt.Sprint(r.Stream, "@", r.Version)
		if r.Seq <= at.Seqs[r.Shard] && !done[r.Stream][r.Version] && !waiting[id] && !discarded[id] {
			c.t.Errorf("the checkpoint %v passes %s, which is neither handled nor parked", at, id)
		}
	}
}

// live lets processes run an application, at most so many at a time, while
// everything happens that can, and checks at the end that nothing is missing.
func (c *chaos) live(runner func(*chaosStore) service.Runner, most int) {
	var running []*process
	for number := range 40 {
		if len(running) < most {
			running = append(running, c.start(number, runner))
		}
		c.happen()
		time.Sleep(time.Duration(c.below(1500)) * time.Millisecond)
		c.audit()
		running = c.reap(running, most > 1)
	}
	for _, p := range running {
		p.cancel()
		<-p.ended
	}
	c.mu.Lock()
	c.calm = true
	c.mu.Unlock()
	last := c.start(1000, runner)
	c.finish(last)
	last.cancel()
	<-last.ended
	ok(c.t, last.err)
}

// happen does something to the log or to what is parked.
func (c *chaos) happen() {
	ctx := context.Background()
	for range c.below(30) {
		fill(c.t, c.log, fmt.Sprintf("s-%d", c.below(chaosStreams)))
	}
	stream := fmt.Sprintf("s-%d", c.below(chaosStreams))
	switch c.below(6) {
	case 0:
		shards, err := c.log.Shards(ctx)
		ok(c.t, err)
		if s := shards[c.below(len(shards))]; !s.Closed && len(shards) < 12 {
			_, err := c.log.Split(ctx, s.ID, s.Middle())
			ok(c.t, err)
		}
	case 1, 2:
		_ = c.model.Retry(ctx, "app", stream)
	case 3:
		c.mu.Lock()
		clear(c.poison)
		c.mu.Unlock()
		_ = c.model.Retry(ctx, "app", stream)
	case 4:
		if events, err := c.model.Parked(ctx, "app", stream); err == nil && len(events) > 0 {
			_ = c.model.Discard(ctx, "app", stream, events[c.below(len(events))].Version, "by chance")
		}
	}
}

// reap stops or kills processes by chance, and returns those that still run.
func (c *chaos) reap(running []*process, fenced bool) (left []*process) {
	for _, p := range running {
		switch c.below(4) {
		case 0: // killed: from now on it changes nothing
			c.mu.Lock()
			c.killed[p.number] = true
			c.mu.Unlock()
			p.cancel()
			<-p.ended
		case 1:
			p.cancel()
			<-p.ended
		}
		select {
		case <-p.ended:
			expected := errors.Is(p.err, errAway) || fenced && errors.Is(p.err, leat.ErrFenced)
			if p.err != nil && !expected {
				c.t.Errorf("Run: %v", p.err)
			}
		default:
			left = append(left, p)
		}
	}
	return left
}

// finish lets a process handle all that is left, now that nothing fails.
func (c *chaos) finish(p *process) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	to, err := leat.Start(ctx, c.log, leat.Now)
	ok(c.t, err)
	ok(c.t, p.app.WaitCaughtUp(ctx, to))
	for range 20 {
		for i := range chaosStreams {
			_ = c.model.Retry(ctx, "app", fmt.Sprintf("s-%d", i))
		}
		time.Sleep(2 * time.Second)
	}
	c.audit()
	want(c.t, "parked at the end", len(c.parked(true)), 0)
	discarded, data := c.parked(false), c.model.Data()
	for i := range chaosStreams {
		name := fmt.Sprintf("s-%d", i)
		done := c.done(name, data)
		for _, r := range stream(c.t, c.log, name) {
			if !done[r.Version] && !discarded[fmt.Sprint(name, "@", r.Version)] {
				c.t.Errorf("version %d of %s was never handled", r.Version, name)
			}
		}
	}
}

// A process runs the application until it is stopped, killed or fenced.
type process struct {
	number int
	app    *service.App
	cancel context.CancelFunc
	ended  chan struct{}
	err    error
}

func (c *chaos) start(number int, runner func(*chaosStore) service.Runner) *process {
	app, err := service.NewApp(service.Config{
		Log: &chaosLog{c.log, c}, Logger: slog.New(slog.DiscardHandler), Retry: service.Retry{Attempts: 3, Most: time.Second},
	}, runner(&chaosStore{c.model, c, number}))
	ok(c.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{number: number, app: app, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		p.err = app.Run(ctx)
	}()
	return p
}

// chaosLog cannot be read now and then.
type chaosLog struct {
	*leattest.Log
	c *chaos
}

func (l *chaosLog) ReadShard(ctx context.Context, shard leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	if err := l.c.strike(10); err != nil {
		return leat.Batch{}, err
	}
	o.Limit = 1 + l.c.below(20)
	return l.Log.ReadShard(ctx, shard, after, o)
}

func (l *chaosLog) ReadStream(ctx context.Context, stream string, r leat.Range) iter.Seq2[leat.Recorded, error] {
	if err := l.c.strike(10); err != nil {
		return func(yield func(leat.Recorded, error) bool) { yield(leat.Recorded{}, err) }
	}
	return l.Log.ReadStream(ctx, stream, r)
}

// chaosStore is the database as one process sees it.
type chaosStore struct {
	*servicetest.Memory
	c      *chaos
	number int
}

func (s *chaosStore) lost(n int) error {
	err := s.c.strike(n)
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.c.killed[s.number] {
		return errAway
	}
	return err
}

func (s *chaosStore) Save(ctx context.Context, step service.Step) error {
	return s.Commit(ctx, step, func(context.Context, *tx) error { return nil })
}

func (s *chaosStore) Commit(ctx context.Context, step service.Step, f func(context.Context, *tx) error) error {
	if err := s.lost(8); err != nil {
		return err
	}
	if err := s.Memory.Commit(ctx, step, f); err != nil {
		return err
	}
	if s.c.below(16) == 0 {
		s.c.audit()
	}
	return s.lost(8) // after it was committed
}

func (s *chaosStore) Checkpoint(ctx context.Context, name string) (leat.Checkpoint, error) {
	if err := s.lost(4); err != nil {
		return leat.Checkpoint{}, err
	}
	return s.Memory.Checkpoint(ctx, name)
}

func (s *chaosStore) Parked(ctx context.Context, name, stream string) ([]service.Parked, error) {
	if err := s.lost(6); err != nil {
		return nil, err
	}
	return s.Memory.Parked(ctx, name, stream)
}

func (s *chaosStore) Waiting(ctx context.Context, name string) (map[string]uint64, error) {
	if err := s.lost(6); err != nil {
		return nil, err
	}
	return s.Memory.Waiting(ctx, name)
}

func (s *chaosStore) Due(ctx context.Context, name string) ([]string, error) {
	if err := s.lost(6); err != nil {
		return nil, err
	}
	return s.Memory.Due(ctx, name)
}

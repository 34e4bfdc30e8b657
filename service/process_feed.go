package service

import (
	"context"
	"errors"
	"sync"

	"github.com/leathq/leat"
)

// Events that feed one process often come together, and each Append to its stream
// waits for the one before. So those that wait for their turn on a process are
// decided on with the one whose turn it is, and recorded in one Append.

// A fed event waits to be decided on.
type fed[I any] struct {
	cacheKey // of the process
	e        I
	r        leat.Recorded
	settled  bool // recorded with another one; guarded by waiting
}

// waiting are the fed events of each process.
type waiting[I any] struct {
	mu sync.Mutex
	by map[cacheKey][]*fed[I]
}

const (
	mostFed     = 32 // events that are decided on at a time
	mostDecided = 64 // events from which no other is decided on with them
)

// errSettled ends a turn for which nothing is left to do.
var errSettled = errors.New("decided on with another event")

func (w *waiting[I]) add(f *fed[I]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.by == nil {
		w.by = make(map[cacheKey][]*fed[I])
	}
	w.by[f.cacheKey] = append(w.by[f.cacheKey], f)
}

// remove takes out one that needs nobody any more.
func (w *waiting[I]) remove(f *fed[I]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.by[f.cacheKey]
	for i, other := range all {
		if other == f {
			all = append(all[:i:i], all[i+1:]...)
			break
		}
	}
	w.by[f.cacheKey] = all
	if len(all) == 0 {
		delete(w.by, f.cacheKey)
	}
}

// with returns an event and those that may be decided on with it: one of each
// stream, since those of a stream have an order. It returns none when the event is
// settled.
func (w *waiting[I]) with(f *fed[I]) []*fed[I] {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f.settled {
		return nil
	}
	group, streams := []*fed[I]{f}, map[string]bool{f.r.Stream: true}
	for _, other := range w.by[f.cacheKey] {
		if len(group) < mostFed && !other.settled && !streams[other.r.Stream] {
			group, streams[other.r.Stream] = append(group, other), true
		}
	}
	return group
}

func (w *waiting[I]) settle(group []*fed[I]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range group {
		f.settled = true
	}
}

// feed decides on an event in its turn, and on those that wait with it.
func (p *Process[S, E, I]) feed(ctx context.Context, log leat.Log, id string, e I, r leat.Recorded) error {
	f := &fed[I]{cacheKey: cacheKey{log, p.Stream(id)}, e: e, r: r}
	p.waiting.add(f)
	defer p.waiting.remove(f)
	group, err := p.feedGroup(ctx, log, id, f, p.waiting.with)
	if len(group) > 1 && err != nil && !blameless(err) && ctx.Err() == nil {
		// One of them may be to blame, or have been decided on before.
		_, err = p.feedGroup(ctx, log, id, f, func(*fed[I]) []*fed[I] { return []*fed[I]{f} })
	}
	return err
}

// feedGroup decides on an event together with others, and returns those it decided
// on last.
func (p *Process[S, E, I]) feedGroup(ctx context.Context, log leat.Log, id string, f *fed[I], with func(*fed[I]) []*fed[I]) (group []*fed[I], err error) {
	var c *command
	decide := func(s processState[S]) (decided []any, err error) {
		group = with(f)
		if len(group) == 0 {
			return nil, errSettled
		}
		group, decided, err = p.decideOn(ctx, log, s, id, group, c)
		return decided, err
	}
	result, err := p.streams.Do(ctx, log, id, decide, func(of *command) { c = of }, unasked)
	switch {
	case errors.Is(err, errSettled):
		return nil, nil
	case err == nil && result.Duplicate && len(group) > 1:
		return group, errTogether
	case err == nil:
		p.waiting.settle(group)
	}
	return group, err
}

// errTogether says that of several events one was decided on before.
var errTogether = errors.New("one of the events was decided on before")

// decideOn returns what is decided on events, and which of them those are: the
// first, unless its error is returned, and others that cause none.
func (p *Process[S, E, I]) decideOn(ctx context.Context, log leat.Log, s processState[S], id string, group []*fed[I], c *command) ([]*fed[I], []any, error) {
	d := p.decision(s, id)
	CausedBy(group[0].r, "react")(c)
	c.parts = nil
	decidedOn := group[:0:0]
	for i, f := range group {
		if len(d.decided) >= mostDecided {
			break
		}
		n := len(d.decided)
		err := guarded(func() error {
			before, err := s.inputs[f.r.Stream].follows(ctx, log, f.r)
			if before || err != nil {
				return err
			}
			return d.try(p.Clone, func(d *Decision[S, E]) error { return p.React(d, f.e, f.r) })
		})
		switch {
		case err != nil && i == 0:
			return nil, nil, err
		case err != nil:
			continue // it has its own turn, and may fail in that
		}
		decidedOn = append(decidedOn, f)
		if n = len(d.decided) - n; n > 0 {
			part := part{events: n}
			CausedBy(f.r, "react")(&part.command)
			inputOf(f.r)(&part.command)
			c.parts = append(c.parts, part)
		}
	}
	if len(c.parts) > 0 {
		c.id = c.parts[0].id
	}
	return decidedOn, d.decided, nil
}

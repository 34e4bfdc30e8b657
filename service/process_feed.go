package service

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/leathq/leat"
)

// Events that feed one process often come together, and each Append to its stream
// waits for the one before. So those that wait for their turn on a process are
// decided on with the one whose turn it is, and recorded in one Append.

// A fed event is to be decided on.
type fed[I any] struct {
	cacheKey // of the process
	e        I
	r        leat.Recorded

	// Guarded by waiting.
	settled bool // recorded with another one
	alone   bool // an attempt with others failed
}

// waiting are the fed events of each process whose turn has not come.
type waiting[I any] struct {
	mu sync.Mutex
	by map[cacheKey][]*fed[I]
}

const (
	mostFed     = 32 // events that are decided on at a time
	mostDecided = 64 // decided events from which no other is decided on with them
)

func (w *waiting[I]) add(f *fed[I]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.by == nil {
		w.by = make(map[cacheKey][]*fed[I])
	}
	w.by[f.cacheKey] = append(w.by[f.cacheKey], f)
}

func (w *waiting[I]) remove(f *fed[I]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop(f)
}

func (w *waiting[I]) drop(f *fed[I]) {
	left := slices.DeleteFunc(w.by[f.cacheKey], func(other *fed[I]) bool { return other == f })
	w.by[f.cacheKey] = left
	if len(left) == 0 {
		delete(w.by, f.cacheKey)
	}
}

// with returns an event whose turn has come, which is nobody else's from now on,
// and those that may be decided on with it: one of each stream, since those of a
// stream have an order. It returns none when the event is settled.
func (w *waiting[I]) with(f *fed[I]) []*fed[I] {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop(f)
	if f.settled {
		return nil
	}
	group, streams := []*fed[I]{f}, map[string]bool{f.r.Stream: true}
	if f.alone {
		return group
	}
	for _, other := range w.by[f.cacheKey] {
		if len(group) < mostFed && !other.settled && !other.alone && !streams[other.r.Stream] {
			group, streams[other.r.Stream] = append(group, other), true
		}
	}
	return group
}

// settle notes that events are recorded.
func (w *waiting[I]) settle(group []*fed[I]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range group {
		f.settled = true
	}
}

// separate has each of some events decided on alone.
func (w *waiting[I]) separate(group []*fed[I]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range group {
		f.alone = true
	}
}

// errTogether says that of several events one was decided on before.
var errTogether = errors.New("one of the events was decided on before")

// feed decides on an event in its turn, and on those that wait with it.
func (p *Process[S, E, I]) feed(ctx context.Context, log leat.Log, id string, e I, r leat.Recorded) error {
	if err := p.streams.check(log, id); err != nil {
		return err
	}
	f := &fed[I]{cacheKey: cacheKey{log, p.Stream(id)}, e: e, r: r}
	p.waiting.add(f)
	defer p.waiting.remove(f)
	group, err := p.takeTurn(ctx, log, id, f)
	if len(group) > 1 && err != nil && !blameless(err) {
		p.waiting.separate(group)
		_, err = p.takeTurn(ctx, log, id, f)
	}
	return err
}

// takeTurn decides on an event together with others, and returns those it decided
// on last.
func (p *Process[S, E, I]) takeTurn(ctx context.Context, log leat.Log, id string, f *fed[I]) (group []*fed[I], err error) {
	var c *command
	decide := func(s processState[S]) (decided []any, err error) {
		if group = p.waiting.with(f); len(group) == 0 {
			return nil, errNothingLeft
		}
		group, decided, err = p.decideOn(ctx, log, s, id, group, c)
		return decided, err
	}
	result, err := p.streams.Do(ctx, log, id, decide, func(of *command) { c = of }, unasked)
	switch {
	case errors.Is(err, errNothingLeft):
		return nil, nil
	case err == nil && result.Duplicate && len(group) > 1:
		return group, errTogether
	case err == nil && len(result.Receipt.Versions) > 0:
		// An Append tells that the state was that of all events before it. Without
		// one only f knows that its state was fresh.
		p.waiting.settle(group)
	}
	return group, err
}

// decideOn returns what is decided on events, and which of them those are: the
// first, unless its error is returned, and others that cause none.
func (p *Process[S, E, I]) decideOn(ctx context.Context, log leat.Log, s processState[S], id string, group []*fed[I], c *command) ([]*fed[I], []any, error) {
	d, decidedOn := p.decision(s, id), group[:0:0]
	c.id, c.parts = causedID(group[0].r, "react"), nil
	for i, f := range group {
		n := len(d.decided)
		if n >= mostDecided {
			break
		}
		before, err := s.inputs[f.r.Stream].follows(ctx, log, f.r)
		if err == nil && !before {
			err = d.try(p.Clone, func(d *Decision[S, E]) error { return p.React(d, f.e, f.r) })
		}
		switch {
		case err != nil && i == 0:
			return nil, nil, err
		case err != nil:
			continue // it has a turn of its own, and may fail in that
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

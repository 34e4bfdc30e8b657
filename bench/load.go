package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/bench"
)

// A load is appends by so many producers, each waiting for the answer to one
// before it sends the next.
type load struct {
	name      string
	title     string
	producers int
	batch     int // events of an append
	bytes     int // of an event's Data

	// fresh says that nine of ten appends begin a stream; else each producer
	// has one for the whole load.
	fresh bool
}

var loads = []load{
	{"single", "256 B, 256 producers × 1 event, mostly new streams", 256, 1, 256, true},
	{"batch", "256 B, 8 producers × 500 events, a stream each", 8, 500, 256, false},
	{"large", "1 KiB, 8 producers × 500 events, a stream each", 8, 500, 1024, false},
}

// largestRound is the most events that one append of each producer makes.
const largestRound = 8 * 500

// bounds end a load: whichever comes first.
type bounds struct {
	time   time.Duration
	events uint64
}

// measured is what one load came to.
type measured struct {
	events  uint64
	elapsed time.Duration
	latency *bench.Histogram // of each append
}

func (m *measured) rate() float64 { return float64(m.events) / m.elapsed.Seconds() }

// A producer appends to streams of its own.
type producer struct {
	number  int
	heads   []head       // of its streams, the current one last
	events  []leat.Event // of an append, made anew each time in the same memory
	appends int
	latency *bench.Histogram // of all producers
}

// run carries a load out and returns the head of every stream.
func (l load) run(ctx context.Context, s store, b bounds) (*measured, map[string]head, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	m := &measured{latency: new(bench.Histogram)}
	producers := make([]producer, l.producers)
	var begun atomic.Uint64 // events
	var wg sync.WaitGroup
	start := time.Now()
	for i := range producers {
		p := &producers[i]
		p.number, p.events, p.latency = i, make([]leat.Event, l.batch), m.latency
		wg.Go(func() {
			for begun.Add(uint64(l.batch)) <= b.events && time.Since(start) < b.time {
				if err := p.append(ctx, s, l); err != nil {
					stop(err)
					return
				}
			}
		})
	}
	wg.Wait()
	m.elapsed = time.Since(start)
	heads := make(map[string]head)
	for i := range producers {
		p := &producers[i]
		m.events += uint64(p.appends * l.batch)
		for n, h := range p.heads {
			heads[streamName(p.number, n)] = h
		}
	}
	if err := context.Cause(ctx); err != nil {
		return m, nil, err
	}
	if m.events == 0 {
		return m, nil, errors.New("the load ended before an append did")
	}
	return m, heads, nil
}

func (p *producer) append(ctx context.Context, s store, l load) error {
	if p.appends == 0 || l.fresh && p.appends%10 != 9 {
		p.heads = append(p.heads, head{})
	}
	last := len(p.heads) - 1
	stream := streamName(p.number, last)
	for i := range p.events {
		p.events[i] = newEvent(stream, l.bytes)
	}
	began := time.Now()
	h, err := s.append(ctx, p.heads[last], p.events)
	if err != nil {
		return fmt.Errorf("append %d events to %s: %w", len(p.events), stream, err)
	}
	p.latency.Add(time.Since(began), 1)
	p.appends++
	p.heads[last] = h
	return nil
}

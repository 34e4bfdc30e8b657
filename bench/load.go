package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leathq/leat"
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
	events    uint64
	elapsed   time.Duration
	latencies []time.Duration // of each append
}

func (m measured) rate() float64 { return float64(m.events) / m.elapsed.Seconds() }

// quantile returns the latency that a part q of the appends did not exceed.
func (m measured) quantile(q float64) time.Duration {
	if len(m.latencies) == 0 {
		return 0
	}
	return m.latencies[min(len(m.latencies)-1, int(q*float64(len(m.latencies))))]
}

// A producer appends to streams of its own.
type producer struct {
	number    int
	heads     []head // of its streams, the current one last
	latencies []time.Duration
	events    []leat.Event // of an append, made anew each time in the same memory
}

// run carries a load out and returns the head of every stream.
func (l load) run(ctx context.Context, s store, b bounds) (measured, map[string]head, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	data := newData(l.bytes)
	producers := make([]producer, l.producers)
	var begun atomic.Uint64 // events
	var wg sync.WaitGroup
	start := time.Now()
	for i := range producers {
		p := &producers[i]
		p.number, p.events = i, make([]leat.Event, l.batch)
		wg.Go(func() {
			for begun.Add(uint64(l.batch)) <= b.events && time.Since(start) < b.time {
				if err := p.append(ctx, s, l, data); err != nil {
					stop(err)
					return
				}
			}
		})
	}
	wg.Wait()
	m := measured{elapsed: time.Since(start)}
	heads := make(map[string]head)
	for i := range producers {
		p := &producers[i]
		m.latencies = append(m.latencies, p.latencies...)
		m.events += uint64(len(p.latencies) * l.batch)
		for n, h := range p.heads {
			heads[streamName(p.number, n)] = h
		}
	}
	slices.Sort(m.latencies)
	if err := context.Cause(ctx); err != nil {
		return m, nil, err
	}
	if m.events == 0 {
		return m, nil, errors.New("the load ended before an append did")
	}
	return m, heads, nil
}

func (p *producer) append(ctx context.Context, s store, l load, data []byte) error {
	if n := len(p.latencies); n == 0 || l.fresh && n%10 != 9 {
		p.heads = append(p.heads, head{})
	}
	last := len(p.heads) - 1
	stream := streamName(p.number, last)
	for i := range p.events {
		p.events[i] = newEvent(stream, data)
	}
	began := time.Now()
	h, err := s.append(ctx, p.heads[last], p.events)
	if err != nil {
		return fmt.Errorf("append %d events to %s: %w", len(p.events), stream, err)
	}
	p.latencies = append(p.latencies, time.Since(began))
	p.heads[last] = h
	return nil
}

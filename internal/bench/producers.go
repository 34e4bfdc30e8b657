package bench

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/leathq/leat"
)

// Producers append a Workload to a log. Run is called once at a time; Done at
// any time.
type Producers struct {
	workload Workload
	supply   *supply
	crews    [][]*lane // each driven by one goroutine
	done     atomic.Uint64
}

// A lane is one Append in flight after the other.
type lane struct {
	log       leat.Log
	producer  int
	generator *generator

	// The Append in flight; nil when there is none.
	pending leat.Pending
	events  []leat.Event
	conds   []leat.Condition
	due     time.Time
}

// NewProducers returns producers that append w, which has passed Check. They
// share the logs, connections to one log, evenly. Their streams are new ones.
func NewProducers(w Workload, logs ...leat.Log) *Producers {
	p := &Producers{workload: w, supply: newSupply(&w)}
	p.crews = make([][]*lane, w.Producers)
	if w.Rate > 0 { // each waits for when its next Append is due
		p.crews = make([][]*lane, w.Lanes())
	}
	for i := range w.Lanes() {
		producer := i % w.Producers
		crew := &p.crews[i%len(p.crews)]
		*crew = append(*crew, &lane{
			log: logs[producer%len(logs)], producer: producer, generator: newGenerator(&p.workload, p.supply, i),
		})
	}
	return p
}

// Done returns how many events were appended, over all runs.
func (p *Producers) Done() uint64 { return p.done.Load() }

// Owns reports whether a stream is one that these producers write.
func (p *Producers) Owns(stream string) bool {
	const at = len("order-")
	return len(stream) == streamBytes && stream[at:at+len(p.supply.run)] == p.supply.run
}

// A job is one run of the producers.
type job struct {
	limit
	began   time.Time
	rate    float64       // as Workload.Rate
	taken   atomic.Uint64 // events that lanes have set out to append, and those beyond total
	latency []Histogram   // by producer, as far as there are so many

	events, bytes atomic.Uint64 // appended, and their Event.Size
}

// mostHistograms bounds how many histograms a job has: more take memory, fewer
// have producers wait for each other.
const mostHistograms = 256

// Run appends events until there are so many, until so much time has passed,
// whatever comes first (0: no bound), or until an Append fails. Latency is that
// of an Append; with a Rate it counts from when the Append was due, so that a
// log which falls behind cannot hide it.
func (p *Producers) Run(ctx context.Context, events uint64, d time.Duration) (*Figures, error) {
	l, stop := newLimit(ctx, events, d)
	defer stop()
	j := &job{limit: l, rate: p.workload.Rate, latency: make([]Histogram, min(p.workload.Producers, mostHistograms))}
	group, groupCtx := errgroup.WithContext(ctx)
	start := make(chan struct{})
	for _, crew := range p.crews {
		group.Go(func() error {
			<-start
			return p.produce(groupCtx, crew, j)
		})
	}
	m := startMeter()
	j.began = m.began
	close(start)
	err := group.Wait()
	f := &Figures{}
	m.stop(f)
	if ctx.Err() != nil {
		err = ctx.Err() // rather than what the Appends that it ended say
	}
	if err != nil {
		return nil, fmt.Errorf("after %d events: %w", p.Done(), err)
	}
	for i := range j.latency {
		f.Latency.Merge(&j.latency[i])
	}
	f.Events, f.Calls = j.events.Load(), f.Latency.Count()
	f.DataBytes = f.Events * uint64(p.workload.Size)
	f.EventBytes = float64(j.bytes.Load()) / float64(max(1, f.Events))
	return f, nil
}

// produce appends what a crew gets of a job: its lanes take turns, and each ends
// an Append before it begins the next.
func (p *Producers) produce(ctx context.Context, crew []*lane, j *job) (err error) {
	// Requests have contexts of their own, whose ends nobody else waits for.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	turn := 0
	var done tally
	defer func() { p.count(j, &done) }()
	for ; ; turn++ {
		if turn%len(crew) == 0 {
			p.count(j, &done)
		}
		l := crew[turn%len(crew)]
		if err = p.end(l, j, &done); err != nil {
			break
		}
		n, due := j.take(ctx, p.workload.Batch)
		if n == 0 {
			break
		}
		l.begin(ctx, n, due)
	}
	if err != nil {
		cancel()
	}
	for i := range crew {
		err = cmp.Or(err, p.end(crew[(turn+i)%len(crew)], j, &done))
	}
	return err
}

// begin begins an Append.
func (l *lane) begin(ctx context.Context, n int, due time.Time) {
	l.events, l.conds = l.generator.next(n)
	if l.due = due; due.IsZero() {
		l.due = time.Now()
	}
	l.pending = leat.Submit(ctx, l.log, l.events, l.conds...)
}

// end waits for the Append of a lane, if there is one, and looks at its answer.
func (p *Producers) end(l *lane, j *job, done *tally) error {
	if l.pending == nil {
		return nil
	}
	receipt, err := l.pending.Wait()
	l.pending = nil
	if err != nil {
		return err
	}
	n := len(l.events)
	j.latency[l.producer%len(j.latency)].Add(time.Since(l.due), 1)
	if receipt.Duplicate || len(receipt.Versions) != n || len(l.conds) > 0 && receipt.Versions[0] != l.conds[0].Version+1 {
		return fmt.Errorf("the log answered an append of %d new events to stream %s with %+v", n, l.events[0].Stream, receipt)
	}
	l.generator.appended(n)
	done.add(l.events)
	return nil
}

// take returns how many events the next Append has, 0 when there is none to
// come, and when it is due: the zero time is at once.
func (j *job) take(ctx context.Context, batch int) (n int, due time.Time) {
	first := j.taken.Add(uint64(batch)) - uint64(batch)
	if j.reached() || j.total > 0 && first >= j.total {
		return 0, due
	}
	if j.total > 0 {
		batch = int(min(uint64(batch), j.total-first))
	}
	if j.rate == 0 {
		return batch, due
	}
	due = j.began.Add(time.Duration(float64(first) / j.rate * float64(time.Second)))
	wait := time.NewTimer(time.Until(due))
	defer wait.Stop()
	select {
	case <-wait.C:
		return batch, due
	case <-j.over: // never, when nil
	case <-ctx.Done():
	}
	return 0, due
}

// A tally is what one goroutine has appended and not told yet: to tell each
// Append would have the producers wait for each other's memory.
type tally struct{ events, bytes uint64 }

func (t *tally) add(events []leat.Event) {
	t.events += uint64(len(events))
	for i := range events {
		t.bytes += uint64(events[i].Size())
	}
}

func (p *Producers) count(j *job, t *tally) {
	p.done.Add(t.events)
	j.events.Add(t.events)
	j.bytes.Add(t.bytes)
	*t = tally{}
}

// Generation returns what it costs to make one event, which the figures of Run
// include.
func (p *Producers) Generation() (took time.Duration, allocs float64) {
	const enough = 20 * time.Millisecond
	w := p.workload
	w.Streams = min(w.Streams, 1<<16)
	own := *p.supply
	own.run = "------" // so that no name is one that Run uses
	g := newGenerator(&w, &own, 0)
	m := startMeter()
	var events float64
	for time.Since(m.began) < enough {
		for range 16 {
			g.next(w.Batch)
			events += float64(w.Batch)
		}
	}
	var f Figures
	m.stop(&f)
	return time.Duration(float64(f.Elapsed) / events), float64(f.Usage.Allocs) / events
}

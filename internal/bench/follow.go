package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/leathq/leat"
)

// Followed are the figures of producers and of those who followed them.
type Followed struct {
	Appended *Figures

	// Seen counts what every follower saw, until the last one saw the last
	// event. Latency is from Recorded.At to when a follower had the event, which
	// is right as far as the log's clock is the same as this machine's.
	Seen *Figures

	// SinceMade is the latency from when a producer made the event to when a
	// follower had it.
	SinceMade *Histogram
}

// Follow runs producers (see Producers.Run), while one follower for each of the
// logs, connections to one log, sees all their events. Their Workload has Stamp.
func Follow(ctx context.Context, p *Producers, events uint64, d time.Duration, logs ...leat.Log) (*Followed, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	result := &Followed{Seen: &Figures{}, SinceMade: &Histogram{}}
	var want atomic.Int64
	want.Store(-1)
	var followers []*follower
	for _, log := range logs {
		from, err := leat.Start(ctx, log, leat.Now)
		if err != nil {
			return nil, err
		}
		followers = append(followers, &follower{log: log, from: from, owns: p.Owns, want: &want, result: result})
	}
	group, groupCtx := errgroup.WithContext(ctx)
	m := startMeter()
	for _, f := range followers {
		ctx, stop := context.WithCancel(groupCtx)
		defer stop()
		f.stop = stop
		group.Go(func() error { return f.follow(ctx) })
	}
	group.Go(func() (err error) {
		if result.Appended, err = p.Run(groupCtx, events, d); err != nil {
			return err
		}
		want.Store(int64(result.Appended.Events))
		for _, f := range followers {
			if f.sawAll() {
				f.stop()
			}
		}
		return nil
	})
	err := group.Wait()
	m.stop(result.Seen)
	if err != nil {
		return nil, err
	}
	result.Seen.Events, result.Seen.EventBytes = result.Appended.Events, result.Appended.EventBytes
	result.Seen.DataBytes, result.Seen.Calls = result.Appended.DataBytes, result.Seen.Latency.Count()
	return result, nil
}

// A follower sees the events of the producers.
type follower struct {
	log    leat.Log
	from   leat.Checkpoint
	owns   func(stream string) bool
	result *Followed // takes the latencies
	stop   func()

	// A follower counts first and then asks what is wanted, and who sets want
	// asks after that who has seen it all. So one of the two finds out.
	seen atomic.Int64
	want *atomic.Int64 // how many events there are; -1 until that is known
}

func (f *follower) follow(ctx context.Context) error {
	for b, err := range leat.Follow(ctx, f.log, leat.Filter{}, f.from) {
		if f.sawAll() {
			return nil
		}
		if err != nil {
			return fmt.Errorf("follow, after %d events: %w", f.seen.Load(), err)
		}
		f.see(b)
		if f.sawAll() {
			return nil
		}
	}
	return nil
}

func (f *follower) see(b leat.Batch) {
	now := time.Now()
	for i := range b.Events {
		e := &b.Events[i]
		if !f.owns(e.Stream) {
			continue
		}
		f.result.Seen.Latency.Add(now.Sub(e.At), 1)
		f.result.SinceMade.Add(now.Sub(e.Time), 1)
		f.seen.Add(1)
	}
}

func (f *follower) sawAll() bool {
	want := f.want.Load()
	return want >= 0 && f.seen.Load() >= want
}

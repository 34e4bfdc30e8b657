package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/leathq/leat"
)

// A Load reads whole streams, chosen at random among those given, as a service
// does before it decides a command.
type Load struct {
	Log        leat.Log
	Streams    []string
	Goroutines int
	Done       func(more uint64) // told of streams loaded; may be nil
}

// Run loads streams until there were so many, or so much time has passed,
// whatever comes first (0: no bound), and checks that no version is missing.
// Figures.Calls counts the streams; Latency is that of one.
func (l Load) Run(ctx context.Context, loads uint64, d time.Duration) (*Figures, error) {
	lim, stop := newLimit(ctx, loads, d)
	defer stop()
	f := &Figures{}
	var taken atomic.Uint64
	var mu sync.Mutex // guards sizes and f, but for f.Latency
	var sizes sizes
	group, groupCtx := errgroup.WithContext(ctx)
	start := make(chan struct{})
	for range l.Goroutines {
		group.Go(func() error {
			<-start
			own := loader{log: l.Log, latency: &f.Latency}
			for !lim.reached() && (lim.total == 0 || taken.Add(1) <= lim.total) {
				if err := own.load(groupCtx, l.Streams[rand.IntN(len(l.Streams))]); err != nil { //nolint:gosec // nothing secret depends on it
					return err
				}
				if l.Done != nil {
					l.Done(1)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			f.Calls += own.streams
			f.Events += own.events
			f.DataBytes += own.dataBytes
			sizes.add(own.sizes)
			return nil
		})
	}
	m := startMeter()
	close(start)
	err := group.Wait()
	m.stop(f)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	f.EventBytes = sizes.mean()
	return f, err
}

// A loader loads streams on one goroutine.
type loader struct {
	log                        leat.Log
	latency                    *Histogram
	streams, events, dataBytes uint64
	sizes                      sizes
}

func (l *loader) load(ctx context.Context, stream string) error {
	began := time.Now()
	var version uint64
	for e, err := range l.log.ReadStream(ctx, stream, leat.Range{}) {
		if err != nil {
			return fmt.Errorf("load %s: %w", stream, err)
		}
		if version++; e.Version != version {
			return fmt.Errorf("load %s: version %d comes where %d should: %w", stream, e.Version, version, leat.ErrCorrupt)
		}
		l.dataBytes += uint64(len(e.Data))
		l.sizes.sample(&e.Event)
	}
	l.latency.Add(time.Since(began), 1)
	if version == 0 {
		return fmt.Errorf("load %s: it has events, but none came: %w", stream, leat.ErrCorrupt)
	}
	l.streams++
	l.events += version
	return nil
}

// MostStreams is how many names StreamsOf returns at most.
const MostStreams = 5_000_000

// StreamsOf reads the log and returns the names of n of its streams, chosen at
// random; all when there are fewer, and at most MostStreams (also for n = 0). It
// leaves out the log's own streams and those whose first event is trimmed. It
// calls done with the events read, unless that is nil.
func StreamsOf(ctx context.Context, log leat.Log, n int, done func(more uint64)) ([]string, error) {
	if n == 0 {
		n = MostStreams
	}
	api := ReadAPI
	if _, ok := log.(leat.Scanner); ok {
		api = ScanAPI
	}
	read, err := api.of(log)
	if err != nil {
		return nil, err
	}
	shards, err := log.Shards(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	found := 0
	visit := func(e *leat.Recorded) error {
		if e.Version != 1 {
			return nil
		}
		found++
		if len(names) < n {
			names = append(names, strings.Clone(e.Stream))
		} else if at := rand.IntN(found); at < n { //nolint:gosec // nothing secret depends on it
			names[at] = strings.Clone(e.Stream)
		}
		return nil
	}
	for _, s := range shards {
		for after := s.Oldest - 1; after < s.Head; {
			b, err := read(ctx, s.ID, after, leat.ReadOptions{}, visit)
			if err != nil {
				return nil, fmt.Errorf("read the names of streams: %w", err)
			}
			if done != nil {
				done(b.Next - after)
			}
			after = b.Next
		}
	}
	return names, nil
}

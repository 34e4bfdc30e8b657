package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leathq/leat"
)

const (
	streamLength = 20  // events of a stream that is loaded
	fillBytes    = 256 // of Data
	fillChunk    = 500 // events given to a system at a time
	fillers      = 4   // that give them
)

// readers is on how many goroutines streams are loaded.
var readers = []int{1, 4}

// fill records n events in streams of streamLength, in rounds, so that a
// stream's events lie far apart. It returns the number of streams.
func fill(ctx context.Context, s store, n int) (int, error) {
	streams := max(1, n/streamLength)
	for version := range uint64(streamLength) {
		if err := fillRound(ctx, s, streams, version+1); err != nil {
			return 0, fmt.Errorf("fill: %w", err)
		}
	}
	return streams, nil
}

// fillRound records one event in each stream.
func fillRound(ctx context.Context, s store, streams int, version uint64) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range fillers {
		wg.Go(func() {
			for ctx.Err() == nil {
				from := int(next.Add(fillChunk)) - fillChunk
				if from >= streams {
					return
				}
				events := make([]leat.Recorded, min(fillChunk, streams-from))
				for i := range events {
					events[i] = leat.Recorded{Event: newEvent(streamName(0, from+i), fillBytes), Version: version}
				}
				if err := s.fill(ctx, events); err != nil {
					stop(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// replayAll returns how many events a second replay, which is a store's way to
// do it, reads in order.
func replayAll(ctx context.Context, replay func(context.Context, visitor) error, want int) (float64, error) {
	n := 0
	start := time.Now()
	if err := replay(ctx, func(*leat.Recorded) error { n++; return nil }); err != nil {
		return 0, fmt.Errorf("replay: %w", err)
	}
	if n != want {
		return 0, fmt.Errorf("replay: %d events, want %d", n, want)
	}
	return float64(n) / time.Since(start).Seconds(), nil
}

// loadStreams returns how many random streams a second are loaded on so many
// goroutines.
func loadStreams(ctx context.Context, s store, streams, goroutines int, seed uint64, b bounds) (float64, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var loaded atomic.Uint64
	var wg sync.WaitGroup
	start := time.Now()
	for g := range goroutines {
		random := rand.New(rand.NewPCG(seed, uint64(g)))
		wg.Go(func() {
			for time.Since(start) < b.time && loaded.Load()*streamLength < b.events {
				if err := loadStream(ctx, s, streamName(0, random.IntN(streams))); err != nil {
					stop(err)
					return
				}
				loaded.Add(1)
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	if err := context.Cause(ctx); err != nil {
		return 0, err
	}
	return float64(loaded.Load()) / elapsed.Seconds(), nil
}

func loadStream(ctx context.Context, s store, stream string) error {
	version := uint64(0)
	err := s.load(ctx, stream, func(r *leat.Recorded) error {
		if version++; r.Version != version || r.Stream != stream {
			return fmt.Errorf("got version %d of %s, want %d", r.Version, r.Stream, version)
		}
		return nil
	})
	if err == nil && version != streamLength {
		err = fmt.Errorf("got %d events, want %d", version, streamLength)
	}
	if err != nil {
		return fmt.Errorf("load %s: %w", stream, err)
	}
	return nil
}

package client_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
	"github.com/leathq/leat/engine"
)

// Appends and readers go on when the server is restarted under them, in good
// order or not: everything is recorded once and read once.
func TestServerRestarts(t *testing.T) {
	const writers, each, restarts = 16, 60, 5
	dir := t.TempDir()
	log, err := engine.Create(dir, leat.Config{}, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, log, nil)
	p := proxied(t, s)
	l := dial(t, url(p), client.Options{})

	var working sync.WaitGroup
	recorded := make(chan struct{}, writers*each)
	for w := range writers {
		working.Go(func() {
			stream := fmt.Sprintf("s-%d", w)
			for i := range each {
				r, err := l.Append(t.Context(), []leat.Event{event(stream, fmt.Sprintf("e-%d", i))}, leat.ExpectVersion(stream, uint64(i)))
				if err != nil {
					t.Errorf("append %d to %s: %v", i+1, stream, err)
					return
				}
				if r.Versions[0] != uint64(i+1) || r.Duplicate {
					t.Errorf("append %d to %s: got version %d, duplicate %t", i+1, stream, r.Versions[0], r.Duplicate)
				}
				recorded <- struct{}{}
			}
		})
	}
	working.Go(func() {
		next := uint64(1)
		for b, err := range leat.Follow(t.Context(), l, leat.Filter{}, leat.Checkpoint{}) {
			if err != nil {
				t.Errorf("follow: %v", err)
				return
			}
			for _, e := range b.Events {
				if e.Seq != next {
					t.Errorf("followed to sequence %d, want %d", e.Seq, next)
				}
				next = e.Seq + 1
			}
			if next > writers*each {
				return
			}
		}
	})
	for i := range restarts {
		for range writers * each / (restarts + 1) {
			<-recorded
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if i%2 == 0 {
			cancel() // cuts everything off
		}
		_ = s.rpc.Shutdown(ctx)
		cancel()
		if err := log.Close(); err != nil {
			t.Error(err)
		}
		if log, err = engine.Open(dir, engine.Options{}); err != nil {
			t.Fatal(err)
		}
		s = serve(t, log, nil)
		p.Lead(s.address)
	}
	working.Wait()
	s.stop(t)()
	if err := log.Close(); err != nil {
		t.Error(err)
	}
}

// A log that the server has closed is one that will be back.
func TestClosedByTheServer(t *testing.T) {
	first := reference(t)
	s := serve(t, first, nil)
	p := proxied(t, s)
	l := dial(t, url(p), client.Options{})
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 2)
	go func() {
		_, err := l.Append(t.Context(), []leat.Event{event("a-1", "x")})
		done <- err
	}()
	go func() {
		_, err := l.Shards(t.Context())
		done <- err
	}()
	s.stop(t)()
	p.Lead(serve(t, reference(t), nil).address)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

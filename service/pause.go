package service

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/leathq/leat"
)

// Pause holds an application still in this process, until Resume. It returns
// when handlers that were at work have finished and checkpoints are saved, or
// with the error of ctx. The process leaves the application's fleet and releases
// its leases, so that its shards pass to the other processes: nothing stands
// still because one process does. To hold the whole fleet still, pause the
// application where the workers report (leat.Reporter, leat apps pause). An App
// that does not run yet begins paused.
//
// Pausing what is paused waits until it stands still. An application that the
// App does not run is leat.ErrNotFound.
func (a *App) Pause(ctx context.Context, name string) error {
	f, err := a.fleet(name)
	if err != nil {
		return err
	}
	still := f.brake.pause()
	if !a.started.Load() {
		return nil
	}
	select {
	case <-still:
		return nil
	case <-a.ended:
		return nil // nothing runs
	case <-ctx.Done():
		return fmt.Errorf("pause %q: its handlers are still at work: %w", name, ctx.Err())
	}
}

// Resume ends a Pause of this process. The application stands still nevertheless
// as long as its whole fleet is paused. An application that the App does not run
// is leat.ErrNotFound.
func (a *App) Resume(name string) error {
	f, err := a.fleet(name)
	if err != nil {
		return err
	}
	f.brake.resume()
	return nil
}

// fleet returns an application by its name.
func (a *App) fleet(name string) (*fleet, error) {
	i := slices.IndexFunc(a.fleets, func(f *fleet) bool { return f.name == name })
	if i < 0 {
		var names []string
		for _, f := range a.fleets {
			names = append(names, fmt.Sprintf("%q", f.name))
		}
		return nil, fmt.Errorf("application %q: %w: the app runs %s", name, leat.ErrNotFound, strings.Join(names, ", "))
	}
	return a.fleets[i], nil
}

// A brake holds an application still in a process. It is safe for concurrent
// use.
type brake struct {
	look chan struct{} // has an element when the fleet is to look at the brake

	mu       sync.Mutex
	here     bool            // asked for by App.Pause
	fleet    bool            // asked for of all processes
	standing bool            // it stands still
	waiting  []chan struct{} // closed when it does
}

func newBrake() *brake { return &brake{look: make(chan struct{}, 1)} }

// released reports whether the application may work. If so, it does not stand
// still any more.
func (b *brake) released() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.here || b.fleet {
		return false
	}
	b.standing = false
	return true
}

// pause returns a channel that is closed when the application stands still.
func (b *brake) pause() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	still := make(chan struct{})
	b.here = true
	if b.standing {
		close(still)
		return still
	}
	b.waiting = append(b.waiting, still)
	b.turned()
	return still
}

func (b *brake) resume() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.here = false
	b.turned()
}

// pauseFleet tells whether the application is paused for all processes.
func (b *brake) pauseFleet(paused bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fleet != paused {
		b.fleet = paused
		b.turned()
	}
}

// turned is called with mu locked.
func (b *brake) turned() {
	select {
	case b.look <- struct{}{}:
	default: // it will look
	}
}

// stands tells that the application stands still.
func (b *brake) stands() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.standing = true
	for _, c := range b.waiting {
		close(c)
	}
	b.waiting = nil
}

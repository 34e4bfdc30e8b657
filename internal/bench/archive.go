package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

// Archive archives all of a log into a store that holds nothing of it. Figures
// are of events as the archive counts them.
func Archive(ctx context.Context, a *archive.Archiver, log leat.Log) (*Figures, archive.Status, error) {
	to, err := leat.Start(ctx, log, leat.Now)
	if err != nil {
		return nil, archive.Status{}, err
	}
	f := &Figures{}
	m := startMeter()
	if err := a.Flush(ctx, to); err != nil {
		return nil, archive.Status{}, err
	}
	m.stop(f)
	s, err := a.Status(ctx)
	if err == nil && s.Events == 0 {
		err = errors.New("archive the log: it holds no events")
	}
	f.Events, f.EventBytes = s.Events, float64(s.EventBytes)/float64(max(1, s.Events))
	return f, s, err
}

// Beside says what producers did while an archiver archived what they appended.
type Beside struct {
	Appended *Figures
	Behind   uint64        // events not archived when the last Append returned
	CatchUp  time.Duration // from then until all were archived
}

// AppendBeside lets producers append events while an archiver runs, and then lets
// it catch up. So that it keeps up, an Append waits while more than a number of
// events are not archived: the log has to be the one that producers append to, and
// gated by Gate.
func AppendBeside(ctx context.Context, p *Producers, events uint64, a *archive.Archiver, log *GatedLog) (*Beside, error) {
	group, groupCtx := errgroup.WithContext(ctx)
	running, stop := context.WithCancel(groupCtx)
	b := &Beside{}
	group.Go(func() error { return a.Run(running) })
	group.Go(func() error {
		log.watch(running, a)
		return nil
	})
	group.Go(func() (err error) {
		defer stop()
		if b.Appended, err = p.Run(groupCtx, events, 0); err != nil {
			return err
		}
		b.Behind = p.Done() - a.Stats().Events
		to, err := leat.Start(groupCtx, log, leat.Now)
		if err != nil {
			return err
		}
		began := time.Now()
		err = a.Flush(groupCtx, to)
		b.CatchUp = time.Since(began)
		return err
	})
	return b, group.Wait()
}

// A GatedLog has Appends wait while an archiver is too far behind.
type GatedLog struct {
	leat.Log
	most     uint64 // events that may be not archived
	appended atomic.Uint64

	shut atomic.Bool // whether there is anything to wait for
	mu   sync.Mutex
	open chan struct{} // closed when Appends may go on
}

// Gate returns a log to which Appends go on until most events are not archived.
func Gate(log leat.Log, most uint64) *GatedLog { return &GatedLog{Log: log, most: most} }

// Append implements leat.Log.
func (g *GatedLog) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	return g.Submit(ctx, events, conds...).Wait()
}

// Submit implements leat.Submitter, but that it waits while the gate is shut.
func (g *GatedLog) Submit(ctx context.Context, events []leat.Event, conds ...leat.Condition) leat.Pending {
	if g.shut.Load() {
		g.mu.Lock()
		open := g.open
		g.mu.Unlock()
		select {
		case <-open:
		case <-ctx.Done():
			return leat.Refuse(ctx.Err())
		}
	}
	g.appended.Add(uint64(len(events)))
	return leat.Submit(ctx, g.Log, events, conds...)
}

// watch shuts and opens the gate until ctx ends, and leaves it open.
func (g *GatedLog) watch(ctx context.Context, a *archive.Archiver) {
	const often = 5 * time.Millisecond
	tick := time.NewTicker(often)
	defer tick.Stop()
	defer g.set(false)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.set(g.appended.Load()-a.Stats().Events > g.most)
		}
	}
}

// set shuts or opens the gate.
func (g *GatedLog) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut.Load() == shut {
		return
	}
	if shut {
		g.open = make(chan struct{})
	} else {
		close(g.open)
	}
	g.shut.Store(shut)
}

// ReadArchive reads all events of an archive, one shard after the other, on one
// goroutine. It calls done now and then with the events read.
func ReadArchive(ctx context.Context, a *archive.Archive, done func(more uint64)) (*Figures, error) {
	const often = 1 << 12
	f := &Figures{}
	var sizes sizes
	m := startMeter()
	shards, err := a.Shards(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range shards {
		for e, err := range a.Events(ctx, s.ID, 0) {
			if err != nil {
				return nil, err
			}
			f.DataBytes += uint64(len(e.Data))
			sizes.sample(&e.Event)
			if f.Events++; f.Events%often == 0 {
				done(often)
			}
		}
	}
	m.stop(f)
	f.EventBytes = sizes.mean()
	return f, nil
}

// VerifyArchive verifies the archive of a log in a store, of events of a mean
// size.
func VerifyArchive(ctx context.Context, store archive.Store, log string, eventBytes float64) (*Figures, error) {
	f := &Figures{EventBytes: eventBytes}
	m := startMeter()
	r, err := archive.Verify(ctx, store, log, archive.VerifyOptions{})
	if err != nil {
		return nil, err
	}
	m.stop(f)
	if len(r.Problems) > 0 {
		return nil, fmt.Errorf("verify the archive: %w: %s", leat.ErrCorrupt, r.Problems[0])
	}
	f.Events = r.Events
	return f, nil
}

// RestoreArchive restores an archive of events of a mean size into a log. Done is
// told how many events are imported or read again, which makes two for each.
func RestoreArchive(ctx context.Context, a *archive.Archive, log archive.Target, eventBytes float64, done func(n uint64)) (*Figures, error) {
	f := &Figures{EventBytes: eventBytes}
	m := startMeter()
	r, err := a.Restore(ctx, log, func(n, _ uint64) { done(n) })
	if err != nil {
		return nil, err
	}
	m.stop(f)
	f.Events = r.Events
	return f, nil
}

// LoadArchived loads streams from an archive, each of which it opens anew, so that
// nothing of it is in the memory of the process. Figures.Calls counts the streams;
// Latency is that of one, the opening included.
func LoadArchived(ctx context.Context, open func() (*archive.Archive, error), streams []string, done func(more uint64)) (*Figures, error) {
	f := &Figures{}
	var sizes sizes
	m := startMeter()
	for _, stream := range streams {
		began, version := time.Now(), uint64(0)
		a, err := open()
		if err != nil {
			return nil, err
		}
		for e, err := range a.Stream(ctx, stream, leat.Range{}) {
			if err != nil {
				return nil, fmt.Errorf("load %s from the archive: %w", stream, err)
			}
			if version++; e.Version != version {
				return nil, fmt.Errorf("load %s from the archive: version %d comes where %d should: %w", stream, e.Version, version, leat.ErrCorrupt)
			}
			f.DataBytes += uint64(len(e.Data))
			sizes.sample(&e.Event)
		}
		f.Latency.Add(time.Since(began), 1)
		f.Events += version
		f.Calls++
		done(1)
	}
	m.stop(f)
	f.EventBytes = sizes.mean()
	return f, nil
}

package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leathq/leat"
)

// Log is a log in a directory. It is a [leat.Log], [leat.Submitter],
// [leat.Trimmer], [leat.Splitter], [leat.Importer], [leat.Scanner] and
// [leat.Limiter], safe for concurrent use. Make one with Create or Open, and
// Close it.
type Log struct {
	dir   string
	info  leat.Info
	o     Options
	fuse  *fuse
	store *store
	files *blockFiles
	queue *queue
	index *index

	blocks *blockCache

	view atomic.Pointer[view]

	// See Stats.
	recorded, bytes, groups, generations atomic.Uint64

	latest atomic.Int64 // the last At, in nanoseconds since 1970

	// closing ends waiting readers. reading is held for reading while the store
	// is used, so that Close can wait; closed is set under it.
	closing chan struct{}
	reading sync.RWMutex
	closed  bool

	workers sync.WaitGroup // committer, syncer, indexer, learnNames
	stuck   atomic.Bool    // in Pebble, which cannot be closed

	sweeping     sync.Mutex    // held by who changes how far a shard is swept
	sweepingRuns sync.Mutex    // held by who sweeps runs, which takes longer
	backingUp    chan struct{} // has one element while a backup is made
}

var _ interface {
	leat.Log
	leat.Submitter
	leat.Trimmer
	leat.Splitter
	leat.Importer
	leat.Scanner
	leat.Limiter
} = (*Log)(nil)

// Create makes a log in a directory, which is made if need be and must be empty
// otherwise: the error is fs.ErrExist when it is not. A log that Create was
// interrupted in making does not exist, and Create may be called again.
func Create(dir string, c leat.Config, o Options) (*Log, error) {
	o = o.withDefaults()
	info, shards, err := c.New(o.Clock())
	if err != nil {
		return nil, fmt.Errorf("create log in %s: %w", dir, err)
	}
	found, err := exists(o.FS, dir)
	if err == nil && !found {
		err = makeDir(o.FS, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("create log in %s: %w", dir, err)
	}
	f := newFuse(o.Logger)
	s, err := openStore(dir, o, f, createStore)
	if err != nil {
		return nil, err
	}
	if err := s.initialise(info, shards); err != nil {
		return nil, errors.Join(fmt.Errorf("create log in %s: %w", dir, err), s.close())
	}
	return start(dir, s, o, f)
}

// Open opens the log in a directory, and finishes what a crash interrupted. The
// error is leat.ErrNotFound when there is no log, leat.ErrUnsupported when its
// format is a later one, leat.ErrCorrupt when it is damaged, and names the
// process that has it open when there is one.
func Open(dir string, o Options) (*Log, error) {
	o = o.withDefaults()
	f := newFuse(o.Logger)
	s, err := openExisting(dir, o, f, writeStore)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return start(dir, s, o, f)
}

// start recovers the log in a store and begins to take appends. It closes the
// store when it fails.
func start(dir string, s *store, o Options, f *fuse) (*Log, error) {
	if err := s.upgrade(o); err != nil {
		return nil, errors.Join(fmt.Errorf("bring the log in %s to version %s of the format: %w", dir, formatVersion, err), s.close())
	}
	l, err := open(dir, s, o, f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open log in %s: %w", dir, err), s.close())
	}
	return l, nil
}

// open recovers the log in a store of this format.
func open(dir string, s *store, o Options, f *fuse) (_ *Log, err error) {
	info, err := s.readInfo()
	if err != nil {
		return nil, err
	}
	files := newBlockFiles(dir, o, f)
	defer func() {
		if err != nil {
			err = errors.Join(err, files.close())
		}
	}()
	x := newIndex(s.DB, o.GenerationEvents, o.CacheBytes/8)
	ix := &indexer{store: s, index: x}
	r, err := s.newReplay(ix.addBlock)
	if err != nil {
		return nil, err
	}
	if err := ix.replay(files, r); err != nil {
		return nil, err
	}
	if err := s.endEpoch(&info, r.tails, o); err != nil {
		return nil, err
	}
	l := &Log{
		dir: dir, info: info, o: o, fuse: f, store: s, files: files, index: x,
		queue: newQueue(), closing: make(chan struct{}), blocks: newBlockCache(o.CacheBytes / 2),
		backingUp: make(chan struct{}, 1),
	}
	generations := make(chan *sealed, maxSealed)
	c := &committer{
		files: files, index: x, sealed: generations, clock: o.Clock, latest: &l.latest, single: info.Single,
		space:  &space{fs: o.FS, dir: dir, reserve: o.ReserveBytes},
		shards: r.tails,
	}
	for _, t := range r.tails {
		l.latest.Store(max(l.latest.Load(), t.lastAt))
	}
	c.setRoutes()
	v, _ := c.publish()
	l.view.Store(v)
	if err := l.sweep(context.Background()); errors.Is(err, leat.ErrCorrupt) {
		o.Logger.Warn("what is trimmed stays on the disk", "dir", dir, "error", err)
	} else if err != nil {
		return nil, err
	}
	// One group may wait for its sync while the next is built, and no more:
	// more would only make groups smaller.
	synced := make(chan *group)
	l.workers.Go(func() { l.commit(c, synced) })
	l.workers.Go(func() { l.sync(synced) })
	l.workers.Go(l.learnNames)
	l.workers.Go(func() { l.indexAll(ix, generations) })
	return l, nil
}

// Close finishes what was handed to Append, ends waiting readers with
// leat.ErrClosed, and lets others open the directory. When the storage failed
// while the log was open, it returns ErrStopped; if the store then cannot be
// closed either, the directory stays locked until the process ends. Closing
// twice does nothing.
func (l *Log) Close() error {
	l.queue.close()
	l.finish()
	l.reading.Lock()
	defer l.reading.Unlock()
	if l.closed {
		return nil
	}
	if !l.stuck.Load() {
		_ = l.store.flush() // a failure blows the fuse, which is asked below
	}
	l.closed = true
	close(l.closing)
	if l.stuck.Load() {
		return fmt.Errorf("close log in %s: %w", l.dir, l.fuse.err())
	}
	var err error
	if l.fuse.err() == nil {
		err = l.files.prove()
	}
	err = errors.Join(err, l.files.close(), l.store.close())
	if stopped := l.fuse.err(); stopped != nil {
		err = stopped
	}
	if err != nil {
		return fmt.Errorf("close log in %s: %w", l.dir, err)
	}
	return nil
}

// closePatience is how long Close waits for a store that does not finish what
// it was given: one that waits for space on the disk, or for a flush that can no
// longer happen. What it acknowledged is safe in its blocks.
const closePatience = 10 * time.Second

// stoppedPatience is how long it waits for the store of a log that has stopped.
const stoppedPatience = time.Second

// finish waits until the workers are done.
func (l *Log) finish() {
	done := make(chan struct{})
	go func() {
		l.workers.Wait()
		close(done)
	}()
	patience := closePatience
	if l.fuse.err() != nil {
		patience = stoppedPatience
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		l.stuck.Store(true)
		l.fuse.blow(fmt.Errorf("the store did not finish within %v of closing the log", patience))
	}
}

// read begins the use of the store by a reader. Unless there is an error, call
// l.reading.RUnlock after it.
func (l *Log) read(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.reading.RLock()
	if l.closed {
		l.reading.RUnlock()
		return l.errClosed()
	}
	return nil
}

func (l *Log) errClosed() error { return fmt.Errorf("log in %s: %w", l.dir, leat.ErrClosed) }

// Info implements leat.Log.
func (l *Log) Info(ctx context.Context) (leat.Info, error) {
	if err := l.read(ctx); err != nil {
		return leat.Info{}, err
	}
	defer l.reading.RUnlock()
	return cloneInfo(l.info), nil
}

// Shards implements leat.Log.
func (l *Log) Shards(ctx context.Context) ([]leat.Shard, error) {
	if err := l.read(ctx); err != nil {
		return nil, err
	}
	defer l.reading.RUnlock()
	v := l.view.Load()
	shards := make([]leat.Shard, len(v.shards))
	for i, s := range v.shards {
		shards[i] = cloneShard(s.Shard)
	}
	return shards, nil
}

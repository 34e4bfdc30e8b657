package keep

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

// A store is an [archive.Store] that is opened when it is first needed, and
// tried again when that failed, so that a server can start while its archive
// cannot be reached. It counts what is asked of it.
type store struct {
	url  string
	open func(context.Context) (archive.Store, error)

	opening chan struct{} // holds one token: who takes it may open

	mu      sync.Mutex
	opened  archive.Store // nil until it was opened
	failure error         // why it could not be opened
	until   time.Time     // when that may be tried again
	calls   map[string]callStats
	waiting map[uint64]time.Time // since when the calls under way are waiting
	last    uint64               // call
}

// callStats count the calls of one kind.
type callStats struct{ made, failed uint64 }

// openPause is how long a store is not opened again that could not be.
const openPause = 2 * time.Second

func newStore(url string, open func(context.Context) (archive.Store, error)) *store {
	s := &store{url: url, open: open, opening: make(chan struct{}, 1), calls: make(map[string]callStats), waiting: make(map[uint64]time.Time)}
	for _, kind := range []string{"create", "get", "get_range", "size", "list", "remove"} {
		s.calls[kind] = callStats{}
	}
	s.opening <- struct{}{}
	return s
}

// String returns the URL of the store.
func (s *store) String() string { return s.url }

// ready returns the opened store.
func (s *store) ready(ctx context.Context) (archive.Store, error) {
	if opened, err := s.known(); opened != nil || err != nil {
		return opened, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.opening:
	}
	defer func() { s.opening <- struct{}{} }()
	if opened, err := s.known(); opened != nil || err != nil {
		return opened, err
	}
	opened, err := s.open(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.opened = opened
	} else if ctx.Err() == nil {
		s.failure, s.until = err, time.Now().Add(openPause)
	}
	return opened, err
}

// known returns the store if it is open, and why it is not if that was tried
// just now.
func (s *store) known() (archive.Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened == nil && time.Now().Before(s.until) {
		return nil, s.failure
	}
	return s.opened, nil
}

// call makes and counts a call.
func (s *store) call(ctx context.Context, kind string, do func(archive.Store) error) error {
	s.mu.Lock()
	s.last++
	id := s.last
	s.waiting[id] = time.Now()
	s.mu.Unlock()

	opened, err := s.ready(ctx)
	if err == nil {
		err = do(opened)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, id)
	stats := s.calls[kind]
	stats.made++
	if err != nil && ctx.Err() == nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
		stats.failed++
	}
	s.calls[kind] = stats
	if errors.Is(err, leat.ErrDenied) && s.opened == opened {
		s.opened = nil // it may have been opened for reading only
	}
	return err
}

// stats returns the counts by kind of call, how many calls are under way, and how
// long the longest of these has waited.
func (s *store) stats() (calls map[string]callStats, waiting int, longest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) > 0 {
		longest = time.Since(slices.MinFunc(slices.Collect(maps.Values(s.waiting)), time.Time.Compare))
	}
	return maps.Clone(s.calls), len(s.waiting), longest
}

// current returns the store if it is open, nil otherwise.
func (s *store) current() archive.Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened
}

// Create implements [archive.Store].
func (s *store) Create(ctx context.Context, name string, data []byte) error {
	return s.call(ctx, "create", func(to archive.Store) error { return to.Create(ctx, name, data) })
}

// Get implements [archive.Store].
func (s *store) Get(ctx context.Context, name string) (data []byte, err error) {
	err = s.call(ctx, "get", func(from archive.Store) error {
		data, err = from.Get(ctx, name)
		return err
	})
	return data, err
}

// GetRange implements [archive.Store].
func (s *store) GetRange(ctx context.Context, name string, offset, n int64) (data []byte, err error) {
	err = s.call(ctx, "get_range", func(from archive.Store) error {
		data, err = from.GetRange(ctx, name, offset, n)
		return err
	})
	return data, err
}

// Size implements [archive.Store].
func (s *store) Size(ctx context.Context, name string) (size int64, err error) {
	err = s.call(ctx, "size", func(of archive.Store) error {
		size, err = of.Size(ctx, name)
		return err
	})
	return size, err
}

// Remove implements [archive.Store].
func (s *store) Remove(ctx context.Context, name string) error {
	return s.call(ctx, "remove", func(from archive.Store) error { return from.Remove(ctx, name) })
}

// List implements [archive.Store].
func (s *store) List(ctx context.Context, folder, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		enough := false
		err := s.call(ctx, "list", func(of archive.Store) error {
			for name, err := range of.List(ctx, folder, after) {
				if err != nil {
					return err
				}
				if enough = !yield(name, nil); enough {
					return nil
				}
			}
			return nil
		})
		if err != nil {
			yield("", err)
		}
	}
}

package bench

import (
	"context"
	"iter"
	"sync/atomic"

	"github.com/leathq/leat/archive"
)

// A CountingStore counts what is read from a store.
type CountingStore struct {
	archive.Store
	Calls atomic.Uint64 // of Get, GetRange, Size and List
	Bytes atomic.Uint64 // of objects
}

func (s *CountingStore) count(data []byte) {
	s.Calls.Add(1)
	s.Bytes.Add(uint64(len(data)))
}

// Get implements archive.Store.
func (s *CountingStore) Get(ctx context.Context, name string) ([]byte, error) {
	data, err := s.Store.Get(ctx, name)
	s.count(data)
	return data, err
}

// GetRange implements archive.Store.
func (s *CountingStore) GetRange(ctx context.Context, name string, offset, n int64) ([]byte, error) {
	data, err := s.Store.GetRange(ctx, name, offset, n)
	s.count(data)
	return data, err
}

// Size implements archive.Store.
func (s *CountingStore) Size(ctx context.Context, name string) (int64, error) {
	s.count(nil)
	return s.Store.Size(ctx, name)
}

// List implements archive.Store.
func (s *CountingStore) List(ctx context.Context, folder, after string) iter.Seq2[string, error] {
	s.count(nil)
	return s.Store.List(ctx, folder, after)
}

package archive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/leathq/leat/archive"
)

// A memoryStore is a Store in memory that can be made to fail. A call that
// fails may have had its effect.
type memoryStore struct {
	mu      sync.Mutex
	objects map[string][]byte
	calls   int
	fail    func(call int) (before, after error)
}

func newMemoryStore() *memoryStore { return &memoryStore{objects: make(map[string][]byte)} }

// call does f as the next call, unless it is to fail before.
func (s *memoryStore) call(ctx context.Context, name string, f func() error) error {
	if err := archive.CheckName(name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	var before, after error
	if s.fail != nil {
		before, after = s.fail(s.calls)
	}
	if err := errors.Join(before, ctx.Err()); err != nil {
		return err
	}
	return errors.Join(f(), after)
}

func (s *memoryStore) Create(ctx context.Context, name string, data []byte) error {
	return s.call(ctx, name, func() error {
		if s.objects[name] != nil {
			return fmt.Errorf("create %s: %w", name, fs.ErrExist)
		}
		s.objects[name] = append([]byte{}, data...) // not nil
		return nil
	})
}

func (s *memoryStore) Get(ctx context.Context, name string) ([]byte, error) {
	var data []byte
	err := s.call(ctx, name, func() error {
		if data = bytes.Clone(s.objects[name]); data == nil {
			return fmt.Errorf("get %s: %w", name, fs.ErrNotExist)
		}
		return nil
	})
	return data, err
}

func (s *memoryStore) GetRange(ctx context.Context, name string, offset, n int64) ([]byte, error) {
	if err := archive.CheckRange(offset, n); err != nil {
		return nil, err
	}
	data, err := s.Get(ctx, name)
	if err == nil && n > int64(len(data))-offset {
		err = fmt.Errorf("get %d bytes at %d of %s: %w", n, offset, name, io.ErrUnexpectedEOF)
	}
	if err != nil {
		return nil, err
	}
	return data[offset : offset+n], nil
}

func (s *memoryStore) Size(ctx context.Context, name string) (int64, error) {
	data, err := s.Get(ctx, name)
	return int64(len(data)), err
}

func (s *memoryStore) Remove(ctx context.Context, name string) error {
	return s.call(ctx, name, func() error {
		delete(s.objects, name)
		return nil
	})
}

func (s *memoryStore) List(ctx context.Context, folder, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var names []string
		err := s.call(ctx, strings.TrimSuffix("root/"+folder, "/"), func() error {
			for object := range s.objects {
				rest, ok := strings.CutPrefix(object, folder)
				if !ok {
					continue
				}
				if i := strings.Index(rest, "/"); i >= 0 {
					rest = rest[:i+1]
				}
				names = append(names, rest)
			}
			return nil
		})
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			if name > after && !yield(name, nil) {
				return
			}
		}
		if err != nil {
			yield("", err)
		}
	}
}

// set changes an object behind everyone's back; nil removes it.
func (s *memoryStore) set(name string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if data == nil {
		delete(s.objects, name)
		return
	}
	s.objects[name] = data
}

// A countingStore counts what is read, as a bucket counts it: a list is a request
// for each thousand names.
type countingStore struct {
	archive.Store
	gets, bytes atomic.Int64
	requests    atomic.Int64 // gets and all others
}

func (s *countingStore) Get(ctx context.Context, name string) ([]byte, error) {
	data, err := s.Store.Get(ctx, name)
	s.requests.Add(1)
	s.gets.Add(1)
	s.bytes.Add(int64(len(data)))
	return data, err
}

func (s *countingStore) GetRange(ctx context.Context, name string, offset, n int64) ([]byte, error) {
	s.requests.Add(1)
	s.gets.Add(1)
	s.bytes.Add(n)
	return s.Store.GetRange(ctx, name, offset, n)
}

func (s *countingStore) Create(ctx context.Context, name string, data []byte) error {
	s.requests.Add(1)
	return s.Store.Create(ctx, name, data)
}

func (s *countingStore) Size(ctx context.Context, name string) (int64, error) {
	s.requests.Add(1)
	return s.Store.Size(ctx, name)
}

func (s *countingStore) List(ctx context.Context, folder, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		s.requests.Add(1)
		names := 0
		for name, err := range s.Store.List(ctx, folder, after) {
			if names > 0 && names%1000 == 0 {
				s.requests.Add(1)
			}
			if names++; !yield(name, err) {
				return
			}
		}
	}
}

package archivetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/leathq/leat/archive"
)

// TestMutants shows that the suite can fail: each of these stores breaks one
// promise, and the check named must notice.
func TestMutants(t *testing.T) {
	for name, m := range map[string]struct {
		noticed string
		broken  func(archive.Store) archive.Store
	}{
		"replaces objects":          {"an object never changes", func(s archive.Store) archive.Store { return replacing{s} }},
		"tells two that they won":   {"one of many creates an object", func(s archive.Store) archive.Store { return flattering{s} }},
		"looks and then writes":     {"one of many creates an object", func(s archive.Store) archive.Store { return racing{s} }},
		"keeps what it is given":    {"and is the caller's", func(s archive.Store) archive.Store { return &keeping{Store: s} }},
		"gives what it keeps":       {"and is the caller's", func(s archive.Store) archive.Store { return &sharing{Store: s} }},
		"ends lines its own way":    {"an object is read as it was written", func(s archive.Store) archive.Store { return texting{s} }},
		"takes no empty objects":    {"of any size", func(s archive.Store) archive.Store { return hungry{s} }},
		"reads a plus as a space":   {"under any name an archive has", func(s archive.Store) archive.Store { return decoding{s} }},
		"gives what there is":       {"ranges", func(s archive.Store) archive.Store { return shortening{s} }},
		"misses the last byte":      {"ranges", func(s archive.Store) archive.Store { return missing{s} }},
		"finds what is not there":   {"what is not there", func(s archive.Store) archive.Store { return inventing{s} }},
		"takes any name":            {"names outside of the store", func(s archive.Store) archive.Store { return cleaning{s} }},
		"lists folders as objects":  {"a folder lists what is directly in it", func(s archive.Store) archive.Store { return flat{s} }},
		"lists as words":            {"in the order of bytes", func(s archive.Store) archive.Store { return wordy{s} }},
		"lists from a name on":      {"after a name", func(s archive.Store) archive.Store { return including{s} }},
		"lists one page":            {"thousands of objects", func(s archive.Store) archive.Store { return brief{s} }},
		"removes nothing":           {"removed", func(s archive.Store) archive.Store { return hoarding{s} }},
		"misses what it is to drop": {"removed", func(s archive.Store) archive.Store { return pedantic{s} }},
		"does not end":              {"an ended context", func(s archive.Store) archive.Store { return undying{s} }},
	} {
		t.Run(name, func(t *testing.T) {
			if !fails(t, m.noticed, m.broken) {
				t.Errorf("the check %q did not fail", m.noticed)
			}
			if fails(t, m.noticed, func(s archive.Store) archive.Store { return s }) {
				t.Errorf("the check %q fails on a directory too", m.noticed)
			}
		})
	}
}

// fails reports whether a check fails on a directory made worse.
func fails(t *testing.T, name string, broken func(archive.Store) archive.Store) bool {
	store, err := archive.OpenStore("file://" + t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	store = broken(store)
	i := slices.IndexFunc(checks, func(c struct {
		name   string
		folder string
		run    func(*check)
	}) bool {
		return c.name == name
	})
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		checks[i].run(&check{TB: r, open: func(testing.TB) archive.Store { return store }, store: store, log: "suite"})
	}()
	<-done
	return r.failed
}

// A recorder notes that a check has failed.
type recorder struct {
	testing.TB
	mu     sync.Mutex
	failed bool
}

func (r *recorder) Errorf(string, ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Fatal(args ...any) { r.Fatalf(fmt.Sprint(args...)) }

type replacing struct{ archive.Store }

func (s replacing) Create(ctx context.Context, name string, data []byte) error {
	err := s.Store.Create(ctx, name, data)
	if errors.Is(err, fs.ErrExist) {
		return errors.Join(err, s.Remove(ctx, name), s.Store.Create(ctx, name, data))
	}
	return err
}

type flattering struct{ archive.Store }

func (s flattering) Create(ctx context.Context, name string, data []byte) error {
	err := s.Store.Create(ctx, name, data)
	if errors.Is(err, fs.ErrExist) && len(data)%2 == 0 {
		return nil
	}
	return err
}

type racing struct{ archive.Store }

func (s racing) Create(ctx context.Context, name string, data []byte) error {
	if _, err := s.Size(ctx, name); err == nil {
		return fs.ErrExist
	}
	runtime.Gosched()
	if err := s.Remove(ctx, name); err != nil {
		return err
	}
	return s.Store.Create(ctx, name, data)
}

type keeping struct {
	archive.Store
	data []byte
}

func (s *keeping) Create(ctx context.Context, name string, data []byte) error {
	s.data = data
	return s.Store.Create(ctx, name, data)
}

func (s *keeping) Get(context.Context, string) ([]byte, error) { return bytes.Clone(s.data), nil }

type sharing struct {
	archive.Store
	data []byte
}

func (s *sharing) Get(ctx context.Context, name string) (_ []byte, err error) {
	if s.data == nil {
		s.data, err = s.Store.Get(ctx, name)
	}
	return s.data, err
}

type texting struct{ archive.Store }

func (s texting) Get(ctx context.Context, name string) ([]byte, error) {
	data, err := s.Store.Get(ctx, name)
	return bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")), err
}

type hungry struct{ archive.Store }

func (s hungry) Get(ctx context.Context, name string) ([]byte, error) {
	data, err := s.Store.Get(ctx, name)
	if err == nil && len(data) == 0 {
		err = fs.ErrNotExist
	}
	return data, err
}

type decoding struct{ archive.Store }

func (s decoding) Create(ctx context.Context, name string, data []byte) error {
	return s.Store.Create(ctx, strings.ReplaceAll(name, "+", " "), data)
}

func (s decoding) Get(ctx context.Context, name string) ([]byte, error) {
	return s.Store.Get(ctx, strings.ReplaceAll(name, "+", " "))
}

type shortening struct{ archive.Store }

func (s shortening) GetRange(ctx context.Context, name string, offset, n int64) ([]byte, error) {
	data, err := s.Store.GetRange(ctx, name, offset, n)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return s.Get(ctx, name)
	}
	return data, err
}

type missing struct{ archive.Store }

func (s missing) GetRange(ctx context.Context, name string, offset, n int64) ([]byte, error) {
	if size, err := s.Size(ctx, name); err == nil && n > 1 && offset+n == size {
		n--
	}
	return s.Store.GetRange(ctx, name, offset, n)
}

type inventing struct{ archive.Store }

func (s inventing) Get(ctx context.Context, name string) ([]byte, error) {
	data, err := s.Store.Get(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return data, err
}

type cleaning struct{ archive.Store }

func (s cleaning) Create(ctx context.Context, name string, data []byte) error {
	return s.Store.Create(ctx, path.Clean(name), data)
}

// listed yields what a function makes of all that a folder holds.
func listed(ctx context.Context, s archive.Store, folder, after string, change func([]string) []string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var names []string
		for name, err := range s.List(ctx, folder, after) {
			if err != nil {
				yield("", err)
				return
			}
			names = append(names, name)
		}
		for _, name := range change(names) {
			if !yield(name, nil) {
				return
			}
		}
	}
}

type flat struct{ archive.Store }

func (s flat) List(ctx context.Context, folder, after string) iter.Seq2[string, error] {
	return listed(ctx, s.Store, folder, after, func(names []string) []string {
		for i := range names {
			names[i] = strings.TrimSuffix(names[i], "/")
		}
		return names
	})
}

type wordy struct{ archive.Store }

func (s wordy) List(ctx context.Context, folder, after string) iter.Seq2[string, error] {
	return listed(ctx, s.Store, folder, after, func(names []string) []string {
		slices.SortFunc(names, func(a, b string) int {
			return strings.Compare(strings.TrimSuffix(a, "/"), strings.TrimSuffix(b, "/"))
		})
		return names
	})
}

type including struct{ archive.Store }

func (s including) List(ctx context.Context, folder, after string) iter.Seq2[string, error] {
	return listed(ctx, s.Store, folder, "", func(names []string) []string {
		return slices.DeleteFunc(names, func(name string) bool { return name < after })
	})
}

type brief struct{ archive.Store }

func (s brief) List(ctx context.Context, folder, after string) iter.Seq2[string, error] {
	return listed(ctx, s.Store, folder, after, func(names []string) []string { return names[:min(1000, len(names))] })
}

type hoarding struct{ archive.Store }

func (hoarding) Remove(context.Context, string) error { return nil }

type pedantic struct{ archive.Store }

func (s pedantic) Remove(ctx context.Context, name string) error {
	if _, err := s.Size(ctx, name); err != nil {
		return err
	}
	return s.Store.Remove(ctx, name)
}

type undying struct{ archive.Store }

func (s undying) Size(ctx context.Context, name string) (int64, error) {
	return s.Store.Size(context.WithoutCancel(ctx), name)
}

package rpc_test

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// A safeBuilder keeps what a logger is told.
type safeBuilder struct {
	mu   sync.Mutex
	b    strings.Builder
	told chan struct{} // closed at the next write; nil when nobody waits
}

func (s *safeBuilder) logger() *slog.Logger { return slog.New(slog.NewTextHandler(s, nil)) }

func (s *safeBuilder) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told != nil {
		close(s.told)
		s.told = nil
	}
	return s.b.Write(p)
}

// await waits until the logger was told of something.
func (s *safeBuilder) await(t testing.TB, what string) {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		s.mu.Lock()
		if s.told == nil {
			s.told = make(chan struct{})
		}
		found, told := strings.Contains(s.b.String(), what), s.told
		s.mu.Unlock()
		if found {
			return
		}
		select {
		case <-told:
		case <-limit:
			t.Fatalf("waited in vain for %q", what)
		}
	}
}

func (s *safeBuilder) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

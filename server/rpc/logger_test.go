package rpc_test

import (
	"log/slog"
	"strings"
	"sync"
)

// A safeBuilder keeps what a logger is told.
type safeBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *safeBuilder) logger() *slog.Logger { return slog.New(slog.NewTextHandler(s, nil)) }

func (s *safeBuilder) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuilder) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

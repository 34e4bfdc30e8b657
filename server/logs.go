package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"

	"github.com/leathq/leat"
)

// names of logs are directories too, also where case does not tell files apart.
var logName = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

// CheckName returns an [*leat.InvalidError] unless a log may have this name.
func CheckName(name string) error {
	if logName.MatchString(name) {
		return nil
	}
	if len(name) > 64 {
		name = name[:64] + "…"
	}
	return &leat.InvalidError{Field: "log", Limit: `a name of 1 to 64 characters a-z, 0-9, "-" or "_"`, Got: fmt.Sprintf("%q", name)}
}

// logs are the logs of a data directory. Safe for concurrent use.
type logs struct {
	dir    string
	engine Engine

	making sync.Mutex // held by who makes a log

	mu     sync.RWMutex
	open   map[string]Log
	broken map[string]error // logs that cannot be opened, and why
	closed bool
}

// openLogs opens every log in a directory.
func openLogs(dir string, engine Engine) (*logs, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	l := &logs{dir: dir, engine: engine, open: make(map[string]Log), broken: make(map[string]error)}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.IsDir() || CheckName(e.Name()) != nil {
			continue
		}
		log, err := engine.Open(filepath.Join(dir, e.Name()))
		switch {
		case err == nil:
			l.open[e.Name()] = log
		case errors.Is(err, leat.ErrNotFound): // what is left of a log whose making was interrupted
		default:
			l.broken[e.Name()] = err
		}
	}
	return l, nil
}

// names returns the logs that there are, sorted, those that cannot be opened
// included.
func (l *logs) names() []string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Sorted(func(yield func(string) bool) {
		for name := range l.open {
			if !yield(name) {
				return
			}
		}
		for name := range l.broken {
			if !yield(name) {
				return
			}
		}
	})
}

func (l *logs) get(name string) (Log, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if log, ok := l.open[name]; ok {
		return log, nil
	}
	if l.closed {
		return nil, fmt.Errorf("log %q: %w", name, leat.ErrClosed)
	}
	if err, ok := l.broken[name]; ok {
		return nil, fmt.Errorf("log %q cannot be served: %w", name, err)
	}
	return nil, fmt.Errorf("log %q: %w", name, leat.ErrNotFound)
}

// create makes a log. The error is fs.ErrExist when there is one of that name.
func (l *logs) create(ctx context.Context, name string, c leat.Config) (Log, error) {
	l.making.Lock()
	defer l.making.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	_, err := l.get(name)
	if err == nil {
		return nil, fmt.Errorf("create log %q: there is one of that name: %w", name, fs.ErrExist)
	}
	if !errors.Is(err, leat.ErrNotFound) {
		return nil, err
	}
	log, err := l.engine.Create(filepath.Join(l.dir, name), c)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errors.Join(fmt.Errorf("create log %q: %w", name, leat.ErrClosed), log.Close())
	}
	l.open[name] = log
	return log, nil
}

// all returns the open logs by name.
func (l *logs) all() map[string]Log {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return maps.Clone(l.open)
}

// failed returns the logs that cannot be opened, and why.
func (l *logs) failed() map[string]error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return maps.Clone(l.broken)
}

// close closes all logs, together, since each may take a while.
func (l *logs) close() error {
	l.mu.Lock()
	open := l.open
	l.open, l.closed = nil, true
	l.mu.Unlock()

	var wg sync.WaitGroup
	errs := make([]error, 0, len(open))
	var mu sync.Mutex
	for name, log := range open {
		wg.Go(func() {
			if err := log.Close(); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("log %q: %w", name, err))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

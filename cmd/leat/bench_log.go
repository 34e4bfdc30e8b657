package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
	"github.com/leathq/leat/engine"
	"github.com/leathq/leat/internal/bench"
)

// A benchTarget is where the runs of a benchmark find a log.
type benchTarget struct {
	url        string
	logs       int // how often a run needs the log
	options    engine.Options
	ceilingDir string

	// make says that the directory is empty or not there, so each run makes a
	// log: in the directory, or when separate in one of its own within, which is
	// removed again unless keep.
	make, separate, keep bool
	config               leat.Config
}

// target returns where a log is found that some connect to and others follow.
// Connections are for a server: in a directory all share the one.
func (f benchFlags) target(connections, followers int) (*benchTarget, error) {
	t := &benchTarget{
		url: f.LogURL, logs: connections + followers,
		options: engine.Options{CacheBytes: int64(f.Cache)}, ceilingDir: f.CeilingDir,
	}
	if served(f.LogURL) {
		if t.ceilingDir == "" {
			t.ceilingDir = os.TempDir()
		}
		return t, nil
	}
	dir, err := directory(f.LogURL)
	if err != nil {
		return nil, err
	}
	if connections > 1 {
		return nil, &leat.InvalidError{Field: "--connections", Limit: "1 for a log in a directory", Got: fmt.Sprint(connections)}
	}
	if t.ceilingDir == "" {
		t.ceilingDir = filepath.Dir(filepath.Clean(dir))
	}
	return t, nil
}

// orMake lets the runs make a log when the directory is empty or not there.
func (t *benchTarget) orMake(c leat.Config, runs int, keep bool) error {
	if served(t.url) {
		return nil
	}
	dir, err := directory(t.url)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	t.make, t.separate, t.keep, t.config = len(entries) == 0, runs > 1, keep, c
	return os.MkdirAll(t.ceilingDir, 0o755)
}

// A benchLog is the log of one run.
type benchLog struct {
	url    string
	logs   []leat.Log // as many as the target's connections and followers
	limits leat.Limits
	close  func() error // may be called again

	// stats are those of a log in a directory; nil at a server.
	stats func() engine.Stats

	opening time.Duration // how long it took to open
	resided int64         // bench.PeakBytes when it was open
}

// open opens the log of a run, counted from 1. Remove takes away what the run
// made.
func (t *benchTarget) open(ctx context.Context, run int) (log *benchLog, remove func() error, err error) {
	bench.ForgetMemory() // what runs before this one took
	began := time.Now()
	if log, remove, err = t.openOrMake(ctx, run); err != nil {
		return nil, nil, err
	}
	log.opening, log.resided = time.Since(began), bench.PeakBytes()
	return log, remove, nil
}

func (t *benchTarget) openOrMake(ctx context.Context, run int) (_ *benchLog, remove func() error, err error) {
	nothing := func() error { return nil }
	if served(t.url) {
		l, err := t.dial(ctx)
		return l, nothing, err
	}
	dir, err := directory(t.url)
	if err != nil {
		return nil, nil, err
	}
	if !t.make {
		log, err := engine.Open(dir, t.options)
		if err != nil {
			return nil, nil, err
		}
		return t.inDirectory(t.url, log), nothing, nil
	}
	remove = nothing
	if t.separate {
		parent := dir
		dir = filepath.Join(dir, fmt.Sprintf("run-%d", run))
		if !t.keep {
			remove = func() error {
				err := os.RemoveAll(dir)
				_ = os.Remove(parent) // unless others are in it
				return err
			}
		}
	}
	log, err := engine.Create(dir, t.config, t.options)
	if err != nil {
		return nil, nil, errors.Join(err, remove())
	}
	return t.inDirectory("dir:"+dir, log), remove, nil
}

func (t *benchTarget) inDirectory(url string, log *engine.Log) *benchLog {
	return &benchLog{
		url: url, logs: slices.Repeat([]leat.Log{log}, t.logs), limits: log.Limits(), close: log.Close, stats: log.Stats,
	}
}

func (t *benchTarget) dial(ctx context.Context) (*benchLog, error) {
	var dialed []*client.Log
	l := &benchLog{url: t.url}
	l.close = func() (err error) {
		for _, log := range dialed {
			err = errors.Join(err, log.Close())
		}
		dialed = nil
		return err
	}
	for range t.logs {
		log, err := client.Dial(ctx, t.url, client.Options{})
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		dialed = append(dialed, log)
		l.logs = append(l.logs, log)
		l.limits = log.Limits()
	}
	return l, nil
}

// told returns the log's figures, where it tells any.
func (l *benchLog) told() *engine.Stats {
	if l.stats == nil {
		return nil
	}
	s := l.stats()
	return &s
}

// engineLimits are those of every log in a directory, known before one is made.
var engineLimits = (*engine.Log)(nil).Limits()

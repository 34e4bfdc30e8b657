package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/leathq/leat/internal/bench"
)

// ceilingName is what the ceiling is called among the systems.
const ceilingName = "ceiling"

// options say what is compared.
type options struct {
	systems []string // names; compared in the order of the list of systems
	loads   []load
	runs    int
	each    bounds // of each load
	events  int    // that reads are measured on; none when 0
	dir     string // on the disk to measure

	ceilingTime time.Duration // that the ceiling writes
}

// A comparison is one run of this program.
type comparison struct {
	options
	progress io.Writer // told of every figure as it comes
	report   report
}

func newComparison(o options, progress io.Writer) *comparison {
	c := &comparison{options: o, progress: progress, report: newReport(o.loads)}
	for _, s := range systems {
		if slices.Contains(o.systems, s.name) {
			c.report.Systems = append(c.report.Systems, &outcome{system: s, System: s.name, Title: s.title, Reached: s.reached})
		}
	}
	return c
}

// run compares. What a system fails at is in the report; the error is that
// nothing can be compared at all, or that ctx ended.
func (c *comparison) run(ctx context.Context) error {
	for run := range c.runs {
		for _, l := range c.loads {
			if err := c.appends(ctx, run, l); err != nil {
				return err
			}
		}
	}
	if c.events == 0 {
		return nil
	}
	for _, o := range c.report.Systems {
		if err := c.attempt(ctx, o, "reads", func(s store) error { return c.reads(ctx, o, s) }); err != nil {
			return err
		}
	}
	return nil
}

// appends runs one load against each system. The ceiling comes after Leat,
// with groups as large as Leat's were.
func (c *comparison) appends(ctx context.Context, run int, l load) error {
	group := l.unaided()
	measureCeiling := slices.Contains(c.systems, ceilingName)
	for _, o := range c.report.Systems {
		if measureCeiling && o.System != "leat" {
			measureCeiling = false
			if err := c.ceiling(ctx, run, l, group); err != nil {
				return err
			}
		}
		err := c.attempt(ctx, o, l.name, func(s store) error {
			m, heads, err := l.run(ctx, s, c.each)
			if err != nil {
				return err
			}
			c.say("run %d of %d  %-7s %-12s %12s events/s", run+1, c.runs, l.name, o.System, count(m.rate()))
			if leat, ok := s.(*embeddedLeat); ok {
				stats := leat.engine.Stats()
				group = bench.Grouping{Groups: stats.Groups, Events: stats.Recorded, Bytes: stats.Bytes}
			}
			found, err := l.verify(ctx, s, heads)
			if err != nil {
				return err
			}
			o.add(l, m)
			o.Checks = o.Checks.and(found)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if measureCeiling {
		return c.ceiling(ctx, run, l, group)
	}
	return nil
}

// unaided is how large the groups of a load are when all producers' appends go
// together: what the ceiling takes when Leat is not compared.
func (l load) unaided() bench.Grouping {
	e := newEvent(streamName(0, 0), l.bytes)
	n := l.producers * l.batch
	return bench.Grouping{Groups: 1, Events: uint64(n), Bytes: uint64(n * e.Size())}
}

// ceiling measures what the disk can do with nothing above it.
func (c *comparison) ceiling(ctx context.Context, run int, l load, g bench.Grouping) error {
	return c.inDirectory(func(dir string) error {
		ceiling, err := bench.WriteCeiling(ctx, dir, g, c.ceilingTime)
		if err != nil {
			return err
		}
		m := &measured{events: uint64(ceiling.Events), elapsed: ceiling.Elapsed, latency: &ceiling.Latency}
		c.report.Ceiling.add(l, m)
		c.say("run %d of %d  %-7s %-12s %12s events/s, groups of %d events and %d bytes",
			run+1, c.runs, l.name, ceilingName, count(m.rate()), g.Events/g.Groups, g.Bytes/g.Groups)
		return nil
	})
}

// attempt opens an empty system, does something with it and closes it. What
// fails is noted in the outcome, and that system is not tried again; the error
// is that ctx ended or that there is no room to work in.
func (c *comparison) attempt(ctx context.Context, o *outcome, what string, do func(store) error) error {
	if o.Missing != "" || o.Failed != "" {
		return nil
	}
	return c.inDirectory(func(dir string) error {
		err := use(ctx, o, dir, do)
		var missing errMissing
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &missing):
			o.Missing = missing.install
			c.say("%s: %v", o.System, missing)
		case err != nil:
			o.Failed = fmt.Sprintf("%s: %v", what, err)
			c.say("%s: %s", o.System, o.Failed)
		}
		return nil
	})
}

func use(ctx context.Context, o *outcome, dir string, do func(store) error) (err error) {
	s, err := o.open(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	o.Version = s.version()
	return do(s)
}

// inDirectory gives do an empty directory that is removed afterwards. What
// others left to be written is on the disk before.
func (c *comparison) inDirectory(do func(dir string) error) (err error) {
	dir, err := os.MkdirTemp(c.dir, "leat-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil { // PostgreSQL runs as another user
		return err
	}
	syscall.Sync()
	return do(dir)
}

// reads fills a system and reads from it.
func (c *comparison) reads(ctx context.Context, o *outcome, s store) error {
	start := time.Now()
	streams, err := fill(ctx, s, c.events)
	if err != nil {
		return err
	}
	c.say("reads  %-12s filled in %v", o.System, time.Since(start).Round(100*time.Millisecond))
	events := streams * streamLength
	versions, _, err := readBack(ctx, s, fillBytes) // which also warms the caches
	if err != nil {
		return err
	}
	if len(versions) != streams {
		return fmt.Errorf("there are %d streams, want %d", len(versions), streams)
	}
	o.Reads = &readOutcome{Events: events}
	for run := range c.runs {
		rate, err := replayAll(ctx, s.replay, events)
		if err != nil {
			return err
		}
		o.Reads.Replay = append(o.Reads.Replay, rate)
		c.say("run %d of %d  replay  %-12s %12s events/s", run+1, c.runs, o.System, count(rate))
		if lender, ok := s.(lender); ok {
			if rate, err = replayAll(ctx, lender.replayLent, events); err != nil {
				return err
			}
			o.Reads.Lent = append(o.Reads.Lent, rate)
			c.say("run %d of %d  lent    %-12s %12s events/s", run+1, c.runs, o.System, count(rate))
		}
		for i, goroutines := range readers {
			rate, err := loadStreams(ctx, s, streams, goroutines, uint64(run), c.each)
			if err != nil {
				return err
			}
			if run == 0 {
				o.Reads.Load = append(o.Reads.Load, loadOutcome{Goroutines: goroutines})
			}
			o.Reads.Load[i].StreamsPerSecond = append(o.Reads.Load[i].StreamsPerSecond, rate)
			c.say("run %d of %d  load    %-12s %12s streams/s on %d", run+1, c.runs, o.System, count(rate), goroutines)
		}
	}
	return nil
}

func (c *comparison) say(format string, args ...any) {
	fmt.Fprintf(c.progress, format+"\n", args...)
}

// onDisk returns an error when a directory is in memory, where a sync says
// nothing.
func onDisk(dir string) error {
	const tmpfs, ramfs = 0x01021994, 0x858458f6
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if s.Type == tmpfs || s.Type == ramfs {
		return fmt.Errorf("%s is in memory, where durable says nothing: choose a directory on a disk with --dir", filepath.Clean(dir))
	}
	return nil
}

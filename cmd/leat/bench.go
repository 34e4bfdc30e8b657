package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/bench"
)

type benchCmd struct {
	Append  benchAppendCmd  `cmd:"" help:"Append events as fast as the log takes them."`
	Follow  benchFollowCmd  `cmd:"" help:"Append events, and see how soon followers have them."`
	Replay  benchReplayCmd  `cmd:"" help:"Read a log from its start to its head."`
	Load    benchLoadCmd    `cmd:"" help:"Read whole streams, chosen at random."`
	Archive benchArchiveCmd `cmd:"" help:"Archive a log, read the archive and restore it."`
}

func (benchCmd) Help() string {
	return `
Each measures a log of yours, in a directory or at a server, and in the same run the ceiling: what the same machine does
at best with the same bytes. A rate depends on the machine and on who else uses it; its ratio to the ceiling much less.

	$ leat bench append --log dir:/data/bench --producers 256 --events 1M
	$ leat bench replay --log dir:/data/bench
	$ leat bench archive --log dir:/data/bench
`
}

// benchFlags are those of all benchmarks.
type benchFlags struct {
	logFlag
	Cache       byteSize      `placeholder:"SIZE" help:"The engine's cache for a log in a directory, such as 512MiB; the engine's default when left out."`
	CeilingDir  string        `type:"existingdir" placeholder:"DIR" help:"Where to measure the ceiling; beside the log when that is in a directory, else where temporary files are."`
	CeilingTime time.Duration `default:"1s" help:"How long to measure the ceiling, each time."`
	CPUProfile  string        `name:"cpuprofile" type:"path" placeholder:"FILE" help:"Write a CPU profile of the measured part (the last one)."`
	MemProfile  string        `name:"memprofile" type:"path" placeholder:"FILE" help:"Write a profile of allocations after the measured part (the last one)."`
	JSON        bool          `help:"Print one JSON object: the median run, with all runs in it."`
}

func (f benchFlags) check() error {
	if f.CeilingTime <= 0 {
		return &leat.InvalidError{Field: "--ceiling-time", Limit: "above 0s", Got: f.CeilingTime.String()}
	}
	if f.Cache < 0 {
		return &leat.InvalidError{Field: "--cache", Limit: "0 bytes or more", Got: strconv.FormatInt(int64(f.Cache), 10)}
	}
	if f.Cache > 0 && served(f.LogURL) {
		return &leat.InvalidError{Field: "--cache", Limit: "left out for a log at a server, which has a cache of its own"}
	}
	return nil
}

// repeats says how often to measure.
type repeats struct {
	Runs int `default:"1" help:"Measure so often and tell the median."`
}

const mostRuns = 1000

func (r repeats) check() error { return within("--runs", r.Runs, 1, mostRuns) }

// within returns an error unless the value of a flag is from least to most.
func within(flag string, value, least, most int) error {
	if value < least || value > most {
		return &leat.InvalidError{Field: flag, Limit: fmt.Sprintf("%d to %d", least, most), Got: strconv.Itoa(value)}
	}
	return nil
}

// extent says when a run ends.
type extent struct {
	Duration time.Duration `placeholder:"TIME" help:"End a run after this long; 10s when nothing else ends it."`
}

const defaultDuration = 10 * time.Second

// of returns when a run ends that may also end after a number of events or
// streams.
func (e extent) of(units count) (uint64, time.Duration) {
	if e.Duration == 0 && units == 0 {
		return 0, defaultDuration
	}
	return uint64(units), e.Duration
}

func (e extent) check(flag string, units count) error {
	if e.Duration < 0 {
		return &leat.InvalidError{Field: "--duration", Limit: "0s (no end) or more", Got: e.Duration.String()}
	}
	if units < 0 {
		return &leat.InvalidError{Field: flag, Limit: "0 (no end) or more", Got: strconv.FormatInt(int64(units), 10)}
	}
	return nil
}

// A count is a number such as 500, 10k or 1M on the command line.
type count int64

func (n *count) UnmarshalText(text []byte) error {
	v, err := bench.ParseCount(string(text))
	if err != nil {
		return errors.New("must be a whole number such as 500, 10k or 1M, got " + strconv.Quote(string(text)))
	}
	*n = count(v)
	return nil
}

// A byteSize is a number of bytes such as 256 or 64MiB on the command line.
type byteSize int64

func (n *byteSize) UnmarshalText(text []byte) error {
	v, err := bench.ParseBytes(string(text))
	if err != nil {
		return errors.New("must be a number of bytes such as 256, 64KiB or 1GB, got " + strconv.Quote(string(text)))
	}
	*n = byteSize(v)
	return nil
}

// measured runs do, the part that counts, with the profiles that were asked for.
func (f benchFlags) measured(do func() error) (err error) {
	runtime.GC() // what came before is not paid for here
	if f.CPUProfile != "" {
		file, err := os.Create(f.CPUProfile)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if err := do(); err != nil || f.MemProfile == "" {
		return err
	}
	file, err := os.Create(f.MemProfile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return pprof.Lookup("allocs").WriteTo(file, 0)
}

// watch shows on a terminal how work gets on, and how fast just now, until stop
// is called.
func watch(c console, title string, done func() uint64) (stop func()) {
	const every = 250 * time.Millisecond
	if terminalWidth(c.err) == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer fmt.Fprint(c.err, "\r\x1b[K")
		tick := time.NewTicker(every)
		defer tick.Stop()
		var before uint64
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				n := done()
				fmt.Fprintf(c.err, "\r%s: %s, %s/s\x1b[K", title, thousands(float64(n)), thousands(float64(n-before)/every.Seconds()))
				before = n
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/bench"
	"github.com/leathq/leat/leattest"
	"go.uber.org/goleak"
)

// TestMain lets this binary be the servers that a comparison starts from its
// own.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == serveCommand {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		err := serve(ctx, os.Args[2:])
		stop()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	// A moment after it connects, rueidis looks whether the server is still the
	// one to write to, also when it was closed meanwhile.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}

// workDir is a temporary directory that other users reach, as PostgreSQL needs.
func workDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "leat-bench-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// short is a comparison of a few hundred events.
func short(t *testing.T, names ...string) options {
	return options{
		systems: names, runs: 2, events: 200, dir: workDir(t), ceilingTime: time.Millisecond,
		each: bounds{time: time.Minute, events: 400},
		loads: []load{
			{"single", "single", 8, 1, 256, true},
			{"batch", "batch", 2, 50, 256, false},
		},
	}
}

func TestEverySystem(t *testing.T) {
	for _, s := range systems {
		t.Run(s.name, func(t *testing.T) {
			c := newComparison(short(t, s.name, ceilingName), io.Discard)
			if err := c.run(t.Context()); err != nil {
				t.Fatal(err)
			}
			o := c.report.Systems[0]
			if o.Missing != "" {
				t.Skipf("%s is not installed: %s", s.title, o.Missing)
			}
			if o.Failed != "" {
				t.Fatal(o.Failed)
			}
			for _, outcome := range []*outcome{o, &c.report.Ceiling} {
				for _, l := range c.loads {
					if runs := outcome.of(l); len(runs) != 2 || runs[0].EventsPerSecond <= 0 {
						t.Errorf("%s has %+v of load %s, want 2 runs that did something", outcome.System, runs, l.name)
					}
				}
			}
			for _, a := range o.Appends {
				if a.Events != 400 {
					t.Errorf("%+v: want 400 events, the bound", a)
				}
			}
			if o.Reads == nil || len(o.Reads.Replay) != 2 || len(o.Reads.Load) != len(readers) {
				t.Errorf("reads: got %+v, want 2 runs on each of %v goroutines", o.Reads, readers)
			}
			if left, err := os.ReadDir(c.dir); err != nil || len(left) > 0 {
				t.Errorf("left behind in the directory: %v, %v", left, err)
			}
		})
	}
}

// What each system is said to refuse in docs/performance.md.
func TestRefusals(t *testing.T) {
	refuses := map[string]checks{
		"leat":        {RefusesAhead: true, RefusesKnownID: true},
		"leat-server": {RefusesAhead: true, RefusesKnownID: true},
		"postgres":    {RefusesAhead: false, RefusesKnownID: true},
		"nats":        {RefusesAhead: true, RefusesKnownID: true},
		"redis":       {RefusesAhead: true, RefusesKnownID: false},
		"sqlite":      {RefusesAhead: false, RefusesKnownID: true},
	}
	for _, s := range systems {
		t.Run(s.name, func(t *testing.T) {
			o := short(t, s.name)
			o.events, o.runs = 0, 1
			c := newComparison(o, io.Discard)
			if err := c.run(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := c.report.Systems[0]
			if got.Missing != "" {
				t.Skipf("%s is not installed: %s", s.title, got.Missing)
			}
			if got.Checks == nil || *got.Checks != refuses[s.name] {
				t.Errorf("got %+v (%s), want %+v", got.Checks, got.Failed, refuses[s.name])
			}
		})
	}
}

func TestCancelledRunLeavesNothing(t *testing.T) {
	for _, s := range systems {
		t.Run(s.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			told := writerFunc(func([]byte) { cancel() }) // at the first figure, the server still runs
			c := newComparison(short(t, s.name), told)
			err := c.run(ctx)
			if c.report.Systems[0].Missing != "" {
				t.Skipf("%s is not installed: %s", s.title, c.report.Systems[0].Missing)
			}
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want that it was cancelled", err)
			}
			if left, err := os.ReadDir(c.dir); err != nil || len(left) > 0 {
				t.Errorf("left behind in the directory: %v, %v", left, err)
			}
		})
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) { f(b); return len(b), nil }

// A faulty store does one thing wrong.
type faulty struct {
	*leatStore
	appended func(at head, events []leat.Event) head // where events are appended instead
	replayed func(r *leat.Recorded) bool             // false drops the event
}

func (f *faulty) append(ctx context.Context, at head, events []leat.Event) (head, error) {
	if f.appended != nil {
		at = f.appended(at, events)
	}
	return f.leatStore.append(ctx, at, events)
}

func (f *faulty) replay(ctx context.Context, visit visitor) error {
	return f.leatStore.replay(ctx, func(r *leat.Recorded) error {
		if f.replayed != nil && !f.replayed(r) {
			return nil
		}
		return visit(r)
	})
}

func TestVerifyFindsWhatIsWrong(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault func(*faulty)
		want  string // in the error; none when empty
	}{
		{"nothing", func(*faulty) {}, ""},
		{"a stream is lost", func(f *faulty) {
			f.replayed = func(r *leat.Recorded) bool { return r.Stream != streamName(0, 3) }
		}, "there are 8 streams, want 9"},
		{"an end is lost", func(f *faulty) {
			f.replayed = func(r *leat.Recorded) bool { return r.Stream != streamName(0, 8) || r.Version < 2 }
		}, "that were acknowledged"},
		{"a hole", func(f *faulty) {
			f.replayed = func(r *leat.Recorded) bool { return r.Stream != streamName(0, 8) || r.Version != 1 }
		}, "has version 2 where 1 should be"},
		{"other data", func(f *faulty) {
			f.replayed = func(r *leat.Recorded) bool { r.Data = r.Data[1:]; return true }
		}, "not as it was submitted"},
		{"other meta", func(f *faulty) {
			f.replayed = func(r *leat.Recorded) bool { r.Meta = r.Meta[1:]; return true }
		}, "not as it was submitted"},
		{"no version check", func(f *faulty) {
			f.appended = func(_ head, events []leat.Event) head {
				var actual head
				_ = f.load(t.Context(), events[0].Stream, func(*leat.Recorded) error { actual.version++; return nil })
				return actual
			}
		}, "want a conflict"},
	} {
		t.Run(test.name, func(t *testing.T) {
			log, err := leattest.New(leat.Config{}, time.Now)
			if err != nil {
				t.Fatal(err)
			}
			f := &faulty{leatStore: &leatStore{Log: log}}
			l := load{"single", "", 1, 1, 256, true} // 9 streams, the last of which gets two events
			_, heads, err := l.run(t.Context(), f.leatStore, bounds{time.Minute, 10})
			if err != nil {
				t.Fatal(err)
			}
			test.fault(f)
			_, err = l.verify(t.Context(), f, heads)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestWhatIsMissingSaysHowToGetIt(t *testing.T) {
	t.Setenv("PATH", "")
	c := newComparison(short(t, "redis"), io.Discard)
	if err := c.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := printTables(table.text)(&out, &c.report); err != nil {
		t.Fatal(err)
	}
	if want := "not installed: apt-get install redis-server"; !strings.Contains(out.String(), want) {
		t.Errorf("the report is %q, want %q in it", out.String(), want)
	}
}

func TestEncoding(t *testing.T) {
	e := newEvent("order-1", 256)
	b := encode(nil, &e, 7)
	var r leat.Recorded
	if err := decode(&r, b); err != nil {
		t.Fatal(err)
	}
	if r.Version != 7 || r.ID != e.ID || r.Stream != e.Stream || !r.Time.Equal(e.Time) || !bytes.Equal(r.Data, e.Data) || !slices.Equal(r.Meta, e.Meta) {
		t.Errorf("got %+v, want version 7 of %+v", r, e)
	}
	for n := range b {
		if err := decode(&r, b[:n]); !errors.Is(err, errEncoding) {
			t.Errorf("decode the first %d of %d bytes: got %v, want %v", n, len(b), err, errEncoding)
		}
	}
}

func TestReport(t *testing.T) {
	l := load{"single", "one", 1, 1, 256, true}
	r := newReport([]load{l})
	o := &outcome{System: "x", Title: "X", Version: "1", Reached: "in process", Checks: &checks{RefusesAhead: true}}
	for i, rate := range []uint64{3000, 1000, 2000} {
		m := &measured{events: rate, elapsed: time.Second, latency: new(bench.Histogram)}
		m.latency.Add(time.Millisecond, 1)
		o.add(l, m)
		m.events = []uint64{4000, 4000, 8000}[i]
		r.Ceiling.add(l, m)
	}
	o.Reads = &readOutcome{Events: 1000, Replay: []float64{1, 3, 2}, Lent: []float64{7}, Load: []loadOutcome{{1, []float64{10}}, {4, []float64{20, 40}}}}
	r.Systems = []*outcome{o, {System: "y", Title: "Y", Missing: "apt-get install y"}}
	var out bytes.Buffer
	if err := printTables(table.markdown)(&out, &r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| Ceiling | 4,000 | 4,000 – 8,000 | 1 | 1.000 | 1.01 | 1.01 | 4,000 |",
		"| X 1 | 2,000 | 1,000 – 3,000 | 1 | 0.250 | 1.01 | 1.01 | 2,000 |",
		"| X 1 | 2 | 1 – 3 | 7 | 10 | 30 |",
		"| X 1 | in process | all as acknowledged | refused | refused | taken |",
		"| Y | not installed: apt-get install y |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report is\n%s\nwant in it %s", out.String(), want)
		}
	}
}

func TestArguments(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string // in the error; none when empty
	}{
		{nil, ""},
		{[]string{"--systems", "leat,ceiling", "--runs", "1", "--json"}, ""},
		{[]string{"--systems", "mysql"}, `"mysql" is none of ceiling, leat,`},
		{[]string{"--runs", "0"}, "--runs is 1 or more"},
		{[]string{"--for", "0s"}, "--for above 0"},
		{[]string{"--most", "1"}, "at least 4000 events"},
		{[]string{"leat"}, `what is "leat"?`},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			_, _, err := parse(test.args, io.Discard)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestDirectoryInMemoryIsRefused(t *testing.T) {
	const memory = "/dev/shm"
	if _, err := os.Stat(memory); err != nil {
		t.Skipf("there is no %s on this machine", memory)
	}
	if err := onDisk(memory); err == nil || !strings.Contains(err.Error(), "--dir") {
		t.Errorf("got %v, want an error that says what to do", err)
	}
}

//go:build unix

package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
	"github.com/leathq/leat/internal/proxy"
)

// A longer campaign, or one again:
//
//	go test ./cmd/leat -run TestFleetOfProcesses -timeout 0 -v -args -happenings 500 -seed 4711
var happenings = flag.Int("happenings", 16, "what happens to the workers of TestFleetOfProcesses, in number")

// Processes share the 16 shards of a log at a server. They join, end, are killed,
// and stopped (SIGSTOP) until others have their leases, then go on (SIGCONT); shards
// are split, the server is killed, and events arrive. Each is applied once, in
// order, and handled by a reactor, never before one that is in front of it.
func TestFleetOfProcesses(t *testing.T) {
	seed := *fireSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	f := newProcessFleet(t, rand.New(rand.NewPCG(seed, 0)))
	for range 3 {
		f.join()
	}
	for range *happenings {
		f.append()
		f.happen()
	}
	f.append()
	f.settle()
	f.end()
	f.check()
	t.Logf("%d events, %v", f.each*fleetStreams, f.happened)
}

const fleetStreams = 40

type processFleet struct {
	*testing.T
	rng      *rand.Rand
	dir      string // of the workers
	data     string // of the server
	server   *process
	proxy    *proxy.Proxy // to the server, wherever it listens
	url      string
	log      *client.Log
	each     int // events in each stream
	names    int
	workers  []*fleetWorker
	happened map[string]int
}

type fleetWorker struct {
	*child
	name string
}

func newProcessFleet(t *testing.T, rng *rand.Rand) *processFleet {
	f := &processFleet{T: t, rng: rng, dir: t.TempDir(), data: t.TempDir(), happened: make(map[string]int)}
	f.proxy = proxy.New(t, "tcp", "")
	f.serve()
	f.url = f.server.url + "/history"
	ok(t, "", "log", "create", f.url, "--shards", "16")
	log, err := client.Dial(t.Context(), f.url, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f.log = log
	t.Cleanup(func() { _ = log.Close() })
	return f
}

func (f *processFleet) serve() {
	f.Helper()
	f.server = serveBehind(f.T, f.proxy, f.data)
}

// append appends the same number of events to every stream.
func (f *processFleet) append() {
	f.Helper()
	n := 1 + f.rng.IntN(20)
	var pending []leat.Pending
	for i := range fleetStreams {
		events := make([]leat.Event, n)
		for j := range events {
			events[j] = leat.Event{ID: fmt.Sprint(f.each + j), Stream: fmt.Sprintf("s-%d", i), Type: "Received", Source: "test", Data: []byte("{}")}
		}
		pending = append(pending, leat.Submit(f.Context(), f.log, events))
	}
	for _, p := range pending {
		if _, err := p.Wait(); err != nil {
			f.Fatal(err)
		}
	}
	f.each += n
}

// happen does something to the fleet, the log or the server.
func (f *processFleet) happen() {
	f.Helper()
	what := []string{"join", "join", "end", "kill", "kill", "stop", "stop", "stop", "split", "split", "server"}[f.rng.IntN(11)]
	if len(f.workers) == 0 || what == "join" && len(f.workers) >= 5 {
		what = "join"
	}
	f.happened[what]++
	switch what {
	case "join":
		f.join()
	case "end":
		f.take().term(f.T)
	case "kill":
		w := f.take()
		w.kill()
		f.waitGone(w)
	case "stop":
		f.pause(f.workers[f.rng.IntN(len(f.workers))])
	case "split":
		f.split()
	case "server":
		_ = f.server.Process.Kill()
		_ = f.server.Wait()
		f.serve()
	}
}

func (f *processFleet) join() {
	f.Helper()
	f.names++
	name := fmt.Sprintf("worker%d", f.names)
	cmd := exec.CommandContext(context.WithoutCancel(f.Context()), os.Args[0]) //nolint:gosec // this test
	cmd.Env = append(os.Environ(), workerEnv+"="+strings.Join([]string{name, f.url, f.dir}, " "))
	c, err := startChild(cmd)
	if err != nil {
		f.Fatal(err)
	}
	w := &fleetWorker{c, name}
	f.Cleanup(w.kill)
	f.workers = append(f.workers, w)
	f.wait(w.name+" to start", func() bool { return strings.Contains(w.said.String(), "started") })
}

func (f *processFleet) take() *fleetWorker {
	i := f.rng.IntN(len(f.workers))
	w := f.workers[i]
	f.workers = append(f.workers[:i:i], f.workers[i+1:]...)
	return w
}

// pause stops a worker until its leases are gone, lets something else happen, and
// lets it go on.
func (f *processFleet) pause(w *fleetWorker) {
	f.Helper()
	f.signal(w, syscall.SIGSTOP)
	f.waitGone(w)
	f.append()
	if f.rng.IntN(2) == 0 {
		f.split()
	}
	f.signal(w, syscall.SIGCONT)
}

func (f *processFleet) signal(w *fleetWorker, s os.Signal) {
	f.Helper()
	if err := w.Process.Signal(s); err != nil {
		f.Fatalf("%s has ended: %v\n%s", w.name, err, w.said.String())
	}
}

func (f *processFleet) split() {
	f.Helper()
	shards, err := f.log.Shards(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	s := shards[f.rng.IntN(len(shards))]
	if s.Closed || len(shards) > 60 {
		return
	}
	if _, err := f.log.Split(f.Context(), s.ID, s.Middle()); err != nil {
		f.Fatal(err)
	}
}

// waitGone waits until a worker holds nothing any more, and is nobody's fellow.
func (f *processFleet) waitGone(w *fleetWorker) {
	f.Helper()
	f.wait(w.name+" to lose its leases", func() bool {
		for _, app := range []string{"history", "reactor"} {
			fleet, err := f.log.Fleet(f.Context(), app)
			if err != nil {
				f.Fatal(err)
			}
			for _, m := range fleet.Members {
				if strings.HasPrefix(m.Owner, w.name+"/") {
					return false
				}
			}
			for _, l := range fleet.Leases {
				if strings.HasPrefix(l.Owner, w.name+"/") {
					return false
				}
			}
		}
		return true
	})
}

// settle waits until everything is handled, and the shards are shared evenly.
func (f *processFleet) settle() {
	f.Helper()
	if len(f.workers) == 0 {
		f.join()
	}
	db, err := openHistory(f.Context(), f.dir)
	if err != nil {
		f.Fatal(err)
	}
	defer db.Close()
	f.wait("all events to be applied", func() bool {
		var n int
		if err := db.QueryRowContext(f.Context(), "select count(*) from applied").Scan(&n); err != nil {
			f.Fatal(err)
		}
		return n >= f.each*fleetStreams
	})
	f.wait("all events to be handled by the reactor", func() bool {
		for _, v := range f.reacted() {
			if v < f.each {
				return false
			}
		}
		return f.each == 0 || len(f.reacted()) == fleetStreams
	})
	f.wait("the shards to be shared evenly", f.even)
}

func (f *processFleet) even() bool {
	shards, err := f.log.Shards(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	open := 0
	for _, s := range shards {
		if !s.Closed {
			open++
		}
	}
	for _, app := range []string{"history", "reactor"} {
		fleet, err := f.log.Fleet(f.Context(), app)
		if err != nil {
			f.Fatal(err)
		}
		held := make(map[string]int)
		for _, l := range fleet.Leases {
			held[l.Owner]++
		}
		if len(fleet.Members) != len(f.workers) || len(fleet.Leases) != open {
			return false
		}
		for _, m := range fleet.Members {
			if held[m.Owner] != fleet.Share(m.Owner, open) {
				return false
			}
		}
	}
	return true
}

// wait waits until something holds, looking again and again.
func (f *processFleet) wait(what string, holds func() bool) {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), 2*time.Minute)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-again.C:
		case <-ctx.Done():
			for _, w := range f.workers {
				f.Logf("%s said:\n%s", w.name, w.said.String())
			}
			f.Fatalf("waited in vain for %s", what)
		}
	}
}

func (f *processFleet) end() {
	f.Helper()
	for len(f.workers) > 0 {
		f.take().term(f.T)
	}
}

// reacted returns the highest version of each stream that the reactor is done
// with. None may be done before the one in front of it.
func (f *processFleet) reacted() map[string]int {
	f.Helper()
	text, err := os.ReadFile(filepath.Clean(reactedFile(f.dir)))
	if err != nil && !os.IsNotExist(err) {
		f.Fatal(err)
	}
	last := make(map[string]int)
	for line := range strings.Lines(string(text)) {
		var stream string
		var version int
		if _, err := fmt.Sscan(line, &stream, &version); err != nil {
			f.Fatalf("the reactor wrote %q", line)
		}
		if version > last[stream]+1 {
			f.Errorf("the reactor was done with version %d of %s when %d was the last", version, stream, last[stream])
		}
		last[stream] = max(last[stream], version)
	}
	return last
}

// check checks that each event was applied once and in order.
func (f *processFleet) check() {
	f.Helper()
	db, err := openHistory(f.Context(), f.dir)
	if err != nil {
		f.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(f.Context(), "select stream, version from applied order by number")
	if err != nil {
		f.Fatal(err)
	}
	defer rows.Close()
	last := make(map[string]int)
	for rows.Next() {
		var stream string
		var version int
		if err := rows.Scan(&stream, &version); err != nil {
			f.Fatal(err)
		}
		if version != last[stream]+1 {
			f.Errorf("version %d of %s was applied after version %d", version, stream, last[stream])
		}
		last[stream] = version
	}
	if err := rows.Err(); err != nil {
		f.Fatal(err)
	}
	for i := range fleetStreams {
		if s := fmt.Sprintf("s-%d", i); last[s] != f.each {
			f.Errorf("%s was applied up to version %d of %d", s, last[s], f.each)
		}
	}
	var parked int
	if err := db.QueryRowContext(f.Context(), "select count(*) from leat_parked").Scan(&parked); err != nil {
		f.Fatal(err)
	}
	if parked != 0 {
		f.Errorf("%d events are parked", parked)
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// benched runs a bench command line with --json and returns what it printed.
func benched(t *testing.T, args ...string) benchResult {
	t.Helper()
	out := ok(t, "", append([]string{"bench"}, append(args, "--json", "--ceiling-time", "1ms")...)...)
	var r benchResult
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("bench %s: %v in\n%s", strings.Join(args, " "), err, out)
	}
	var keys map[string]any
	if err := json.Unmarshal([]byte(out), &keys); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{
		"events_per_second", "mb_per_second", "p50_us", "p99_us", "p999_us", "cpu_ns_per_event", "allocs_per_event",
		"ceiling_events_per_second", "ceiling_ratio", "events", "seconds", "peak_rss_mb",
	} {
		if v, ok := keys[key].(float64); !ok || math.IsNaN(v) || v < 0 {
			t.Errorf("bench %s: %s is %v, want a number", strings.Join(args, " "), key, keys[key])
		}
	}
	if want := r.EventsPerSecond / r.Ceiling; math.Abs(r.CeilingRatio-want) > 1e-3*want || want == 0 {
		t.Errorf("the ratio is %v, want %v/%v = %v", r.CeilingRatio, r.EventsPerSecond, r.Ceiling, want)
	}
	if want := float64(r.Events) / r.Seconds; math.Abs(r.EventsPerSecond-want) > 1 {
		t.Errorf("%v events/s, want %d/%v = %v", r.EventsPerSecond, r.Events, r.Seconds, want)
	}
	return r
}

// heldBy returns how many events a log holds.
func heldBy(t *testing.T, url string) (n uint64) {
	t.Helper()
	var shown struct {
		Shards []struct {
			Head uint64 `json:"head"`
		} `json:"shards"`
	}
	if err := json.Unmarshal([]byte(ok(t, "", "log", "show", "--json", url)), &shown); err != nil {
		t.Fatal(err)
	}
	for _, s := range shown.Shards {
		n += s.Head
	}
	return n
}

func TestBench(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "log")
	url := "dir:" + dir
	r := benched(t, "append", "--log", url, "--events", "2k", "--producers", "4", "--batch", "9", "--streams", "50", "--shards", "2", "--sources", "5")
	if r.Command != "append" || r.Producers != 4 || r.Batch != 9 || r.Streams != "50" || r.Size != 256 || r.IDs != "uuidv7" || !r.Conditions {
		t.Errorf("the run is described as %+v", *r.AppendResult)
	}
	if r.Events+r.WarmupEvents != 2000 || r.Groups == 0 || !r.GroupsTold || math.Abs(r.EventsPerGroup*float64(r.Groups)-float64(r.Events)) > 1 {
		t.Errorf("%d events and %d to warm up in %d groups of %v, want 2,000 in all", r.Events, r.WarmupEvents, r.Groups, r.EventsPerGroup)
	}
	if held := heldBy(t, url); held != 2000 {
		t.Errorf("the log holds %d events, want 2000", held)
	}

	r = benched(t, "replay", "--log", url, "--rounds", "3")
	if r.Events != 2000 || len(r.Runs) != 3 || r.Runs[0].Events != 2000 || r.API != "read" {
		t.Errorf("replay read %d events in %d rounds by %s, want 2000 in 3 by read", r.Events, len(r.Runs), r.API)
	}
	var parts uint64
	for _, shard := range []string{"shardId-000000000000", "shardId-000000000001"} {
		parts += benched(t, "replay", "--log", url, "--rounds", "1", "--shard", shard, "--limit", "10").Events
	}
	if parts != 2000 {
		t.Errorf("the shards have %d events, want 2000", parts)
	}

	r = benched(t, "load", "--log", url, "--loads", "300", "--goroutines", "2", "--runs", "2")
	if r.Calls != 300 || r.Among == 0 || r.Among > 50 || r.Events < 300 || len(r.Runs) != 2 {
		t.Errorf("%d loads of %d streams gave %d events, in %d runs", r.Calls, r.Among, r.Events, len(r.Runs))
	}
	if r = benched(t, "load", "--log", url, "--duration", "5ms", "--among", "1"); r.Among != 1 || r.Calls == 0 {
		t.Errorf("%d loads of %d streams", r.Calls, r.Among)
	}

	r = benched(t, "follow", "--log", url, "--events", "500", "--followers", "2", "--producers", "2")
	if r.Events+r.WarmupEvents != 500 || r.Followers != 2 || r.Append.P50 == 0 || r.Made.P50 == 0 || r.AppendsPerSecond == 0 {
		t.Errorf("%d events seen and %d to warm up, %+v; want 500 in all and latencies", r.Events, r.WarmupEvents, *r.FollowResult)
	}
	if held := heldBy(t, url); held != 2500 {
		t.Errorf("the log holds %d events, want 2500", held)
	}
	ok(t, "", "doctor", url)
	if left, err := filepath.Glob(filepath.Join(dir, "..", ".leat-*")); err != nil || len(left) > 0 {
		t.Errorf("the ceilings left %v, %v", left, err)
	}
}

// Several runs have a log each, which go away unless they are to stay.
func TestBenchRuns(t *testing.T) {
	parent := t.TempDir()
	for _, c := range []struct {
		args []string
		left []string
	}{
		{[]string{"--runs", "3"}, nil},
		{[]string{"--runs", "2", "--keep"}, []string{"bench", "bench/run-1", "bench/run-2"}},
	} {
		url := "dir:" + filepath.Join(parent, "bench")
		r := benched(t, append([]string{"append", "--log", url, "--events", "50", "--ids", "uuidv4", "--no-conditions"}, c.args...)...)
		if r.Conditions || r.IDs != "uuidv4" || len(r.Runs) < 2 || r.Runs[0].Log == r.Runs[1].Log {
			t.Errorf("%v: described as %+v, with %d runs", c.args, *r.AppendResult, len(r.Runs))
		}
		found := false
		for _, run := range r.Runs {
			found = found || run.EventsPerSecond == r.EventsPerSecond
		}
		if !found {
			t.Errorf("%v: the median, %v, is none of the runs", c.args, r.EventsPerSecond)
		}
		var left []string
		for _, pattern := range []string{"*", "*/*"} {
			paths, err := filepath.Glob(filepath.Join(parent, pattern))
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range paths {
				name, err := filepath.Rel(parent, p)
				if err != nil {
					t.Fatal(err)
				}
				left = append(left, filepath.ToSlash(name))
			}
		}
		if fmt.Sprint(left) != fmt.Sprint(c.left) {
			t.Errorf("%v: left behind %v, want %v", c.args, left, c.left)
		}
	}
	for _, run := range []string{"run-1", "run-2"} {
		if held := heldBy(t, "dir:"+filepath.Join(parent, "bench", run)); held != 50 {
			t.Errorf("%s holds %d events, want 50", run, held)
		}
	}
}

func TestBenchAtServer(t *testing.T) {
	p := serve(t, freePorts(t.TempDir())...)
	url := p.url + "/bench"
	ok(t, "", "log", "create", url)
	r := benched(t, "append", "--log", url, "--events", "3k", "--producers", "2", "--pipeline", "50", "--connections", "2", "--streams", "one", "--ids", "text")
	if r.Events+r.WarmupEvents != 3000 || r.GroupsTold || r.EventsPerGroup > 100 {
		t.Errorf("%d events and %d to warm up, in groups of %v, told: %v; want 3000, estimated at 100 at most", r.Events, r.WarmupEvents, r.EventsPerGroup, r.GroupsTold)
	}
	if r = benched(t, "replay", "--log", url, "--rounds", "1"); r.Events != 3000 {
		t.Errorf("replay read %d events, want 3000", r.Events)
	}
	if r = benched(t, "load", "--log", url, "--loads", "10"); r.Calls != 10 {
		t.Errorf("%d loads, want 10", r.Calls)
	}
	if r = benched(t, "follow", "--log", url, "--events", "200", "--followers", "2"); r.Events+r.WarmupEvents != 200 {
		t.Errorf("%d events seen and %d to warm up, want 200 in all", r.Events, r.WarmupEvents)
	}
	p.term(t)
}

func TestBenchPrints(t *testing.T) {
	url := "dir:" + filepath.Join(t.TempDir(), "log")
	profiles := t.TempDir()
	cpu, mem := filepath.Join(profiles, "cpu"), filepath.Join(profiles, "mem")
	for _, c := range []struct {
		args []string
		want []string
	}{
		{
			[]string{"append", "--events", "500", "--cpuprofile", cpu, "--memprofile", mem},
			[]string{"EVENTS/S", "CEILING/S", "RATIO", "8 producers, 1 in flight each, 1 events an append, 256 B of data", "streams new, IDs uuidv7, conditions on"},
		},
		{[]string{"replay"}, []string{"median", "best", "all shards: 500 events", "MB resident"}},
		{[]string{"load", "--loads", "20"}, []string{"STREAMS/S", "20 of 500 streams"}},
		{[]string{"follow", "--events", "100", "--runs", "2"}, []string{"APPEND P50", "1 followers", "from made to seen"}},
	} {
		code, out, errOut := leatCmd(t, "", append(append([]string{"bench"}, c.args...), "--log", url, "--ceiling-time", "1ms")...)
		if code != 0 || errOut != "" {
			t.Fatalf("bench %v: exit %d, and where there is no terminal it said %q", c.args, code, errOut)
		}
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("bench %v printed no %q:\n%s", c.args, want, out)
			}
		}
	}
	for _, profile := range []string{cpu, mem} {
		if info, err := os.Stat(profile); err != nil || info.Size() == 0 {
			t.Errorf("profile %s: %v", profile, err)
		}
	}
}

// What is wrong is told by the name of its flag, with its limits, and no log is
// made.
func TestBenchRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	for args, want := range map[string]string{
		"append --producers 0":                    "--producers: must be 1 to ",
		"append --pipeline 0":                     "--pipeline: must be 1 to ",
		"append --producers 1k":                   "--producers",
		"append --producers 1000 --pipeline 1000": "--producers times --pipeline: must be 1 to ",
		"append --batch 10001":                    "--batch: must be 1 to 10000, got 10001",
		"append --size 11MiB":                     "--size: must be 0 to ",
		"append --size 1.5":                       "--size",
		"append --batch 10000 --size 10KiB":       "--batch times --size and the other fields: must be 0 to 33554432",
		"append --streams many":                   `--streams: must be new, one or a number from 1 to `,
		"append --streams 0":                      `--streams: must be new, one or a number from 1 to `,
		"append --streams 7":                      "--streams: must be at least 8 ",
		"append --ids guid":                       `--ids must be one of "uuidv7","uuidv4","text"`,
		"append --sources 0":                      "--sources: must be 1 to ",
		"append --rate=-1":                        "--rate: must be events per second",
		"append --events=-1":                      "--events: must be 0 (no end) or more, got -1",
		"append --events many":                    "--events: must be a whole number such as 500, 10k or 1M",
		"append --duration=-1s":                   "--duration: must be 0s (no end) or more",
		"append --warmup=-1s":                     "--warmup: must be 0s (none) or more",
		"append --shards 0":                       "--shards: must be 1 to 1024, got 0",
		"append --runs 0":                         "--runs: must be 1 to 1000, got 0",
		"append --cache=-1":                       "--cache: must be 0 bytes or more",
		"append --ceiling-time 0s":                "--ceiling-time: must be above 0s",
		"append --connections 9":                  "--connections: must be 1 to 8, got 9",
		"append --connections 2":                  "--connections: must be 1 for a log in a directory",
		"append --cache 1GB --log leat://a:1/b":   "--cache: must be left out",
		"follow --followers 0":                    "--followers: must be 1 to 1000, got 0",
		"follow --batch 0":                        "--batch: must be 1 to 10000, got 0",
		"replay":                                  "not found",
		"replay --rounds 0":                       "--rounds: must be 1 to 1000, got 0",
		"replay --limit=-1":                       "--limit: must be 0 to ",
		"replay --api push":                       `--api must be one of "read","scan"`,
		"load --goroutines 0":                     "--goroutines: must be 1 to ",
		"load --among=-1":                         "--among: must be 0 to ",
		"load --loads=-1":                         "--loads: must be 0 (no end) or more",
		"load --log nonsense":                     "invalid log URL",
	} {
		t.Run(args, func(t *testing.T) {
			fields := strings.Fields(args)
			if !strings.Contains(args, "--log") {
				fields = append(fields, "--log", "dir:"+dir)
			}
			code, _, errOut := leatCmd(t, "", append([]string{"bench"}, fields...)...)
			if code == 0 || !strings.Contains(errOut, want) {
				t.Errorf("exit %d, said %q, want an error with %q", code, errOut, want)
			}
		})
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s was made", dir)
	}
	empty := "dir:" + filepath.Join(t.TempDir(), "empty")
	ok(t, "", "log", "create", empty)
	if code, _, errOut := leatCmd(t, "", "bench", "load", "--log", empty); code != exitFailed || !strings.Contains(errOut, "no streams to load") {
		t.Errorf("load of an empty log: exit %d, said %q", code, errOut)
	}
}

func TestThousands(t *testing.T) {
	for in, want := range map[float64]string{0: "0", .25: "0.2", 12.34: "12.3", 99: "99", 123.4: "123", 1234567: "1,234,567"} {
		if got := thousands(in); got != want {
			t.Errorf("%v prints as %s, want %s", in, got, want)
		}
	}
}

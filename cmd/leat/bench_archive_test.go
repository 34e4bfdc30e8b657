package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func benchedArchive(t *testing.T, args ...string) (r archiveResult) {
	t.Helper()
	args = append([]string{"bench", "archive", "--json", "--ceiling-time", "1ms"}, args...)
	out := ok(t, "", args...)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v: %v in\n%s", args, err, out)
	}
	for name, m := range map[string]*measured{"archive": r.Archive, "read": r.Read, "verify": r.Verify, "restore": r.Restore} {
		if m == nil || m.Events != r.Events {
			t.Fatalf("%s: %+v, want %d events", name, m, r.Events)
		}
		if want := m.EventsPerSecond / m.Ceiling; want == 0 || math.Abs(m.CeilingRatio-want) > 1e-3*want {
			t.Errorf("%s: the ratio is %v, want %v/%v", name, m.CeilingRatio, m.EventsPerSecond, m.Ceiling)
		}
	}
	return r
}

func TestBenchArchive(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	r := benchedArchive(t, "--log", "dir:"+dir, "--events", "2k", "--producers", "2", "--streams", "40", "--batch", "10", "--loads", "7")
	if r.Events != 2000 || r.Segments != 1 || r.Compression < 1 || r.EventBytes < 256 {
		t.Errorf("archived %d events of %v B in %d segments, %v times smaller", r.Events, r.EventBytes, r.Segments, r.Compression)
	}
	if r.Append == nil || r.Append.Events != 1800 || r.Beside == nil || r.Beside.Events != 1800 || r.BesideResult == nil || r.Both == 0 {
		t.Errorf("appended %+v, beside an archiver %+v, %+v; want 1800 events and 200 to warm up", r.Append, r.Beside, r.BesideResult)
	}
	if r.Load == nil || r.Load.Streams != 7 || r.Load.Events < 1 || r.Load.StoreCalls < 3 || r.Load.P50 == 0 {
		t.Errorf("loaded %+v, want 7 streams", r.Load)
	}
	if held := heldBy(t, "dir:"+dir); held != 2000 {
		t.Errorf("the log holds %d events, want 2000", held)
	}

	again := benchedArchive(t, "--log", "dir:"+dir, "--no-appends")
	if again.Append != nil || again.Beside != nil || again.BesideResult != nil || again.Events != 2000 {
		t.Errorf("a log that is there, without appends: %+v", again)
	}
	out := ok(t, "", "bench", "archive", "--log", "dir:"+dir, "--events", "500", "--ceiling-time", "1ms")
	for _, want := range []string{"EVENTS/S", "append beside an archiver", "restore", "2,000 events of", "times smaller", "appends f", "calls of the store"} {
		if !strings.Contains(out, want) {
			t.Errorf("printed no %q:\n%s", want, out)
		}
	}
	left, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(left) != 1 {
		t.Errorf("left behind %v, %v, want the log alone", left, err)
	}
}

func TestBenchArchiveRefused(t *testing.T) {
	dir := "dir:" + filepath.Join(t.TempDir(), "log")
	for args, want := range map[string]string{
		"--events 10":         "--events: must be 100 to ",
		"--loads 0":           "--loads: must be 1 to ",
		"--batch 0":           "--batch: must be 1 to ",
		"--log leat://a:1/b":  "--log: must be dir:PATH",
		"--ceiling-time 0s":   "--ceiling-time: must be above 0s",
		"--streams 3":         "--streams: must be at least 8 ",
		"--producers nothing": "--producers",
	} {
		fields := strings.Fields(args)
		if !strings.Contains(args, "--log") {
			fields = append(fields, "--log", dir)
		}
		code, _, errOut := leatCmd(t, "", append([]string{"bench", "archive"}, fields...)...)
		if code == 0 || !strings.Contains(errOut, want) {
			t.Errorf("%s: exit %d, said %q, want an error with %q", args, code, errOut, want)
		}
	}
	empty := "dir:" + filepath.Join(t.TempDir(), "empty")
	ok(t, "", "log", "create", empty)
	if code, _, errOut := leatCmd(t, "", "bench", "archive", "--no-appends", "--log", empty); code != exitFailed || !strings.Contains(errOut, "holds no events") {
		t.Errorf("an empty log: exit %d, said %q", code, errOut)
	}
}

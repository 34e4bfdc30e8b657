package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// retain removes from a log what is archived, in a directory and at a server.
func TestRetain(t *testing.T) {
	dir := t.TempDir()
	p := serve(t, freePorts(filepath.Join(dir, "data"))...)
	for name, log := range map[string]string{"directory": "dir:" + filepath.Join(dir, "log"), "server": p.url + "/orders"} {
		t.Run(name, func(t *testing.T) {
			to, key := "file://"+filepath.Join(dir, name), filepath.Join(dir, "key")
			ok(t, "", "log", "create", log, "--id", name)
			for range 6 {
				var lines strings.Builder
				for i := range 50 {
					fmt.Fprintf(&lines, `{"stream":"order-%d","type":"Counted","source":"test","data":"%s"}`+"\n", i%10, strings.Repeat("x", 1000))
				}
				ok(t, lines.String(), "append", "--log", log, "--jsonl", "-")
			}
			archiveNow := func() { // in segments of about 100 events
				ok(t, "", "archive", "run", "--once", "--log", log, "--archive", to, "--key", key, "--segment-size", "100KiB")
			}
			fails(t, "not found", "retain", log, "--archive", to, "--days", "1")
			archiveNow()
			ok(t, "", "append", "--log", log, "late-1", "Counted", "{}")

			if out := ok(t, "", "retain", log, "--archive", to, "--days", "1"); !strings.Contains(out, "removed 0 events") {
				t.Errorf("retain --days 1 printed %s", out)
			}
			dry := ok(t, "", "retain", log, "--archive", to, "--bytes", "250KB", "--dry-run", "--json")
			if out := ok(t, "", "read", "order-0", "--log", log, "--json"); strings.Count(out, "\n") != 30 {
				t.Errorf("after a dry run order-0 has %d events, want all", strings.Count(out, "\n"))
			}
			done := ok(t, "", "retain", log, "--archive", to, "--bytes", "250KB", "--json")
			if want := strings.Replace(dry, `"dry_run":true`, `"dry_run":false`, 1); done != want {
				t.Errorf("retain printed\n%s, the dry run\n%s", done, dry)
			}
			var r retainedJSON
			if err := json.Unmarshal([]byte(done), &r); err != nil {
				t.Fatal(err)
			}
			if r.Log != name || r.Removed < 50 || r.Removed > 150 || r.KeptBytes > 250_000 || r.Kept+r.Removed != 301 || r.Shards[0].Oldest != r.Removed+1 {
				t.Errorf("retain printed %s, want a segment gone", done)
			}
			if code, _, errOut := leatCmd(t, "", "read", "order-0", "--log", log); code != exitFailed || !strings.Contains(errOut, "trimmed") {
				t.Errorf("reading what was removed: exit %d, %s", code, errOut)
			}

			segments, err := filepath.Glob(filepath.Join(dir, name, name, "segments", "*", "*.parquet"))
			if err != nil || len(segments) < 3 {
				t.Fatal(segments, err)
			}
			if err := os.Remove(segments[1]); err != nil {
				t.Fatal(err)
			}
			code, out, errOut := leatCmd(t, "", "retain", log, "--archive", to, "--bytes", "1KB")
			if code != exitFailed || !strings.Contains(errOut, filepath.Base(segments[1])) || !strings.Contains(out, "removed 0 events") {
				t.Errorf("with a segment missing: exit %d\n%s\n%s", code, out, errOut)
			}
		})
	}
	for _, args := range []string{"", "--days 0", "--days=-1", "--bytes 0"} {
		fails(t, "at least one of the two", append([]string{"retain", p.url + "/orders", "--archive", "file://" + dir}, strings.Fields(args)...)...)
	}
	// More days than fit into 64 bits of nanoseconds would be a few minutes.
	fails(t, "a number of days", "retain", p.url+"/orders", "--archive", "file://"+dir, "--days", "213504")
	fails(t, "a number of days", "serve", "--data", dir, "--archive", "file://"+dir, "--retain-days", "213504")
	p.term(t)
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"github.com/leathq/leat"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// leatCmd runs a command line as main does.
func leatCmd(t *testing.T, in string, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, console{strings.NewReader(in), &o, &e})
	return code, o.String(), e.String()
}

// ok runs a command line that has to succeed and returns its output.
func ok(t *testing.T, in string, args ...string) string {
	t.Helper()
	code, out, errOut := leatCmd(t, in, args...)
	if code != 0 {
		t.Fatalf("leat %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errOut)
	}
	return out
}

// newLog makes a log, names it in LEAT_LOG, and returns its URL.
func newLog(t *testing.T, args ...string) string {
	t.Helper()
	url := "dir:" + filepath.Join(t.TempDir(), "log")
	ok(t, "", append([]string{"log", "create", url}, args...)...)
	t.Setenv("LEAT_LOG", url)
	return url
}

func TestAppendAndRead(t *testing.T) {
	newLog(t)
	out := ok(t, "", "append", "order-1", "OrderPlaced", `{"total": 1250}`, "--id", "place-1", "--expect", "new", "--time", "2026-01-31T12:00:00Z")
	if want := "recorded: order-1 version 1, shardId-000000000000 sequence 1\n"; out != want {
		t.Errorf("append printed %q, want %q", out, want)
	}
	out = ok(t, "", "append", "order-1", "OrderPlaced", `{"total": 1250}`, "--id", "place-1", "--expect", "new")
	if want := "recorded before: order-1 version 1, shardId-000000000000 sequence 1\n"; out != want {
		t.Errorf("the same append again printed %q, want %q", out, want)
	}
	ok(t, "\x00\xff", "append", "order-1", "Scanned", "--content-type", "image/png", "--meta", "correlationid=c1")

	out = ok(t, "", "read", "order-1")
	want := "TIME                  STREAM                    VERSION  TYPE                  DATA\n" +
		"2026-01-31T12:00:00Z  order-1                         1  OrderPlaced           {\"total\": 1250}\n"
	if !strings.HasPrefix(out, want) || !strings.Contains(out, "2 bytes of image/png") {
		t.Errorf("read printed\n%swant first\n%s", out, want)
	}
	for args, want := range map[string]string{
		"read order-1 --reverse --limit 1 --json":   `"data_base64":"AP8="`,
		"read --type OrderPlaced --json":            `"version":1`,
		"read --category order --json --since 2h":   `"meta":{"correlationid":"c1"}`,
		"read order-1 --after 1 --json":             `"version":2`,
		"read order-1 --through 1 --json":           `"id":"place-1"`,
		"log show":                                  "events   2",
		"log show --json " + os.Getenv("LEAT_LOG"):  `"head":2`,
		"log show " + os.Getenv("LEAT_LOG"):         "shardId-000000000000",
		"read --from 00000000-0000-7000-8000-0@1 ":  "",
		"read --category invoice":                   "",
		"read --since 2026-01-01T00:00:00Z --json ": `"seq":1`,
	} {
		code, out, errOut := leatCmd(t, "", strings.Fields(args)...)
		if !strings.Contains(out, want) {
			t.Errorf("leat %s: exit %d, want %q in\n%s%s", args, code, want, out, errOut)
		}
	}
}

func TestRefused(t *testing.T) {
	url := newLog(t)
	ok(t, "", "append", "order-1", "OrderPlaced", "{}", "--id", "a")
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, bytes.Repeat([]byte("x"), 11<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	before := ok(t, "", "read", "--json", "--system")
	for _, c := range []struct {
		name string
		in   string
		args []string
		want string
	}{
		{"malformed JSON", "", []string{"append", "order-1", "X", `{"total": }`}, "invalid data: must be JSON"},
		{"empty JSON", "", []string{"append", "order-1", "X"}, "invalid data: must be JSON"},
		{"event too big", string(bytes.Repeat([]byte("x"), 11<<20)), []string{"append", "order-1", "X", "--content-type", "text/plain"}, "events[0].size: must be at most 10485760 bytes"},
		{"stream name too long", "", []string{"append", strings.Repeat("s", 10_000), "X", "{}"}, "events[0].stream: must be 1 to 256 bytes of UTF-8, got 10000 bytes"},
		{"system stream", "", []string{"append", "$x", "X", "{}"}, `does not start with "$"`},
		{"wrong version", "", []string{"append", "order-1", "X", "{}", "--expect", "7"}, `conflict: stream "order-1" is at version 1, expected version 7`},
		{"not new", "", []string{"append", "order-1", "X", "{}", "--expect", "new"}, "expected to be new"},
		{"not there", "", []string{"append", "order-2", "X", "{}", "--expect", "exists"}, "expected to exist"},
		{"not a version", "", []string{"append", "order-1", "X", "{}", "--expect", "one"}, "invalid --expect"},
		{"ID in use", "", []string{"append", "order-1", "Other", "{}", "--id", "a"}, "is in use"},
		{"bad meta key", "", []string{"append", "order-1", "X", "{}", "--meta", "A B=c"}, "events[0].meta: must be keys of"},
		{"bad time", "", []string{"append", "order-1", "X", "{}", "--time", "yesterday"}, "--time"},
		{"no log", "", []string{"read", "--log", "dir:" + t.TempDir()}, "not found"},
		{"bad URL", "", []string{"read", "--log", "file.txt"}, "invalid log URL: must be dir:PATH or leat://HOST:PORT/LOG"},
		{"bad checkpoint", "", []string{"read", "--from", "nonsense"}, "invalid checkpoint"},
		{"another log's checkpoint", "", []string{"read", "--from", "other@1,shardId-000000000000=1"}, "diverged"},
		{"bad since", "", []string{"read", "--since", "noon"}, "invalid --since"},
		{"versions without a stream", "", []string{"read", "--after", "1"}, "need a STREAM"},
		{"created twice", "", []string{"log", "create", url}, "create log in"},
		{"too many shards", "", []string{"log", "create", url + "2", "--shards", "5000"}, "invalid --shards: must be 1 to 1024"},
		{"unknown command", "", []string{"appendix"}, "leat --help"},
		{"nothing to record", "", []string{"append", "order-1"}, "say what to record"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, _, errOut := leatCmd(t, c.in, c.args...)
			if code == 0 || !strings.Contains(errOut, c.want) {
				t.Errorf("exit %d, said %q, want an error with %q", code, errOut, c.want)
			}
		})
	}
	if after := ok(t, "", "read", "--json", "--system"); after != before {
		t.Errorf("the refused commands changed the log\nfrom %s\nto   %s", before, after)
	}
}

func TestLines(t *testing.T) {
	newLog(t, "--shards", "4")
	var in strings.Builder
	for i := range 1200 {
		fmt.Fprintf(&in, `{"stream":"order-%d","type":"Counted","id":"%d","data":{"n":%d}}`+"\n\n", i%7, i, i)
	}
	if out, want := ok(t, in.String(), "append", "--jsonl", "-"), "recorded 1200 events, 0 were recorded before\n"; out != want {
		t.Errorf("printed %q, want %q", out, want)
	}
	fmt.Fprintf(&in, `{"stream":"order-1","type":"Counted","id":"last","data":1}`+"\n")
	if out, want := ok(t, in.String(), "append", "--jsonl", "-"), "recorded 1 events, 1200 were recorded before\n"; out != want {
		t.Errorf("again, with one more, printed %q, want %q", out, want)
	}

	first := ok(t, "", "read", "--json")
	newLog(t)
	ok(t, first, "append", "--jsonl", "-")
	for i := range 7 {
		stream := fmt.Sprintf("order-%d", i)
		if n := strings.Count(first, `"stream":"`+stream+`"`); n != strings.Count(ok(t, "", "read", stream, "--json"), "\n") {
			t.Errorf("the copy of %s does not have %d events", stream, n)
		}
	}
}

func TestLinesRefused(t *testing.T) {
	newLog(t)
	good := `{"stream":"order-1","type":"Placed","data":{}}` + "\n"
	for _, c := range []struct{ name, bad, want string }{
		{"malformed", `{"stream":"order-1",`, "line 3: malformed JSON"},
		{"unknown field", `{"stream":"order-1","type":"X","typo":1}`, `line 3: malformed JSON: json: unknown field "typo"`},
		{"two values", `{"stream":"a","type":"X"} {}`, "line 3: malformed JSON: more than one value"},
		{"no type", `{"stream":"order-1"}`, "line 3: invalid events[0].type"},
		{"both data", `{"stream":"order-1","type":"X","data":1,"data_base64":"AA=="}`, "line 3: invalid data_base64"},
		{"name too long", `{"stream":"` + strings.Repeat("x", 300) + `","type":"X"}`, "line 3: invalid events[0].stream: must be 1 to 256 bytes of UTF-8, got 300 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, _, errOut := leatCmd(t, good+good+c.bad+"\n", "append", "--jsonl", "-")
			if code != exitFailed || !strings.Contains(errOut, c.want) || !strings.Contains(errOut, "nothing was recorded") {
				t.Errorf("exit %d, said %q, want an error with %q", code, errOut, c.want)
			}
		})
	}
	if out := ok(t, "", "read", "--json"); out != "" {
		t.Errorf("recorded in spite of a bad line:\n%s", out)
	}
}

// A canceller ends a context when something is written.
type canceller struct {
	bytes.Buffer
	cancel context.CancelFunc
}

func (c *canceller) Write(p []byte) (int, error) {
	c.cancel()
	return c.Buffer.Write(p)
}

func TestFollow(t *testing.T) {
	newLog(t)
	ok(t, "", "append", "order-1", "OrderPlaced", "{}")
	ok(t, "", "append", "order-1", "OrderConfirmed", "{}")
	ctx, cancel := context.WithCancel(t.Context())
	out, errOut := &canceller{cancel: cancel}, &bytes.Buffer{}
	code := run(ctx, []string{"follow", "--type", "OrderPlaced", "--json"}, console{strings.NewReader(""), out, errOut})
	if code != 0 || strings.Count(out.String(), "\n") != 1 || !strings.Contains(out.String(), `"type":"OrderPlaced"`) {
		t.Fatalf("exit %d, printed %q, want one OrderPlaced", code, out)
	}
	_, from, found := strings.Cut(strings.TrimSpace(errOut.String()), "--from ")
	if !found {
		t.Fatalf("follow ended with %q, want a checkpoint", errOut)
	}
	if out := ok(t, "", "read", "--json", "--from", from); out != "" {
		t.Errorf("there is %s after the checkpoint that follow ended with", out)
	}
}

func TestHelpTeaches(t *testing.T) {
	for _, args := range [][]string{
		{"--help"}, {"append", "--help"}, {"read", "--help"}, {"follow", "--help"}, {"log", "create", "--help"}, {"doctor", "--help"}, {"backup", "--help"}, {"log", "trim", "--help"}, {"retain", "--help"}, {"serve", "--help"},
	} {
		code, out, _ := leatCmd(t, "", args...)
		if code != 0 || !strings.Contains(out, "$ leat ") {
			t.Errorf("leat %s: exit %d, no example in\n%s", strings.Join(args, " "), code, out)
		}
	}
}

func TestTrim(t *testing.T) {
	newLog(t)
	for i := range 10 {
		ok(t, "", "append", fmt.Sprintf("order-%d", i%2), "Counted", "{}")
	}
	shard := string(leat.ShardNumber(0))
	if out := ok(t, "", "log", "trim", "--shard", shard, "--below", "7"); out != shard+" is kept from sequence 7 on\n" {
		t.Errorf("trim said %q", out)
	}
	if code, _, errOut := leatCmd(t, "", "read", "order-0"); code != exitFailed || !strings.Contains(errOut, "trimmed") {
		t.Errorf("reading what is trimmed: exit %d, %q", code, errOut)
	}
	if code, _, errOut := leatCmd(t, "", "log", "trim", "--shard", shard, "--below", "99"); code != exitFailed || !strings.Contains(errOut, "at most 12") {
		t.Errorf("trimming more than there is: exit %d, %q", code, errOut)
	}
}

func TestDoctor(t *testing.T) {
	url := newLog(t, "--shards", "2")
	for i := range 50 {
		ok(t, "", "append", fmt.Sprintf("order-%d", i%5), "Counted", "{}")
	}
	if out := ok(t, "", "doctor"); !strings.HasPrefix(out, "✓ log ") || !strings.Contains(out, " 50 events ") {
		t.Errorf("doctor said %q of a healthy log of 50 events", out)
	}
	if out := ok(t, "", "doctor", "--json"); !strings.Contains(out, `"events":50`) || !strings.Contains(out, `"problems":[]`) {
		t.Errorf("doctor --json said %q of a healthy log of 50 events", out)
	}

	dir := strings.TrimPrefix(url, "dir:")
	files, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tables in %s: %v", dir, err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for i := len(data) / 3; i < len(data)/2; i++ {
			data[i] ^= 0xff
		}
		if err := os.WriteFile(f, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if code, out, errOut := leatCmd(t, "", "doctor"); code != exitFailed {
		t.Errorf("doctor exits %d on a damaged log and says\n%s%s", code, out, errOut)
	}
}

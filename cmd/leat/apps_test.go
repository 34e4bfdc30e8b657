package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
)

func TestApps(t *testing.T) {
	p := serve(t, freePorts(t.TempDir())...)
	url := p.url + "/orders"
	ok(t, "", "log", "create", url)
	t.Setenv("LEAT_LOG", url)
	if got := ok(t, "", "apps"); got != "no application has reported lately\n" {
		t.Errorf("of none: %q", got)
	}

	log, err := client.Dial(t.Context(), url, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	at := time.Now().Add(-2 * time.Hour)
	shard := func(n int, held bool) leat.ShardStatus {
		return leat.ShardStatus{ID: leat.ShardNumber(n), Held: held, Next: 40, Head: 100, Replay: 90, Oldest: at}
	}
	_, err = log.Report(t.Context(), []leat.AppStatus{
		{Name: "stock/v2", Owner: "b/1", Rate: 10, Waiting: 2, LastError: "no\nsuch \x1b[2JSKU", LastAt: at, Shards: []leat.ShardStatus{shard(0, true), shard(1, false)}},
		{Name: "mail", Owner: "b/1", Ended: true},
	}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	_, err = log.Report(t.Context(), []leat.AppStatus{{Name: "stock/v2", Owner: "a/1", Shards: []leat.ShardStatus{shard(0, false), shard(1, true)}}}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}

	got := ok(t, "", "apps")
	for _, want := range []string{
		`(?m)^APPLICATION +WORKER +STATE +SHARDS +LAG +BEHIND +RATE/S +WAITING +ETA +LAST ERROR$`,
		`(?m)^mail +no worker +0 of 1 +0 +0s +0 +0 +-`,
		`(?m)^ +b +ended .* ago +0 +0 +0s`,
		`(?m)^stock/v2 +rebuilding, 100 left +2 of 2 +120 +2h0m +10 +2 +10s +2h0m ago: no such .\[2JSKU$`,
		`(?m)^ +a +running +1 +60 +2h0m +0 +never`,
		`(?m)^ +b +running +1 +60 +2h0m +10 +5s`,
	} {
		if !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	if got := ok(t, "", "apps", "mail", "--json"); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"state":"ended"`) {
		t.Errorf("as JSON: %s", got)
	}
	if got := ok(t, "", "apps", "pause", "stock/v2"); !strings.Contains(got, "stock/v2 is paused; its 2 workers stop") {
		t.Errorf("pause: %s", got)
	}
	if got := ok(t, "", "apps", "stock/v2"); !strings.Contains(got, "paused") {
		t.Errorf("after pause:\n%s", got)
	}
	if got := ok(t, "", "apps", "pause", "later"); !strings.Contains(got, "no worker of that name has reported lately") {
		t.Errorf("pause of one that is not there: %s", got)
	}
	if got := ok(t, "", "apps", "later"); !regexp.MustCompile(`(?m)^later +paused +- +- +- +- +- +-$`).MatchString(got) {
		t.Errorf("of one that nobody has heard of:\n%s", got)
	}
	if got := ok(t, "", "apps", "resume", "stock/v2"); got != "stock/v2 goes on within seconds\n" {
		t.Errorf("resume: %s", got)
	}
	for args, want := range map[string]string{
		"apps nobody":          `application "nobody": not found`,
		"apps --watch":         "needs a terminal",
		"apps --log dir:x":     "one in a directory has none",
		"apps --watch --json":  "can't be used together",
		"apps pause":           "expected",
		"apps --log " + p.url:  "followed by the name of a log",
		"apps pause --log x y": "leat://HOST:PORT/LOG",
	} {
		if code, _, errOut := leatCmd(t, "", strings.Fields(args)...); code == 0 || !strings.Contains(errOut, want) {
			t.Errorf("leat %s: exit %d, said %q, want an error with %q", args, code, errOut, want)
		}
	}
}

package server_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
)

// The commands in docs/http.md run as they stand, and print what it says there;
// … stands for anything.
func TestGuide(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	guide, err := os.ReadFile("../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, t.TempDir())
	ran := 0
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(guide), -1) {
		for _, example := range strings.Split(block[1], "$ ")[1:] {
			command, want, _ := strings.Cut(example, "\n")
			out, _ := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(command, "127.0.0.1:7071", s.HTTP().String())).Output()
			if !matches(want, string(out)) {
				t.Errorf("$ %s\n%s\nwant\n%s", command, out, want)
			}
			ran++
		}
	}
	if ran < 8 {
		t.Errorf("the guide has %d examples, or this test does not find them", ran)
	}
}

func matches(want, got string) bool {
	parts := strings.Split(want, "…")
	for i, p := range parts {
		parts[i] = regexp.QuoteMeta(p)
	}
	return regexp.MustCompile("(?s)^" + strings.Join(parts, ".*") + "$").MatchString(got)
}

// An operator finds each metric of applications in the page about operations.
func TestAppMetricsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, t.TempDir())
	status := leat.AppStatus{Name: "stock", Owner: "a/1", Shards: []leat.ShardStatus{{ID: leat.ShardNumber(0)}}}
	if _, err := s.create(t, "orders").Report(t.Context(), []leat.AppStatus{status}, time.Minute); err != nil {
		t.Fatal(err)
	}
	_, body := s.get(t, "/metrics")
	names := regexp.MustCompile(`(?m)^# HELP (leat_app_\w+)`).FindAllStringSubmatch(body, -1)
	if len(names) < 10 {
		t.Errorf("%d metrics of applications are shown, or this test does not find them", len(names))
	}
	for _, name := range names {
		if !strings.Contains(string(page), "`"+name[1]+"`") && !strings.Contains(string(page), "`"+name[1]+"{") {
			t.Errorf("%s is not there", name[1])
		}
	}
}

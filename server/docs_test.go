package server_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
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

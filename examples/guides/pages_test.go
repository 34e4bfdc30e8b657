package guides

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What the guides show is in this package.
func TestPages(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		code.Write(text)
	}
	for _, page := range []string{"evolving-events.md", "fleet.md", "moving.md"} {
		text, err := os.ReadFile(filepath.Join("../../docs", page))
		if err != nil {
			t.Fatal(err)
		}
		blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(text), -1)
		if len(blocks) == 0 {
			t.Errorf("%s shows no Go code", page)
		}
		for _, b := range blocks {
			for part := range strings.SplitSeq(b[1], "\n\n") {
				if !strings.Contains(code.String(), strings.Trim(part, "\n")) {
					t.Errorf("%s shows code that is not here:\n%s", page, part)
				}
			}
		}
	}
}

// Package pages holds the pages of the documentation to what they show.
package pages

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Check fails a test unless each page shows Go, and all Go that it shows stands in
// the files of the directory of the test: each paragraph in one of them, line by
// line, at whatever indentation.
func Check(t testing.TB, pages ...string) {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	code := read(t, names)
	for i, page := range read(t, pages) {
		blocks := blocks(page)
		if len(blocks) == 0 {
			t.Errorf("%s shows no Go", pages[i])
		}
		for _, m := range missing(blocks, code) {
			t.Errorf("%s shows what is not in %v:\n%s", pages[i], names, m)
		}
	}
}

func read(t testing.TB, names []string) (texts []string) {
	t.Helper()
	for _, name := range names {
		text, err := os.ReadFile(filepath.Clean(name))
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	return texts
}

// blocks returns the blocks of Go of a page.
func blocks(page string) (blocks []string) {
	for _, after := range strings.Split(page, "```go\n")[1:] {
		block, _, _ := strings.Cut(after, "```")
		blocks = append(blocks, block)
	}
	return blocks
}

// missing returns the paragraphs of blocks that are in none of the files.
func missing(blocks, files []string) (missing []string) {
	var code []string
	for _, f := range files {
		code = append(code, flush(f))
	}
	for _, block := range blocks {
		for paragraph := range strings.SplitSeq(strings.Trim(block, "\n"), "\n\n") {
			if p := flush(paragraph); !slices.ContainsFunc(code, func(c string) bool { return strings.Contains(c, p) }) {
				missing = append(missing, paragraph)
			}
		}
	}
	return missing
}

// flush returns the lines of a text without indentation, each between line feeds.
func flush(text string) string {
	var b strings.Builder
	b.WriteByte('\n')
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimSpace(line))
		b.WriteByte('\n')
	}
	return b.String()
}

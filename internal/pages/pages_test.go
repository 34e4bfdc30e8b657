package pages

import (
	"fmt"
	"testing"
)

func TestMissing(t *testing.T) {
	files := []string{"package a\n\nfunc f() {\n\tg()\n\n\th(1)\n}\n", "package b\n"}
	for page, want := range map[string]string{
		"no Go":                             "[] []",
		"```sh\ng()\n```":                   "[] []",
		"```go\ng()\n\nh(1)\n}\n```\n more": `["g()\n\nh(1)\n}\n"] []`,
		"```go\nfunc f() {\n\tg()\n```":     `["func f() {\n\tg()\n"] []`,
		"```go\nh()\n```\n```go\ng()\n```":  `["h()\n" "g()\n"] ["h()"]`,
		"```go\nh(\n```":                    `["h(\n"] ["h("]`, // a part of a line
		"```go\n}\npackage b\n```":          `["}\npackage b\n"] ["}\npackage b"]`,
	} {
		found := blocks(page)
		if got := fmt.Sprintf("%q %q", found, missing(found, files)); got != want {
			t.Errorf("page %q: %s, want %s", page, got, want)
		}
	}
}

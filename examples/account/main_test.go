package main

import (
	"os"
	"strings"
	"testing"

	"github.com/leathq/leat/engine"
)

func TestRun(t *testing.T) {
	dir := t.TempDir()
	for range 2 { // the second continues what the first left
		if err := run(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
	}
	log, err := engine.Open(dir+"/log", engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	anna, err := accounts.Load(t.Context(), log, "anna")
	if err != nil || anna.State.Pence != 460 || anna.Version != 3 {
		t.Errorf("after one deposit of 500 and two withdrawals of 20, anna has %+v, %v", anna, err)
	}
}

// What the README shows is this program.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(readme), "```go\n")[1:]
	if len(blocks) == 0 {
		t.Error("the README shows no Go code")
	}
	for _, b := range blocks {
		code, _, _ := strings.Cut(b, "```")
		for _, part := range strings.Split(code, "\n\n") {
			if !strings.Contains(string(program), strings.Trim(part, "\n")) {
				t.Errorf("the README shows code that is not in main.go:\n%s", part)
			}
		}
	}
}

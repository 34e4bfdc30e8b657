package main

import (
	"strings"
	"testing"
	"time"
)

func TestProgressLines(t *testing.T) {
	first := sample{done: 100}
	s := sample{done: 1600, total: 3200, unit: "orders", note: "1 behind"}
	tests := []struct {
		name, got, want string
	}{
		{"running on a terminal", running("driving", first, s, 10*time.Second, true),
			"  driving                    10.0s  ████████░░░░░░░░  50%  1,600 of 3,200 orders, 150/s; 1 behind"},
		{"running elsewhere", running("driving", first, s, 90*time.Second, false),
			"  driving                    1m30s  50%  1,600 of 3,200 orders, 16/s; 1 behind"},
		{"running without measure", running("archiving", sample{}, sample{}, time.Second, true),
			"  archiving                   1.0s"},
		{"finished", finished("driving", first, s, 10*time.Second),
			"✓ driving                    10.0s  1,500 orders, 150/s"},
		{"finished at once", finished("driving", s, s, 0),
			"✓ driving                     0.0s"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.got != test.want {
				t.Errorf("the line is\n%q, want\n%q", test.got, test.want)
			}
		})
	}
}

func TestTerminalLinesAreCut(t *testing.T) {
	var out strings.Builder
	p := &progress{out: &out, width: func() int { return 12 }}
	if err := p.phase("ärchiving the rest", nil, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if want := "\r\x1b[K✓ ärchivin…\n"; out.String() != want {
		t.Errorf("a terminal of 12 columns shows %q, want %q", out.String(), want)
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -206957: "-206,957", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) is %q, want %q", n, got, want)
		}
	}
}

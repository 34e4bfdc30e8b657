package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// How often progress is shown: on a terminal a line is painted over and over,
// elsewhere a new line is written now and then.
const (
	paintEvery = 100 * time.Millisecond
	writeEvery = 5 * time.Second
)

// A progress tells a person how far the phases of a run are.
type progress struct {
	out   io.Writer
	width func() int // columns of the terminal; 0: not a terminal
}

// newProgress returns a progress that paints if out is a terminal.
func newProgress(out io.Writer) *progress {
	file, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return &progress{out: out, width: func() int { return 0 }}
	}
	return &progress{out: out, width: func() int {
		columns, _, err := term.GetSize(int(file.Fd()))
		if err != nil || columns <= 0 {
			return 80
		}
		return columns
	}}
}

// A sample is how far a phase is.
type sample struct {
	done, total int64
	unit        string // what is counted, such as "invoices"
	note        string // more to say while it runs
}

// since returns how many were done after an earlier sample, in all and a second.
func (s sample) since(first sample, took time.Duration) (n, rate int64) {
	n = s.done - first.done
	return n, perSecond(n, took)
}

// phase does work and shows meanwhile how far it is. take is called from
// another goroutine; it is nil where there is nothing to measure.
func (p *progress) phase(title string, take func() sample, work func() error) error {
	if take == nil {
		take = func() sample { return sample{} }
	}
	begin, first := time.Now(), take()
	tty := p.width() > 0
	every := writeEvery
	if tty {
		every = paintEvery
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
				p.show(running(title, first, take(), time.Since(begin), tty), tty)
			}
		}
	}()
	err := work()
	close(stop)
	<-stopped
	if err != nil {
		p.show(fmt.Sprintf("✗ %s", title), tty)
	} else {
		p.show(finished(title, first, take(), time.Since(begin)), tty)
	}
	if tty {
		fmt.Fprintln(p.out)
	}
	return err
}

// show paints a line over the one before, or writes one where that is not
// possible.
func (p *progress) show(line string, over bool) {
	if !over {
		fmt.Fprintln(p.out, line)
		return
	}
	fmt.Fprintf(p.out, "\r\x1b[K%s", cut(line, p.width()-1))
}

// running is the line of a phase that goes on. What matters least comes last,
// where a narrow terminal cuts it off.
func running(title string, first, s sample, took time.Duration, bar bool) string {
	line := fmt.Sprintf("  %-26s%6s", title, clock(took))
	if s.total > 0 {
		share := min(1, float64(s.done)/float64(s.total))
		if bar {
			const cells = 16
			full := int(share * cells)
			line += "  " + strings.Repeat("█", full) + strings.Repeat("░", cells-full)
		}
		_, rate := s.since(first, took)
		line += fmt.Sprintf(" %3.0f%%  %s of %s %s, %s/s", share*100, thousands(s.done), thousands(s.total), s.unit, thousands(rate))
	}
	if s.note != "" {
		line += "; " + s.note
	}
	return line
}

// finished is the line of a phase that is done.
func finished(title string, first, s sample, took time.Duration) string {
	line := fmt.Sprintf("✓ %-26s%6s", title, clock(took))
	if n, rate := s.since(first, took); n > 0 {
		line += fmt.Sprintf("  %s %s, %s/s", thousands(n), s.unit, thousands(rate))
	}
	return line
}

// perSecond returns the rate of n in the time it took.
func perSecond(n int64, took time.Duration) int64 {
	return int64(float64(n) / max(took.Seconds(), 1e-3))
}

// clock shows a duration as a person reads it: 0.4s, 12.3s, 1m02s.
func clock(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	d = d.Round(time.Second)
	return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
}

// thousands writes a number with a comma before each group of three digits.
func thousands(n int64) string {
	digits := fmt.Sprint(n)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// cut shortens a line to a number of columns.
func cut(line string, columns int) string {
	if utf8.RuneCountInString(line) <= columns || columns < 1 {
		return line
	}
	return string([]rune(line)[:columns-1]) + "…"
}

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/leathq/leat"
	"github.com/leathq/leat/eventjson"
)

// A printer prints events: as JSON, one a line, or as lines for people, cut to
// the terminal's width when there is one.
type printer struct {
	w      *bufio.Writer
	json   *json.Encoder
	width  int // 0: not a terminal, lines are not cut
	headed bool
}

func newPrinter(w io.Writer, asJSON bool) *printer {
	p := &printer{w: bufio.NewWriter(w), width: terminalWidth(w)}
	if asJSON {
		p.json = json.NewEncoder(p.w)
		p.json.SetEscapeHTML(false)
	}
	return p
}

// terminalWidth returns the columns of the terminal that w is, 0 when it is
// none.
func terminalWidth(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

func (p *printer) flush() error { return p.w.Flush() }

func (p *printer) print(r *leat.Recorded) error {
	if p.json != nil {
		return p.json.Encode(eventjson.FromRecorded(r))
	}
	const columns = "%-20s  %-24s  %7s  %-20s  %s"
	if !p.headed {
		p.headed = true
		if err := p.line(fmt.Sprintf(columns, "TIME", "STREAM", "VERSION", "TYPE", "DATA")); err != nil {
			return err
		}
	}
	return p.line(fmt.Sprintf(columns, r.Time.Format("2006-01-02T15:04:05Z"),
		printable([]byte(r.Stream)), strconv.FormatUint(r.Version, 10), printable([]byte(r.Type)), p.data(r)))
}

// data returns what fits on a line of an event's data.
func (p *printer) data(r *leat.Recorded) string {
	data := r.Data
	if p.width > 0 {
		data = data[:min(len(data), 4*p.width)]
	}
	if !utf8.Valid(r.Data) {
		return fmt.Sprintf("%d bytes of %s", len(r.Data), r.ContentType)
	}
	return printable(data)
}

// printable replaces what would move a terminal's cursor or change its state.
func printable(s []byte) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		if unicode.IsSpace(r) {
			return ' '
		}
		return '�'
	}, string(s))
}

func (p *printer) line(s string) error {
	if p.width > 0 && utf8.RuneCountInString(s) > p.width {
		s = string([]rune(s)[:p.width-1]) + "…"
	}
	_, err := fmt.Fprintln(p.w, strings.TrimRight(s, " "))
	return err
}

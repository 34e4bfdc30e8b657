package servicetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/service"
)

// A GivenProcess is a process with a history, in a log in memory. Commands are
// recorded there, and not carried out.
type GivenProcess[S, E, I any] struct {
	t   testing.TB
	p   *service.Process[S, E, I]
	log leat.Log
	now time.Time // of the log, and of timers

	id    string // of the process that was fed last
	shown uint64 // version of its stream up to which Then was, or began
}

// ForProcess starts a test of a process that nothing has fed yet. Its clock
// stands at the beginning of 2026, until After moves it.
func ForProcess[S, E, I any](t testing.TB, p *service.Process[S, E, I]) *GivenProcess[S, E, I] {
	t.Helper()
	g := &GivenProcess[S, E, I]{t: t, p: p, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	log, err := leattest.New(leat.Config{}, func() time.Time { return g.now })
	if err != nil {
		t.Fatalf("start a log: %v", err)
	}
	t.Cleanup(func() { _ = log.Close() }) // in memory
	g.log = log
	return g
}

// Given feeds events to the process, as When does, and lets pass what it decides.
func (g *GivenProcess[S, E, I]) Given(events ...I) *GivenProcess[S, E, I] {
	g.t.Helper()
	for _, e := range events {
		if err := g.feed(e); err != nil {
			g.t.Fatalf("given %T: %v", e, err)
		}
	}
	g.shown = uint64(len(g.history()))
	return g
}

// When feeds an event to the process that Process.Route says. It is fed a second
// time, which must change nothing.
func (g *GivenProcess[S, E, I]) When(e I) *WhenProcess[S, E, I] {
	g.t.Helper()
	return g.when(func() error { return g.feed(e) })
}

// WhenRefused tells the process that a command which it has given is refused.
func (g *GivenProcess[S, E, I]) WhenRefused(command any, reason string) *WhenProcess[S, E, I] {
	g.t.Helper()
	want := g.text(Command(command))
	for _, r := range g.history() {
		if g.recorded(r) == want {
			return g.when(func() error { return g.p.Refuse(g.t.Context(), g.log, r, reason) })
		}
	}
	g.t.Fatalf("no such command was given:\n%s", want)
	return nil
}

// After lets time pass, and fires the timers of the process that are due then.
func (g *GivenProcess[S, E, I]) After(d time.Duration) *WhenProcess[S, E, I] {
	g.t.Helper()
	g.now = g.now.Add(d)
	return g.when(func() error {
		if g.id == "" {
			return errors.New("nothing was given to any process")
		}
		return g.p.Fire(g.t.Context(), g.log, g.id, g.now.Add(time.Millisecond)) // the log adds a nanosecond an event
	})
}

// feed records an event in a stream of its own and feeds it.
func (g *GivenProcess[S, E, I]) feed(e I) error {
	typ, data, err := g.p.Inputs.Encode(e)
	if err != nil {
		return err
	}
	event := []leat.Event{{Stream: "test-" + leat.NewID(), Type: typ, Source: "servicetest", Data: data}}
	receipt, err := g.log.Append(g.t.Context(), event)
	if err != nil {
		return err
	}
	r := leat.Recorded{
		Event: event[0], Shard: receipt.Shard, Seq: receipt.First, Commit: receipt.First, Version: receipt.Versions[0], At: receipt.At,
	}
	r.Time = receipt.At
	read, err := g.p.Inputs.Decode(r)
	if err != nil {
		return err
	}
	id := g.p.Route(read, r)
	if id != g.id {
		g.id, g.shown = id, 0
		g.shown = uint64(len(g.history()))
	}
	if err := g.p.Feed(g.t.Context(), g.log, r); err != nil {
		return err
	}
	before := len(g.history())
	if err := g.p.Feed(g.t.Context(), g.log, r); err != nil || len(g.history()) != before {
		g.t.Errorf("fed %s a second time: %d events more, %v; want none", typ, len(g.history())-before, err)
	}
	return nil
}

// history returns the events of the process's stream.
func (g *GivenProcess[S, E, I]) history() (events []leat.Recorded) {
	g.t.Helper()
	for r, err := range g.log.ReadStream(g.t.Context(), g.p.Stream(g.id), leat.Range{}) {
		if err != nil {
			g.t.Fatalf("read what was recorded: %v", err)
		}
		events = append(events, r)
	}
	return events
}

func (g *GivenProcess[S, E, I]) when(do func() error) *WhenProcess[S, E, I] {
	g.t.Helper()
	w := &WhenProcess[S, E, I]{g: g, err: do()}
	for _, r := range g.history()[g.shown:] {
		g.shown = r.Version
		if text := g.recorded(r); text != "" {
			w.got = append(w.got, text)
		}
	}
	g.t.Cleanup(func() {
		if !w.checked {
			g.t.Errorf("When without Then: nothing was checked")
		}
	})
	return w
}

// A WhenProcess is what a process decided.
type WhenProcess[S, E, I any] struct {
	g       *GivenProcess[S, E, I]
	got     []string
	err     error
	checked bool
}

// Then expects exactly these decisions, in this order: events of the process as
// they are, and what Command, Timer and CancelTimer return.
func (w *WhenProcess[S, E, I]) Then(decisions ...any) *GivenProcess[S, E, I] {
	w.g.t.Helper()
	w.checked = true
	var want strings.Builder
	for _, d := range decisions {
		want.WriteString(w.g.text(d))
	}
	if w.err != nil {
		w.g.t.Errorf("decided: error %q\nwant %d decisions:\n%s", w.err, len(decisions), want.String())
	} else if got := strings.Join(w.got, ""); got != want.String() {
		w.g.t.Errorf("decided otherwise (- want, + got):\n%s", diff(want.String(), got))
	}
	return w.g
}

// ThenNothing expects no decisions and no error.
func (w *WhenProcess[S, E, I]) ThenNothing() *GivenProcess[S, E, I] {
	w.g.t.Helper()
	return w.Then()
}

// ThenError expects an error in which errors.Is finds target. An event that
// feeds no process is service.ErrSkipped.
func (w *WhenProcess[S, E, I]) ThenError(target error) *GivenProcess[S, E, I] {
	w.g.t.Helper()
	w.checked = true
	if !errors.Is(w.err, target) {
		w.g.t.Errorf("decided: error %v, want the error %q", w.err, target)
	}
	return w.g
}

// ThenState checks the state after what was decided.
func (w *WhenProcess[S, E, I]) ThenState(check func(t testing.TB, s S)) *GivenProcess[S, E, I] {
	w.g.t.Helper()
	w.checked = true
	l, err := w.g.p.Load(w.g.t.Context(), w.g.log, w.g.id)
	if err = errors.Join(w.err, err); err != nil {
		w.g.t.Errorf("decided: error %q, want a state", err)
		return w.g
	}
	check(w.g.t, l.State)
	return w.g
}

type (
	expectedCommand struct{ command any }
	expectedTimer   struct {
		name string
		in   time.Duration
	}
	expectedCancel struct{ name string }
)

// Command expects a command to be given.
func Command(command any) any { return expectedCommand{command} }

// Timer expects a timer to be set that is due so much after now, by the clock
// that After moves, to the second.
func Timer(name string, in time.Duration) any { return expectedTimer{name, in} }

// CancelTimer expects a timer to be cancelled.
func CancelTimer(name string) any { return expectedCancel{name} }

// text writes a decision for people, as recorded does.
func (g *GivenProcess[S, E, I]) text(d any) string {
	g.t.Helper()
	switch d := d.(type) {
	case expectedTimer:
		return fmt.Sprintf("timer %q in %s\n", d.name, d.in.Round(time.Second))
	case expectedCancel:
		return fmt.Sprintf("cancel timer %q\n", d.name)
	case expectedCommand:
		typ, data, err := g.p.EncodeCommand(d.command)
		if err != nil {
			g.t.Errorf("%v", err)
		}
		return "command " + shown(typ, data)
	case E:
		typ, data, err := g.p.Types.Encode(d)
		if err != nil {
			g.t.Errorf("%v", err)
		}
		return shown(typ, data)
	}
	g.t.Errorf("%T is no event of the process; a command is expected as Command(%T{…})", d, d)
	return fmt.Sprintf("%#v\n", d)
}

// recorded writes what is recorded, empty when nobody has decided it.
func (g *GivenProcess[S, E, I]) recorded(r leat.Recorded) string {
	var timer struct {
		Timer string
		Due   time.Time
	}
	switch r.Type {
	case "leat.TimerFired", "leat.CommandDone", "leat.CommandRefused":
		return ""
	case "leat.TimerSet", "leat.TimerCancelled":
		if err := json.Unmarshal(r.Data, &timer); err != nil {
			g.t.Errorf("read %s: %v", r.Type, err)
		}
		if r.Type == "leat.TimerCancelled" {
			return g.text(CancelTimer(timer.Timer))
		}
		return g.text(Timer(timer.Timer, timer.Due.Sub(g.now)))
	}
	text := shown(r.Type, r.Data)
	if _, err := g.p.Types.Decode(r); errors.Is(err, service.ErrUnknownType) {
		text = "command " + text
	}
	return text
}

func shown(typ string, data []byte) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s ", typ)
	if err := json.Indent(&b, data, "", "  "); err != nil {
		b.Write(data)
	}
	b.WriteByte('\n')
	return b.String()
}

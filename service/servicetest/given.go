package servicetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

// A Given is a stream with a history.
type Given[S, E any] struct {
	t       testing.TB
	a       *service.Aggregate[S, E]
	version uint64

	// Two states from the same events: that of twin is never shown to anybody,
	// so a difference tells that the other was changed.
	state, twin S
}

// For starts a test of an aggregate: a stream without events.
func For[S, E any](t testing.TB, a *service.Aggregate[S, E]) *Given[S, E] {
	t.Helper()
	if a.Types == nil || a.Evolve == nil {
		t.Fatalf("aggregate %q: Types and Evolve must be set", a.Category)
	}
	return &Given[S, E]{t: t, a: a}
}

// Given adds events to the history. They are encoded and decoded as they would
// be in a log; the test fails if that changes one, or if Evolve changes the
// state it was given without Aggregate.Clone being set, or if a state that is
// kept in snapshots comes back from them as another.
func (g *Given[S, E]) Given(events ...E) *Given[S, E] {
	g.t.Helper()
	for _, e := range events {
		g.evolve(e)
	}
	return g
}

// GivenRecorded adds an event as a log holds it, such as one of an older form
// that is to be upcast.
func (g *Given[S, E]) GivenRecorded(typ, data string) *Given[S, E] {
	g.t.Helper()
	e, err := g.a.Types.Decode(g.recorded(typ, []byte(data)))
	if err != nil {
		g.t.Fatalf("given: %v", err)
	}
	g.apply(e, e)
	return g
}

func (g *Given[S, E]) recorded(typ string, data []byte) leat.Recorded {
	return leat.Recorded{
		Event:   leat.Event{ID: "given", Stream: g.a.Stream("given"), Type: typ, ContentType: leat.DefaultContentType, Data: data},
		Version: g.version + 1,
	}
}

// evolve folds an event onto the state, once it has been through the codec.
func (g *Given[S, E]) evolve(e E) {
	g.t.Helper()
	read, twin := g.codec(e), g.codec(e)
	if path := difference(e, read); path != "" {
		g.t.Errorf("%T changes when it is recorded and read back:\n%s", e, path)
	}
	g.apply(read, twin)
}

func (g *Given[S, E]) codec(e E) E {
	g.t.Helper()
	typ, data, err := g.a.Types.Encode(e)
	if err != nil {
		g.t.Fatalf("given: %v", err)
	}
	read, err := g.a.Types.Decode(g.recorded(typ, data))
	if err != nil {
		g.t.Fatalf("given: %v", err)
	}
	return read
}

func (g *Given[S, E]) apply(e, twin E) {
	g.t.Helper()
	before := g.state
	if g.a.Clone != nil {
		g.state = g.a.Clone(before)
	}
	g.state = g.a.Evolve(g.state, e)
	if path := difference(g.twin, before); path != "" {
		what := "Evolve changed the state it was given; clone what is written to, or set Aggregate.Clone"
		if g.a.Clone != nil {
			what = "Evolve of a clone changed the original, so Aggregate.Clone shares something"
		}
		g.t.Errorf("%s (%T):\n%s", what, e, path)
	}
	g.twin = g.a.Evolve(g.twin, twin)
	g.version++
	g.snapshot(e)
}

// snapshot checks that a state comes back from a snapshot as it was.
func (g *Given[S, E]) snapshot(e E) {
	g.t.Helper()
	if g.a.Snapshots.Reducer == "" {
		return
	}
	var read S
	text, err := json.Marshal(g.twin)
	if err == nil {
		err = json.Unmarshal(text, &read)
	}
	if err != nil {
		g.t.Errorf("the state after %T cannot be kept in a snapshot: %v", e, err)
	} else if path := difference(g.twin, read); path != "" {
		g.t.Errorf("the state after %T is another when it comes back from a snapshot:\n%s", e, path)
	}
}

// When decides on the state that the history leads to.
func (g *Given[S, E]) When(decide func(S) ([]E, error)) *When[S, E] {
	g.t.Helper()
	events, err := decide(g.state)
	if path := difference(g.twin, g.state); path != "" {
		g.t.Errorf("the decision changed the state it was given:\n%s", path)
	}
	w := &When[S, E]{g: g, events: events, err: err}
	g.t.Cleanup(func() {
		if !w.checked {
			g.t.Errorf("When without Then: nothing was checked")
		}
	})
	return w
}

// A When is what was decided.
type When[S, E any] struct {
	g       *Given[S, E]
	events  []E
	err     error
	folded  bool
	checked bool
}

// Then expects exactly these events, and no error. Events are compared as they
// are recorded.
func (w *When[S, E]) Then(events ...E) *When[S, E] {
	w.g.t.Helper()
	w.checked = true
	if w.err != nil {
		w.g.t.Errorf("decided: error %q\nwant %d events:\n%s", w.err, len(events), w.text(events))
		return w
	}
	got, want := w.text(w.events), w.text(events)
	if got != want {
		w.g.t.Errorf("decided other events (- want, + got):\n%s", diff(want, got))
	}
	return w
}

// ThenNothing expects no events and no error.
func (w *When[S, E]) ThenNothing() *When[S, E] {
	w.g.t.Helper()
	return w.Then()
}

// ThenError expects an error in which errors.Is finds target.
func (w *When[S, E]) ThenError(target error) *When[S, E] {
	w.g.t.Helper()
	w.checked = true
	switch {
	case w.err == nil:
		w.g.t.Errorf("decided %d events, want the error %q:\n%s", len(w.events), target, w.text(w.events))
	case !errors.Is(w.err, target):
		w.g.t.Errorf("decided: error %q\nwant the error %q", w.err, target)
	}
	return w
}

// ThenState checks the state after the events that were decided.
func (w *When[S, E]) ThenState(check func(t testing.TB, s S)) *When[S, E] {
	w.g.t.Helper()
	w.checked = true
	if w.err != nil {
		w.g.t.Errorf("decided: error %q, want events", w.err)
		return w
	}
	if !w.folded {
		w.folded = true
		w.g.Given(w.events...)
	}
	check(w.g.t, w.g.state)
	return w
}

// text writes events as they are recorded, for people.
func (w *When[S, E]) text(events []E) string {
	w.g.t.Helper()
	var b bytes.Buffer
	for _, e := range events {
		typ, data, err := w.g.a.Types.Encode(e)
		if err != nil {
			w.g.t.Errorf("%v", err)
			fmt.Fprintf(&b, "%#v\n", e)
			continue
		}
		fmt.Fprintf(&b, "%s ", typ)
		if err := json.Indent(&b, data, "", "  "); err != nil {
			b.Write(data)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

package servicetest_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

type event interface{ event() }

type (
	placed struct {
		Lines []string `json:"lines"`
	}
	cancelled struct {
		Reason string `json:"reason"`
	}
	secret struct {
		Kept   string
		hidden int
	}
	undeclared struct{}
)

func (placed) event()     {}
func (cancelled) event()  {}
func (secret) event()     {}
func (undeclared) event() {}

var types = service.NewTypes[event](
	service.TypeOf[placed]("Placed", service.Upcast("placed.v0", func(line string) placed { return placed{[]string{line}} })),
	service.TypeOf[cancelled]("Cancelled"),
	service.TypeOf[secret]("Secret"),
)

type order struct {
	Lines map[string]int
	Done  bool
}

// evolve clones what it writes to; careless does not.
func evolve(o order, e event) order {
	o.Lines = maps.Clone(o.Lines)
	return careless(o, e)
}

func careless(o order, e event) order {
	switch e := e.(type) {
	case placed:
		if o.Lines == nil {
			o.Lines = make(map[string]int)
		}
		for _, l := range e.Lines {
			o.Lines[l]++
		}
	case cancelled:
		o.Done = true
	}
	return o
}

var errDone = errors.New("order is done")

func cancel(reason string) func(order) ([]event, error) {
	return func(o order) ([]event, error) {
		if o.Done {
			return nil, errDone
		}
		return []event{cancelled{reason}}, nil
	}
}

func orders() *service.Aggregate[order, event] {
	return &service.Aggregate[order, event]{Category: "order", Types: types, Evolve: evolve}
}

func TestGivenWhenThen(t *testing.T) {
	servicetest.For(t, orders()).Given(placed{[]string{"a"}}).When(cancel("late")).Then(cancelled{"late"}).
		ThenState(func(t testing.TB, o order) {
			if !o.Done {
				t.Error("not done")
			}
		})
	servicetest.For(t, orders()).Given(placed{}, cancelled{}).When(cancel("late")).ThenError(errDone)
	servicetest.For(t, orders()).When(func(order) ([]event, error) { return nil, nil }).ThenNothing()
	servicetest.For(t, orders()).GivenRecorded("placed.v0", `"a"`).When(func(o order) ([]event, error) {
		return nil, fmt.Errorf("%d lines: %w", len(o.Lines), errDone)
	}).ThenError(errDone)
}

// A witness takes the place of testing.T and notes what was reported.
type witness struct {
	testing.TB
	said    []string
	cleanup []func()
}

func (w *witness) Helper()                   {}
func (w *witness) Cleanup(f func())          { w.cleanup = append(w.cleanup, f) }
func (w *witness) Errorf(f string, a ...any) { w.said = append(w.said, fmt.Sprintf(f, a...)) }
func (w *witness) Fatalf(f string, a ...any) {
	w.Errorf(f, a...)
	panic(w)
}

// watch runs a test until it ends, and returns what it reported.
func (w *witness) watch(test func(t testing.TB)) string {
	func() {
		defer func() {
			if v := recover(); v != nil && v != any(w) {
				panic(v)
			}
		}()
		test(w)
	}()
	for _, f := range w.cleanup {
		f()
	}
	return strings.Join(w.said, "\n")
}

func TestFailuresCanBeRead(t *testing.T) {
	sloppy := orders()
	sloppy.Evolve = careless
	sharing := orders()
	sharing.Evolve, sharing.Clone = careless, func(o order) order { return o }
	cloning := orders()
	cloning.Evolve, cloning.Clone = careless, func(o order) order {
		o.Lines = maps.Clone(o.Lines)
		return o
	}
	for _, c := range []struct {
		name string
		test func(t testing.TB)
		says []string // nothing: the test passes
	}{
		{"other event", func(t testing.TB) {
			servicetest.For(t, orders()).When(cancel("late")).Then(cancelled{"early"})
		}, []string{"- want, + got", `  Cancelled {`, `-   "reason": "early"`, `+   "reason": "late"`}},
		{"missing event", func(t testing.TB) {
			servicetest.For(t, orders()).When(cancel("late")).Then(placed{}, cancelled{"late"})
		}, []string{"- Placed {", `-   "lines": null`}},
		{"error instead of events", func(t testing.TB) {
			servicetest.For(t, orders()).Given(cancelled{}).When(cancel("late")).Then(cancelled{"late"})
		}, []string{"order is done", "want 1 events", "Cancelled {"}},
		{"events instead of error", func(t testing.TB) {
			servicetest.For(t, orders()).When(cancel("late")).ThenError(errDone)
		}, []string{"decided 1 events", "order is done", "Cancelled {"}},
		{"another error", func(t testing.TB) {
			servicetest.For(t, orders()).Given(cancelled{}).When(cancel("late")).ThenError(errors.ErrUnsupported)
		}, []string{"order is done", "unsupported operation"}},
		{"state after an error", func(t testing.TB) {
			servicetest.For(t, orders()).Given(cancelled{}).When(cancel("late")).ThenState(func(testing.TB, order) { panic("called") })
		}, []string{"order is done"}},
		{"nothing checked", func(t testing.TB) { servicetest.For(t, orders()).When(cancel("late")) }, []string{"without Then"}},
		{"lossy codec", func(t testing.TB) {
			servicetest.For(t, orders()).Given(secret{"a", 7})
		}, []string{"secret.hidden: 7, then 0"}},
		{"lossy snapshot", func(t testing.TB) {
			a := &service.Aggregate[secret, event]{Types: types, Snapshots: service.Snapshots{Reducer: "1"}}
			a.Evolve = func(s secret, _ event) secret { return secret{s.Kept, s.hidden + 1} }
			servicetest.For(t, a).Given(placed{})
		}, []string{"placed is another when it comes back from a snapshot", "secret.hidden: 1, then 0"}},
		{"lossless codec", func(t testing.TB) { servicetest.For(t, orders()).Given(secret{"a", 0}, placed{[]string{}}) }, nil},
		{"undeclared", func(t testing.TB) { servicetest.For(t, orders()).Given(undeclared{}) }, []string{"undeclared", "not declared"}},
		{"unreadable", func(t testing.TB) { servicetest.For(t, orders()).GivenRecorded("Placed", "{") }, []string{"Placed", "unexpected end"}},
		{"Evolve changes its argument", func(t testing.TB) {
			servicetest.For(t, sloppy).Given(placed{[]string{"a"}}, placed{[]string{"a"}})
		}, []string{"Evolve changed the state", "order.Lines[a]: 1, then 2"}},
		{"Clone shares", func(t testing.TB) {
			servicetest.For(t, sharing).Given(placed{[]string{"a"}}, placed{[]string{"a"}})
		}, []string{"Clone shares", "order.Lines[a]: 1, then 2"}},
		{"Evolve changes a clone", func(t testing.TB) {
			servicetest.For(t, cloning).Given(placed{[]string{"a"}}, placed{[]string{"a"}})
		}, nil},
		{"decision changes the state", func(t testing.TB) {
			servicetest.For(t, orders()).Given(placed{[]string{"a"}}).When(func(o order) ([]event, error) {
				delete(o.Lines, "a")
				return nil, nil
			}).ThenNothing()
		}, []string{"decision changed the state", "order.Lines[a]: there, then missing"}},
		{"long history", func(t testing.TB) {
			many := func(last string) (events []event) {
				for i := range 20 {
					events = append(events, cancelled{fmt.Sprint(i)})
				}
				return append(events, cancelled{last})
			}
			servicetest.For(t, orders()).When(func(order) ([]event, error) { return many("x"), nil }).Then(many("y")...)
		}, []string{"equal lines)", `-   "reason": "y"`, `+   "reason": "x"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &witness{TB: t}
			said := w.watch(c.test)
			if len(c.says) == 0 && said != "" {
				t.Fatalf("it failed and said:\n%s", said)
			}
			for _, part := range c.says {
				if !strings.Contains(said, part) {
					t.Errorf("it said:\n%s\nwant %q in it", said, part)
				}
			}
			if lines := strings.Count(said, "\n"); lines > 15 {
				t.Errorf("it said %d lines:\n%s", lines, said)
			}
		})
	}
}

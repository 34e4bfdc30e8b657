package servicetest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

// statuses keeps the status of each order.
func statuses(into service.ReadModel[*servicetest.Tx]) service.Projection[*servicetest.Tx] {
	return service.Projection[*servicetest.Tx]{
		Name: "statuses", Into: into,
		Apply: service.Apply(types, func(_ context.Context, tx *servicetest.Tx, e event, r leat.Recorded) error {
			switch e := e.(type) {
			case placed:
				tx.Set(r.Stream, fmt.Sprintf("%splaced %d ", tx.Get(r.Stream), len(e.Lines)))
			case cancelled:
				tx.Set(r.Stream, tx.Get(r.Stream)+"cancelled")
			}
			return nil
		}),
	}
}

func setUpStatuses(testing.TB, leat.Log) (service.Projection[*servicetest.Tx], func() map[string]string) {
	model := servicetest.NewMemory()
	return statuses(model), model.Data
}

func sampleHistory(t testing.TB) (all []leat.Event) {
	for i := range 5 {
		all = append(all, servicetest.Events[event](t, types, fmt.Sprintf("order-%d", i), placed{[]string{"a"}}, placed{}, cancelled{})...)
	}
	return all
}

var sampleOutcome = map[string]string{
	"order-0": "placed 1 placed 0 cancelled", "order-1": "placed 1 placed 0 cancelled", "order-2": "placed 1 placed 0 cancelled",
	"order-3": "placed 1 placed 0 cancelled", "order-4": "placed 1 placed 0 cancelled",
}

func TestProjectionDespiteFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servicetest.ForProjection(t, setUpStatuses).Given(sampleHistory(t)...).Then(sampleOutcome).ThenDespiteFailures()
	})
}

// counting cancels orders that are placed, and counts its calls.
func counting(log leat.Log, calls *atomic.Int64, opts func(r leat.Recorded) []service.Option) service.Reactor {
	a := orders()
	return service.Reactor{
		Name: "canceller", Checkpoints: servicetest.NewMemory(), Filter: leat.Filter{Types: []string{"Placed"}},
		React: func(ctx context.Context, r leat.Recorded) error {
			calls.Add(1)
			_, err := a.Do(ctx, log, "all", func(order) ([]event, error) { return []event{cancelled{r.Stream}}, nil }, opts(r)...)
			return err
		},
	}
}

func recordedIn(t testing.TB, log leat.Log, stream string) (n int) {
	for _, err := range log.ReadStream(t.Context(), stream, leat.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

func setUpCounting(opts func(r leat.Recorded) []service.Option) func(testing.TB, leat.Log) (service.Reactor, func() int) {
	return func(t testing.TB, log leat.Log) (service.Reactor, func() int) {
		return counting(log, new(atomic.Int64), opts), func() int { return recordedIn(t, log, "order-all") }
	}
}

func caused(r leat.Recorded) []service.Option { return []service.Option{service.CausedBy(r, "cancel")} }

func TestReactorDespiteFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servicetest.ForReactor(t, setUpCounting(caused)).Given(sampleHistory(t)...).Then(10).ThenDespiteFailures()
	})
}

// What is wrong with an application is found, and said.
func TestHistoriesThatFail(t *testing.T) {
	type setUp = func(testing.TB, leat.Log) (service.Projection[*servicetest.Tx], func() map[string]string)
	with := func(change func(p *service.Projection[*servicetest.Tx], view *func() map[string]string)) setUp {
		return func(t testing.TB, log leat.Log) (service.Projection[*servicetest.Tx], func() map[string]string) {
			p, view := setUpStatuses(t, log)
			change(&p, &view)
			return p, view
		}
	}
	for _, c := range []struct {
		name string
		test func(t testing.TB)
		says []string
	}{
		{"another outcome", func(t testing.TB) {
			servicetest.ForProjection(t, setUpStatuses).Given(sampleHistory(t)[:3]...).Then(map[string]string{"order-0": "cancelled"})
		}, []string{"when nothing fails", "[order-0]", "placed 1 placed 0 cancelled"}},
		{"kept outside of the transaction", func(t testing.TB) {
			servicetest.ForProjection(t, with(func(p *service.Projection[*servicetest.Tx], view *func() map[string]string) {
				apply, calls := p.Apply, 0
				p.Apply = func(ctx context.Context, tx *servicetest.Tx, r leat.Recorded) error {
					calls++
					return apply(ctx, tx, r)
				}
				*view = func() map[string]string { return map[string]string{"calls": fmt.Sprint(calls)} }
			})).Given(sampleHistory(t)...).ThenDespiteFailures()
		}, []string{"when call 1 of the handler fails", "[calls]: 15, then 16"}},
		{"parked", func(t testing.TB) {
			servicetest.ForProjection(t, with(func(p *service.Projection[*servicetest.Tx], _ *func() map[string]string) {
				p.Apply = func(context.Context, *servicetest.Tx, leat.Recorded) error { return errors.New("no such table") }
			})).Given(sampleHistory(t)...).Then(nil)
		}, []string{"when nothing fails", "is parked: no such table"}},
		{"no answer without a cause", func(t testing.TB) {
			servicetest.ForReactor(t, setUpCounting(func(leat.Recorded) []service.Option { return nil })).Given(sampleHistory(t)...).ThenDespiteFailures()
		}, []string{"the outcome is another", "int: 10, then"}},
		{"nothing to run", func(t testing.TB) {
			servicetest.ForProjection(t, with(func(p *service.Projection[*servicetest.Tx], _ *func() map[string]string) { p.Apply = nil })).Then(nil)
		}, []string{"Apply", "set"}},
		{"nothing checked", func(t testing.TB) { servicetest.ForProjection(t, setUpStatuses) }, []string{"without Then"}},
		{"undeclared", func(t testing.TB) { servicetest.Events[event](t, types, "order-1", undeclared{}) }, []string{"not declared"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &witness{TB: t}
				said := w.watch(c.test)
				for _, part := range c.says {
					if !strings.Contains(said, part) {
						t.Errorf("it said:\n%s\nwant %q in it", said, part)
					}
				}
			})
		})
	}
}

package servicetest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

type (
	parcelInput interface{ parcelInput() }

	packed    struct{ Parcel string }
	delivered struct{ Parcel string }

	parcelEvent interface{ parcelEvent() }

	underWay struct{}
	overdue  struct {
		Times int `json:"times"`
	}
	arrived struct{}

	collect struct {
		Parcel string `json:"parcel"`
	}
	ask struct{}

	parcel struct {
		Overdue int
		Done    bool
	}
)

func (packed) parcelInput()    {}
func (delivered) parcelInput() {}
func (underWay) parcelEvent()  {}
func (overdue) parcelEvent()   {}
func (arrived) parcelEvent()   {}

var errLost = errors.New("lost")

type parcelDecision = service.Decision[parcel, parcelEvent]

func parcels() *service.Process[parcel, parcelEvent, parcelInput] {
	never := errors.New("a command was carried out")
	return &service.Process[parcel, parcelEvent, parcelInput]{
		Name:   "parcel",
		Types:  service.NewTypes[parcelEvent](service.TypeOf[underWay]("UnderWay"), service.TypeOf[overdue]("Overdue"), service.TypeOf[arrived]("Arrived")),
		Inputs: service.NewTypes[parcelInput](service.TypeOf[packed]("Packed"), service.TypeOf[delivered]("Delivered")),
		Evolve: func(s parcel, e parcelEvent) parcel {
			switch e := e.(type) {
			case overdue:
				s.Overdue = e.Times
			case arrived:
				s.Done = true
			}
			return s
		},
		Route: func(e parcelInput, _ leat.Recorded) string {
			switch e := e.(type) {
			case packed:
				return e.Parcel
			case delivered:
				return e.Parcel
			}
			return ""
		},
		React: func(d *parcelDecision, e parcelInput, r leat.Recorded) error {
			switch e := e.(type) {
			case packed:
				d.Record(underWay{})
				d.Do(collect(e))
				d.SetTimer("overdue", r.At.Add(48*time.Hour))
			case delivered:
				if d.State().Overdue > 5 {
					return errLost
				}
				d.Record(arrived{})
				d.CancelTimer("overdue")
			}
			return nil
		},
		Fired: func(d *parcelDecision, _ string, due time.Time) error {
			d.Record(overdue{d.State().Overdue + 1})
			d.Do(ask{})
			d.SetTimer("overdue", due.Add(24*time.Hour))
			return nil
		},
		Refused: func(d *parcelDecision, command any, _ string) error {
			if _, is := command.(collect); is {
				d.CancelTimer("overdue")
			}
			return nil
		},
		Commands: []service.Command{
			service.CommandOf("Collect", func(context.Context, collect, leat.Recorded) error { return never }),
			service.CommandOf("Ask", func(context.Context, ask, leat.Recorded) error { return never }),
		},
		Store: servicetest.NewMemory(),
	}
}

func TestGivenWhenThenOfAProcess(t *testing.T) {
	servicetest.ForProcess(t, parcels()).
		When(packed{"7"}).Then(underWay{}, servicetest.Command(collect{"7"}), servicetest.Timer("overdue", 48*time.Hour)).
		After(47*time.Hour).ThenNothing().
		After(time.Hour).Then(overdue{1}, servicetest.Command(ask{}), servicetest.Timer("overdue", 24*time.Hour)).
		After(49*time.Hour).Then(
		overdue{2}, servicetest.Command(ask{}), servicetest.Timer("overdue", -time.Hour),
		overdue{3}, servicetest.Command(ask{}), servicetest.Timer("overdue", 23*time.Hour)).
		When(delivered{"7"}).Then(arrived{}, servicetest.CancelTimer("overdue")).
		After(1000 * time.Hour).ThenNothing()

	servicetest.ForProcess(t, parcels()).Given(packed{"7"}, packed{"8"}).
		When(delivered{"8"}).ThenState(func(t testing.TB, s parcel) {
		if !s.Done {
			t.Error("not done")
		}
	})
	servicetest.ForProcess(t, parcels()).Given(packed{"7"}).
		WhenRefused(collect{"7"}, "nobody there").Then(servicetest.CancelTimer("overdue"))
	servicetest.ForProcess(t, parcels()).When(packed{""}).ThenError(service.ErrSkipped)
	g := servicetest.ForProcess(t, parcels()).Given(packed{"7"})
	g.After(10 * 24 * time.Hour).ThenState(func(testing.TB, parcel) {})
	g.When(delivered{"7"}).ThenError(errLost)
}

func TestFailuresOfAProcessCanBeRead(t *testing.T) {
	for name, c := range map[string]struct {
		test func(t testing.TB)
		says []string
	}{
		"other decision": {func(t testing.TB) {
			servicetest.ForProcess(t, parcels()).When(packed{"7"}).
				Then(underWay{}, servicetest.Command(collect{"8"}), servicetest.Timer("overdue", time.Hour))
		}, []string{`-   "parcel": "8"`, `+   "parcel": "7"`, `- timer "overdue" in 1h0m0s`, `+ timer "overdue" in 48h0m0s`}},
		"error instead of decisions": {func(t testing.TB) {
			servicetest.ForProcess(t, parcels()).When(packed{""}).Then(underWay{})
		}, []string{"event skipped", "want 1 decisions", "UnderWay"}},
		"no error": {func(t testing.TB) {
			servicetest.ForProcess(t, parcels()).When(packed{"7"}).ThenError(errLost)
		}, []string{"error <nil>, want the error", "lost"}},
		"a command that is taken for an event": {func(t testing.TB) {
			servicetest.ForProcess(t, parcels()).When(packed{"7"}).Then(collect{"7"})
		}, []string{"Command(servicetest_test.collect{…})"}},
		"nothing checked": {func(t testing.TB) {
			servicetest.ForProcess(t, parcels()).When(packed{"7"})
		}, []string{"without Then"}},
		"time before anything": {func(t testing.TB) {
			servicetest.ForProcess(t, parcels()).After(time.Hour).ThenNothing()
		}, []string{"nothing was given"}},
		"a command that was not given": {func(t testing.TB) {
			servicetest.ForProcess(t, parcels()).Given(packed{"7"}).WhenRefused(ask{}, "no").ThenNothing()
		}, []string{"no such command was given", "Ask"}},
	} {
		t.Run(name, func(t *testing.T) {
			said := (&witness{TB: t}).watch(c.test)
			for _, s := range c.says {
				if !strings.Contains(said, s) {
					t.Errorf("said\n%s\nwant %q", said, s)
				}
			}
		})
	}
}

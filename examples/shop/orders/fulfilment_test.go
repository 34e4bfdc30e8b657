package orders

import (
	"testing"
	"time"

	"github.com/leathq/leat/service/servicetest"
)

// A fulfilmentTest is a test of the process.
type fulfilmentTest = servicetest.GivenProcess[fulfilment, fulfilmentEvent, foreign]

func TestFulfilment(t *testing.T) {
	first, last, invoice := stockReserved{"85123A", "536365"}, stockReserved{"71053", "536365"}, invoiceIssued{"536365"}
	done := func(want bool) func(testing.TB, fulfilment) {
		return func(t testing.TB, f fulfilment) {
			if f.Done != want || f.Goods != 2 {
				t.Errorf("the fulfilment is %+v, want one of 2 SKUs that is done: %v", f, want)
			}
		}
	}
	for name, test := range map[string]func(*fulfilmentTest){
		"reserved and invoiced after it was placed": func(g *fulfilmentTest) {
			g.When(placed).ThenState(done(false)).
				When(first).Then(goodsReserved{"85123A"}).
				When(invoice).Then(invoiced{}).
				When(last).ThenState(done(true)).
				After(time.Hour).ThenNothing()
		},
		"placed last": func(g *fulfilmentTest) {
			g.Given(first, last, invoice).When(placed).ThenState(done(true)).After(time.Hour).ThenNothing()
		},
		"late": func(g *fulfilmentTest) {
			g.Given(placed, first).
				After(patience - time.Second).ThenNothing().
				After(time.Second).Then(late{}).
				After(time.Hour).ThenNothing().
				When(last).Then(goodsReserved{"71053"}).
				When(invoice).ThenState(done(true))
		},
	} {
		t.Run(name, func(t *testing.T) { test(servicetest.ForProcess(t, new(Service).fulfilment())) })
	}
}

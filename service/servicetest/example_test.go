package servicetest_test

import (
	"fmt"
	"testing"

	"github.com/leathq/leat/service/servicetest"
)

// printer takes the place of the testing.T that a test is given, to show what a
// failure looks like.
type printer struct{ testing.TB }

func (printer) Helper()                   {}
func (printer) Cleanup(func())            {}
func (printer) Errorf(f string, a ...any) { fmt.Printf(f+"\n", a...) }

func ExampleFor() {
	var t testing.TB = printer{}

	servicetest.For(t, orders()).
		Given(placed{Lines: []string{"lantern"}}).
		When(cancel("changed my mind")).
		Then(cancelled{Reason: "changed my mind"})

	servicetest.For(t, orders()).
		Given(placed{}, cancelled{}).
		When(cancel("changed my mind")).
		ThenError(errDone)

	servicetest.For(t, orders()).
		When(cancel("changed my mind")).
		Then(cancelled{Reason: "too late"})
	// Output:
	// decided other events (- want, + got):
	//   Cancelled {
	// -   "reason": "too late"
	// +   "reason": "changed my mind"
	//   }
}

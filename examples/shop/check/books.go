package check

import (
	"fmt"
	"maps"
)

// Books are what somebody outside of the shop has heard of billing.
type Books struct {
	Events   map[string]int64 // of each type, each once
	Invoiced int64            // in tenths of a penny
	Late     int64            // events that came after a later one of their paper
	Again    int64            // events that came again and were not booked again
}

// CompareBooks checks that each event came, once in effect and in order.
func CompareBooks(expected, actual Books) Result {
	return Result{
		Name:     "webhook: the accountant has each of billing's events once",
		OK:       maps.Equal(expected.Events, actual.Events) && expected.Invoiced == actual.Invoiced && actual.Late == 0,
		Expected: expected.String(), Actual: actual.String(),
	}
}

func (b Books) String() string {
	s := fmt.Sprintf("%s events, %s invoiced, %s out of order", number(sum(b.Events)), money(b.Invoiced), number(b.Late))
	if b.Again > 0 {
		s += fmt.Sprintf(", %s came again", number(b.Again))
	}
	return s
}

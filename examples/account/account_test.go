package main

import (
	"testing"

	"github.com/leathq/leat/service/servicetest"
)

func TestWithdraw(t *testing.T) {
	servicetest.For(t, &accounts).
		Given(Deposited{Pence: 500}, Withdrawn{Pence: 100}).
		When(Withdraw(400)).
		Then(Withdrawn{Pence: 400})

	servicetest.For(t, &accounts).
		Given(Deposited{Pence: 500}).
		When(Withdraw(600)).
		ThenError(ErrNotEnough)
}

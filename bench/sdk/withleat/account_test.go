package withleat

import (
	"testing"

	"github.com/leathq/leat/service/servicetest"
)

func TestWithdraw(t *testing.T) {
	servicetest.For(t, &Accounts).Given(Deposited{500}, Withdrawn{100}).When(Withdraw(400)).Then(Withdrawn{400})
	servicetest.For(t, &Accounts).Given(Deposited{500}).When(Withdraw(600)).ThenError(ErrNotEnough)
}

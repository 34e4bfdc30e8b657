package withwatermill

import (
	"errors"
	"testing"
)

func TestWithdraw(t *testing.T) {
	a := Account{Pence: 400}
	if _, err := a.Withdraw(600); !errors.Is(err, ErrNotEnough) {
		t.Errorf("a withdrawal of 600 from %d: %v", a.Pence, err)
	}
	e, err := a.Withdraw(400)
	if err != nil || e != (Withdrawn{Pence: 400}) || a.Pence != 0 {
		t.Errorf("a withdrawal of 400: %v, %v, %d pence left", e, err, a.Pence)
	}
}

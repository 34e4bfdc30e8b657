package withhallgren

import (
	"errors"
	"testing"

	"github.com/hallgren/eventsourcing/aggregate"
	"github.com/hallgren/eventsourcing/eventstore/memory"
)

func TestWithdraw(t *testing.T) {
	es := memory.Create()
	account := func() *Account {
		a := &Account{}
		if err := aggregate.Load(t.Context(), es, "anna", a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	if err := Do(t.Context(), es, "anna", func(a *Account) error { a.Deposit(500); return a.Withdraw(100) }); err != nil {
		t.Fatal(err)
	}
	if err := Do(t.Context(), es, "anna", func(a *Account) error { return a.Withdraw(600) }); !errors.Is(err, ErrNotEnough) {
		t.Errorf("a withdrawal of 600 from %d: %v", account().Pence, err)
	}
	if err := Do(t.Context(), es, "anna", func(a *Account) error { return a.Withdraw(400) }); err != nil {
		t.Fatal(err)
	}
	if p := account().Pence; p != 0 {
		t.Errorf("%d pence are left, want 0", p)
	}
}

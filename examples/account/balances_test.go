package main

import (
	"database/sql"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

// newBalances returns the projection with an empty database, and what is in it.
func newBalances(t testing.TB, _ leat.Log) (service.Projection[*sql.Tx], func() map[string]int) {
	db, err := openBalances(t.Context(), filepath.Join(t.TempDir(), "account.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return balances(db), func() map[string]int { return allBalances(t, db) }
}

func allBalances(t testing.TB, db *sql.DB) map[string]int {
	rows, err := db.QueryContext(t.Context(), "select account, pence from balance")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	all := make(map[string]int)
	for rows.Next() {
		var account string
		var pence int
		if err := rows.Scan(&account, &pence); err != nil {
			t.Fatal(err)
		}
		all[account] = pence
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestBalances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servicetest.ForProjection(t, newBalances).
			Given(servicetest.Events[Event](t, types, "account-anna", Deposited{500}, Withdrawn{20})...).
			Given(servicetest.Events[Event](t, types, "account-bert", Deposited{70})...).
			Then(map[string]int{"account-anna": 480, "account-bert": 70}).
			ThenDespiteFailures()
	})
}

// An account without movements for a year: on the bubble's clock it passes at
// once.
func TestMovementAfterAYear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, err := leattest.New(leat.Config{}, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		for _, decide := range []decision{Deposit(500), Withdraw(20)} {
			if _, err := accounts.Do(t.Context(), log, "anna", decide); err != nil {
				t.Fatal(err)
			}
			time.Sleep(365 * 24 * time.Hour)
		}
		half := time.Now().Add(-400 * 24 * time.Hour)
		then, err := accounts.LoadAt(t.Context(), log, "anna", half)
		if err != nil || then.State.Pence != 500 {
			t.Errorf("400 days ago anna had %d pence (%v), want 500", then.State.Pence, err)
		}
	})
}

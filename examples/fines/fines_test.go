package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
	"github.com/leathq/leat/service/servicetest"
	"go.uber.org/goleak"
)

// realFile is the real log.
var realFile = cmp.Or(os.Getenv("LEAT_TEST_FINES"), "../../../shared/data/road-traffic-fines.csv.gz")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPaymentsOfADayAreJudgedTogether(t *testing.T) {
	paid := func(day, digits string, total Cents) Event { return Paid{Day: day, Digits: digits, Total: total} }
	for _, c := range []struct {
		name  string
		given []Event
		want  Tally
	}{
		{"tenths", []Event{paid("2008-01-01", "350", 3500)}, Tally{1, 1, 1, 1}},
		{"hundredths", []Event{paid("2008-01-01", "4925", 4925)}, Tally{1, 1, 1, 1}},
		{"tenths that do not end in 0", []Event{paid("2008-01-01", "715", 7150)}, Tally{1, 1, 1, 1}},
		{"two on a day", []Event{paid("2008-01-01", "490", 13600), paid("2008-01-01", "870", 13600)}, Tally{1, 2, 1, 2}},
		{"two days", []Event{paid("2008-01-01", "350", 3500), paid("2008-01-31", "220", 5700)}, Tally{2, 2, 2, 2}},
		{"one that is missing", []Event{paid("2008-01-01", "336", 6720), paid("2008-01-02", "100", 7720)}, Tally{2, 2, 1, 1}},
		{"no number", []Event{paid("2008-01-01", "", 0)}, Tally{1, 1, 0, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			servicetest.For(t, &fines).Given(Created{}).Given(c.given...).
				When(func(f Fine) ([]Event, error) {
					if got := f.Tally(); got != c.want {
						t.Errorf("the tally is %+v, want %+v", got, c.want)
					}
					return nil, nil
				}).ThenNothing()
		})
	}
}

// The real log, recorded, projected and loaded, agrees with its own totals wherever
// it can.
func TestRealFines(t *testing.T) {
	log := realLog(t)
	db, err := openLedger(t.Context(), filepath.Join(t.TempDir(), "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := catchUp(t.Context(), log, ledger(db)); err != nil {
		t.Fatal(err)
	}
	want := Tally{Days: 77_571, Payments: 77_601, ExplainedDays: 77_519, ExplainedPayments: 77_549}
	got, n, err := total(t.Context(), db)
	if err != nil || got != want || n != 150_370 {
		t.Errorf("the ledger has %+v of %d fines (%v), want %+v of 150370", got, n, err, want)
	}
	var events int
	if err := db.QueryRow("select total(events) from fine").Scan(&events); err != nil || events != 561_470 {
		t.Errorf("the ledger has %d events (%v), want 561470", events, err)
	}
	rows, err := db.Query("select id, paid from account where explained_days < days or days > 2")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() { // the aggregate says the same
		var id string
		var paid Cents
		if err := rows.Scan(&id, &paid); err != nil {
			t.Fatal(err)
		}
		f, err := fines.Load(t.Context(), log, strings.TrimPrefix(id, "fine-"))
		if err != nil || f.State.Paid != paid {
			t.Errorf("%s is paid with %d in the ledger and %d when it is loaded (%v)", id, paid, f.State.Paid, err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Error(err)
	}
}

func TestWithoutTheFile(t *testing.T) {
	err := run(t.Context(), os.Stderr, filepath.Join(t.TempDir(), "absent.csv.gz"), "")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without its file it ends with %v", err)
	}
}

// BenchmarkLedger projects the real log into SQLite. An operation is all of it.
func BenchmarkLedger(b *testing.B) {
	log := realLog(b)
	for b.Loop() {
		db, err := openLedger(b.Context(), filepath.Join(b.TempDir(), leat.NewID()))
		if err != nil {
			b.Fatal(err)
		}
		if err := catchUp(b.Context(), log, ledger(db)); err != nil {
			b.Fatal(err)
		}
		_ = db.Close()
	}
	b.ReportMetric(561_470*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// realLog returns a log of the real file, and skips the test without it.
func realLog(t testing.TB) leat.Log {
	t.Helper()
	if _, err := os.Stat(realFile); err != nil {
		t.Skipf("%s is not there: the real log is not looked at; set LEAT_TEST_FINES", realFile)
	}
	log, err := engine.Create(filepath.Join(t.TempDir(), "log"), leat.Config{}, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	n, err := importFile(context.WithoutCancel(t.Context()), log, realFile)
	if err != nil || n != 561_470 {
		t.Fatalf("%d rows are recorded (%v), want 561470", n, err)
	}
	return log
}

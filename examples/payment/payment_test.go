package payment

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/pages"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPaidInTime(t *testing.T) {
	servicetest.ForProcess(t, New(servicetest.NewMemory(), nil)).
		When(OrderPlaced{Order: "7", Pence: 500}).
		Then(Awaited{Pence: 500}, servicetest.Command(SendBill{Order: "7", Pence: 500}), servicetest.Timer("reminder", patience)).
		When(MoneyArrived{Order: "7", Pence: 200}).
		Then(Received{Pence: 200}).
		When(MoneyArrived{Order: "7", Pence: 300}).
		Then(Received{Pence: 300}, Settled{}, servicetest.CancelTimer("reminder"), servicetest.Command(Ship{Order: "7"})).
		After(2 * patience).ThenNothing()
}

func TestNotPaid(t *testing.T) {
	servicetest.ForProcess(t, New(servicetest.NewMemory(), nil)).
		Given(OrderPlaced{Order: "7", Pence: 500}).
		After(patience).
		Then(Reminded{}, servicetest.Command(Remind{Order: "7"}), servicetest.Timer("end", grace)).
		After(grace).
		Then(GivenUp{Reason: "not paid"}, servicetest.Command(Cancel{Order: "7"})).
		When(MoneyArrived{Order: "7", Pence: 500}).
		Then(Received{Pence: 500})
}

func TestNoAddress(t *testing.T) {
	servicetest.ForProcess(t, New(servicetest.NewMemory(), nil)).
		Given(OrderPlaced{Order: "7", Pence: 500}).
		WhenRefused(SendBill{Order: "7", Pence: 500}, "no address").
		Then(GivenUp{Reason: "no address"}, servicetest.CancelTimer("reminder"), servicetest.Command(Cancel{Order: "7"}))
}

// outside notes what it is asked for.
type outside chan string

func (o outside) SendBill(_ context.Context, _, order string, _ int) error {
	if order == "nowhere" {
		return ErrNoAddress
	}
	o <- "bill " + order
	return nil
}

func (o outside) Remind(_ context.Context, _, order string) error {
	o <- "remind " + order
	return nil
}

func (o outside) Ship(_ context.Context, order string, _ service.Option) error {
	o <- "ship " + order
	return nil
}

func (o outside) Cancel(_ context.Context, order string, _ service.Option) error {
	o <- "cancel " + order
	return nil
}

// The process in an App. (Weeks are better left to servicetest: an App looks
// around every second of them.)
func TestInAnApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, err := leattest.New(leat.Config{}, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		asked := make(outside, 100)
		app, err := service.NewApp(service.Config{Log: log, Logger: slog.New(slog.DiscardHandler)}, New(servicetest.NewMemory(), asked))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- app.Run(ctx) }()

		record := func(stream, typ, data string) {
			_, err := log.Append(t.Context(), []leat.Event{{Stream: stream, Type: typ, Source: "test", Data: []byte(data)}})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		record("order-7", "OrderPlaced", `{"order":"7","pence":500}`)
		record("order-8", "OrderPlaced", `{"order":"8","pence":500}`)
		record("order-9", "OrderPlaced", `{"order":"nowhere","pence":1}`)
		record("payment-1", "PaymentReceived", `{"order":"8","pence":500}`)
		time.Sleep(10 * time.Second)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		close(asked)
		var got []string
		for a := range asked {
			got = append(got, a)
		}
		slices.Sort(got)
		want := "bill 7, bill 8, cancel nowhere, ship 8"
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("asked for %s, want %s", s, want)
		}
	})
}

// What the guide shows is this program.
func TestGuide(t *testing.T) { pages.Check(t, "../../docs/processes.md") }

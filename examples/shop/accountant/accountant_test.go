package accountant_test

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/examples/shop/accountant"
	"github.com/leathq/leat/examples/shop/web"
	"github.com/leathq/leat/forward/webhook"
	"github.com/leathq/leat/service"
)

func TestEachEventIsBookedOnce(t *testing.T) {
	secret := webhook.NewSecret()
	a, err := accountant.Open(t.Context(), filepath.Join(t.TempDir(), "books.db"), secret)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	m := web.NewMux(slog.New(slog.DiscardHandler))
	a.Routes(m)
	server := httptest.NewServer(m)
	defer server.Close()
	send := func(secret webhook.Secret, events ...leat.Recorded) error {
		to, err := webhook.New(webhook.Config{URL: server.URL + accountant.Path, Mode: webhook.Batch, Secrets: []webhook.Secret{secret}})
		if err != nil {
			t.Fatal(err)
		}
		defer to.Close()
		return to.Send(t.Context(), service.Delivery{Log: "LOG", Events: events})
	}
	paper := func(version uint64, data string) leat.Recorded {
		return leat.Recorded{Version: version, Event: leat.Event{
			ID: fmt.Sprint("id-", version), Stream: "invoice-1", Type: "InvoiceIssued", Source: "billing",
			Time: time.Now(), ContentType: "application/json", Data: []byte(data),
		}}
	}

	if err := send(webhook.NewSecret(), paper(1, `{"amount":5}`)); err == nil {
		t.Error("a stranger's events are booked")
	}
	if err := send(secret, paper(1, `{"amount":5}`), paper(2, `[]`)); err == nil {
		t.Error("what is no paper is booked")
	}
	for _, events := range [][]leat.Recorded{
		{paper(1, `{"amount":5}`)},
		{paper(1, `{"amount":5}`), paper(3, `{"amount":-2}`)},
		{paper(2, `{}`)},
	} {
		if err := send(secret, events...); err != nil {
			t.Fatal(err)
		}
	}
	r, err := a.Report(t.Context())
	if got, want := fmt.Sprintf("%+v", r), "{Events:map[InvoiceIssued:3] Amounts:map[InvoiceIssued:3] Late:1 Again:1}"; err != nil || got != want {
		t.Errorf("the report is %s, %v; want %s", got, err, want)
	}
}

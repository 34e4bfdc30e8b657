package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"

	"github.com/leathq/leat/examples/shop/accountant"
	"github.com/leathq/leat/examples/shop/check"
	"github.com/leathq/leat/examples/shop/web"
	"github.com/leathq/leat/forward/webhook"
	"github.com/leathq/leat/service"
)

// secretVariable is the environment variable with the secret that billing signs
// with what it sends to the accountant.
const secretVariable = "LEAT_SHOP_SECRET"

func secretOf(variable string) (webhook.Secret, error) {
	secret, err := webhook.ParseSecret(os.Getenv(variable))
	if err != nil {
		return secret, fmt.Errorf("set %s: %w", variable, err)
	}
	return secret, nil
}

// accountantRole receives what billing forwards.
func accountantRole(f *flag.FlagSet) func(context.Context, *slog.Logger) error {
	db := f.String("db", "", "`FILE` of the accountant's books")
	listen := f.String("listen", "", "`ADDRESS` to serve HTTP on")
	return func(ctx context.Context, logger *slog.Logger) error {
		if err := required(f, "db", "listen"); err != nil {
			return err
		}
		secret, err := secretOf(secretVariable)
		if err != nil {
			return err
		}
		a, err := accountant.Open(ctx, *db, secret)
		if err != nil {
			return err
		}
		m := web.NewMux(logger)
		a.Routes(m)
		return errors.Join(web.Serve(ctx, *listen, m, web.ReadTimeout, logger), a.Close())
	}
}

// A forwarding service hands its events on.
type forwarding interface {
	Forwarder(to service.Destination) service.Runner
}

// toWebhook returns what forwards a service's events to a URL, and what closes
// its connections.
func toWebhook(s worked, url string) (service.Runner, func() error, error) {
	from, ok := s.(forwarding)
	if !ok {
		return nil, nil, errors.New("--webhook: this service forwards nothing")
	}
	secret, err := secretOf(secretVariable)
	if err != nil {
		return nil, nil, err
	}
	to, err := webhook.New(webhook.Config{URL: url, Mode: webhook.Batch, Secrets: []webhook.Secret{secret}})
	if err != nil {
		return nil, nil, err
	}
	return from.Forwarder(to), to.Close, nil
}

// paperTypes are the types of billing's events.
var paperTypes = []string{"InvoiceIssued", "PaymentCaptured", "CreditNoteIssued", "GoodwillGranted", "BalanceAdjusted"}

// booked checks that the accountant has what is in the log, and the amounts that
// billing says.
func booked(r accountant.Report, a *audit, gross map[string]int64) check.Result {
	expected := check.Books{Events: make(map[string]int64)}
	for _, amount := range gross {
		expected.Invoiced += amount
	}
	for _, t := range paperTypes {
		if n := a.types[t]; n > 0 {
			expected.Events[t] = n
		}
	}
	return check.CompareBooks(expected, check.Books{Events: r.Events, Invoiced: r.Amounts["InvoiceIssued"], Late: r.Late, Again: r.Again})
}

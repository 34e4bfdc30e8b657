package main

import (
	"context"
	"errors"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
)

// A network is a log that another process keeps, with the leases of those who
// share its shards.
type network interface {
	leat.Log
	leat.Leases
	Close() error
}

// storeAway is how long what needs the store waits while that is not there.
const storeAway = time.Minute

// dial opens the log at a URL such as leat://127.0.0.1:7070/shop.
func dial(ctx context.Context, url string) (network, error) {
	return client.Dial(ctx, url, client.Options{Retry: storeAway, Wait: true})
}

// away reports whether an error says that the store is not there for the moment.
func away(err error) bool { return errors.Is(err, client.ErrUnreachable) }

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

const (
	logName   = "shop"
	logShards = 4
)

// makeLog makes the log at a URL unless there is one.
func makeLog(ctx context.Context, url string) error {
	log, err := dial(ctx, url)
	if err == nil {
		return log.Close()
	}
	if errors.Is(err, leat.ErrNotFound) {
		_, err = client.Create(ctx, url, leat.Config{Shards: leat.EvenShards(logShards)}, client.Options{})
	}
	return err
}

// away reports whether an error says that the store is not there for the moment.
func away(err error) bool { return errors.Is(err, client.ErrUnreachable) }

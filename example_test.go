package leat_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
)

// A log in memory; package engine has one that lasts.
func open() leat.Log {
	log, err := leattest.New(leat.Config{ID: "shop"}, nil)
	if err != nil {
		panic(err)
	}
	return log
}

func event(stream, typ, data string) leat.Event {
	return leat.Event{Stream: stream, Type: typ, Source: "orders", Data: []byte(data)}
}

// Of two who read a stream at one version and append to it, one is told that it
// was too late.
func ExampleLog_append() {
	ctx, log := context.Background(), open()
	receipt, err := log.Append(ctx, []leat.Event{event("order-7", "OrderPlaced", `{"sku":"85123A"}`)}, leat.ExpectNew("order-7"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("placed at version", receipt.Versions[0])

	_, err = log.Append(ctx, []leat.Event{event("order-7", "OrderCancelled", `{}`)}, leat.ExpectVersion("order-7", 5))
	var conflict *leat.ConflictError
	if errors.As(err, &conflict) {
		fmt.Println(err)
	}
	// Output:
	// placed at version 1
	// conflict: stream "order-7" is at version 1, expected version 5
}

// Streams that share a hash tag can be written together.
func ExampleRouteKey() {
	ctx, log := context.Background(), open()
	_, err := log.Append(ctx, []leat.Event{
		event("order-{c42}-7", "OrderPlaced", `{}`),
		event("customer-{c42}", "CustomerOrdered", `{}`),
	})
	fmt.Println(err)
	_, err = log.Append(ctx, []leat.Event{
		event("order-8", "OrderPlaced", `{}`),
		event("customer-c42", "CustomerOrdered", `{}`),
	})
	fmt.Println(err)
	// Output:
	// <nil>
	// streams of one append need one route key: "order-8" and "customer-c42"
}

func ExampleLog_readStream() {
	ctx, log := context.Background(), open()
	for _, typ := range []string{"OrderPlaced", "OrderConfirmed", "OrderShipped"} {
		if _, err := log.Append(ctx, []leat.Event{event("order-7", typ, `{}`)}); err != nil {
			fmt.Println(err)
			return
		}
	}
	for e, err := range log.ReadStream(ctx, "order-7", leat.Range{After: 1}.Reverse()) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(e.Version, e.Type)
	}
	// Output:
	// 3 OrderShipped
	// 2 OrderConfirmed
}

// Read yields what there is, over all streams and shards.
func ExampleRead() {
	ctx, log := context.Background(), open()
	for _, stream := range []string{"order-7", "sku-85123A", "order-8"} {
		if _, err := log.Append(ctx, []leat.Event{event(stream, "Changed", `{}`)}); err != nil {
			fmt.Println(err)
			return
		}
	}
	orders := leat.Filter{Categories: []string{"order"}}
	for e, err := range leat.Read(ctx, log, orders, leat.Checkpoint{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(e.Stream, e.Type)
	}
	// Output:
	// order-7 Changed
	// order-8 Changed
}

// Follow yields what there is and what is still to come. A reader that keeps its
// checkpoint beside its results goes on where it was.
func ExampleFollow() {
	ctx, log := context.Background(), open()
	place := func(order string) {
		if _, err := log.Append(ctx, []leat.Event{event(order, "OrderPlaced", `{}`)}); err != nil {
			fmt.Println(err)
		}
	}
	place("order-7")
	place("order-8")

	handled := 0
	handle := func(from leat.Checkpoint, upTo int) leat.Checkpoint {
		for batch, err := range leat.Follow(ctx, log, leat.Filter{Types: []string{"OrderPlaced"}}, from) {
			if err != nil {
				fmt.Println(err)
				break
			}
			for _, e := range batch.Events {
				fmt.Println("handled", e.Stream)
				handled++
			}
			from.Advance(batch)
			if handled >= upTo {
				break
			}
		}
		return from
	}
	checkpoint, err := leat.Start(ctx, log, time.Time{})
	if err != nil {
		fmt.Println(err)
		return
	}
	checkpoint = handle(checkpoint, 2)
	fmt.Println("stopped at", checkpoint)
	place("order-9")
	handle(checkpoint, 3)
	// Output:
	// handled order-7
	// handled order-8
	// stopped at shop@1,shardId-000000000000=2
	// handled order-9
}

// A flaky log loses its first answer.
type flaky struct {
	leat.Log
	lost bool
}

func (f *flaky) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	r, err := f.Log.Append(ctx, events, conds...)
	if err == nil && !f.lost {
		f.lost = true
		return leat.Receipt{}, fmt.Errorf("connection lost: %w", leat.ErrUncertain)
	}
	return r, err
}

// After ErrUncertain the same events are appended again: the log knows their IDs,
// which it wrote into the slice the first time.
func ExampleErrUncertain() {
	ctx, log := context.Background(), &flaky{Log: open()}
	events := []leat.Event{event("order-7", "OrderPlaced", `{}`)}
	receipt, err := log.Append(ctx, events, leat.ExpectNew("order-7"))
	for errors.Is(err, leat.ErrUncertain) {
		fmt.Println("retry:", err)
		receipt, err = log.Append(ctx, events, leat.ExpectNew("order-7"))
	}
	fmt.Println(receipt.Versions, "duplicate:", receipt.Duplicate, "error:", err)
	// Output:
	// retry: connection lost: outcome is unknown; append the same events again
	// [1] duplicate: true error: <nil>
}

package archive_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/leattest"
)

// A service archives a log into a directory and reads it back.
func Example() {
	if err := archiveOrders(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// archived up to orders@1,shardId-000000000000=2
	// 1 order-536365 OrderPlaced
	// 2 order-536365 OrderConfirmed
}

func archiveOrders(ctx context.Context) error {
	orders, err := leattest.New(leat.Config{ID: "orders"}, nil)
	if err != nil {
		return err
	}
	defer orders.Close()
	for _, typ := range []string{"OrderPlaced", "OrderConfirmed"} {
		if _, err := orders.Append(ctx, []leat.Event{{Stream: "order-536365", Type: typ, Source: "orders"}}); err != nil {
			return err
		}
	}

	folder, err := os.MkdirTemp("", "archive")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	store, err := archive.OpenStore("file://" + folder)
	if err != nil {
		return err
	}

	// A server calls archiver.Run(ctx) and leaves it running. Here all there is
	// gets archived at once. A server has its key in a file: see LoadKey.
	key, err := archive.NewKey()
	if err != nil {
		return err
	}
	archiver, err := archive.NewArchiver(orders, store, archive.Config{Key: key})
	if err != nil {
		return err
	}
	head, err := leat.Start(ctx, orders, leat.Now)
	if err != nil {
		return err
	}
	if err := archiver.Flush(ctx, head); err != nil {
		return err
	}

	copied, err := archive.Open(ctx, store, "orders")
	if err != nil {
		return err
	}
	checkpoint, err := copied.Checkpoint(ctx)
	if err != nil {
		return err
	}
	fmt.Println("archived up to", checkpoint)
	for event, err := range copied.Events(ctx, leat.ShardNumber(0), 0) {
		if err != nil {
			return err
		}
		fmt.Println(event.Seq, event.Stream, event.Type)
	}
	return nil
}

// A log gives its old events to the archive, and a tier goes on showing them.
func ExampleTier() {
	if err := readThrough(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// trimmed: stream "order-536365" is kept from version 3 on
	// 1 OrderPlaced
	// 2 OrderConfirmed
	// 3 OrderShipped
}

func readThrough(ctx context.Context) error {
	orders, err := leattest.New(leat.Config{ID: "orders"}, nil)
	if err != nil {
		return err
	}
	defer orders.Close()
	record := func(typ string) error {
		_, err := orders.Append(ctx, []leat.Event{{Stream: "order-536365", Type: typ, Source: "orders"}})
		return err
	}
	if err := errors.Join(record("OrderPlaced"), record("OrderConfirmed")); err != nil {
		return err
	}
	old, err := archived(ctx, orders)
	if err != nil {
		return err
	}

	// The log forgets what is archived. A server leaves this to Retain, which
	// verifies the archive first.
	if _, err := orders.Trim(ctx, leat.ShardNumber(0), 3); err != nil {
		return err
	}
	if err := record("OrderShipped"); err != nil {
		return err
	}
	for _, err := range orders.ReadStream(ctx, "order-536365", leat.Range{}) {
		fmt.Println(err)
	}

	for event, err := range archive.Tier(orders, old).ReadStream(ctx, "order-536365", leat.Range{}) {
		if err != nil {
			return err
		}
		fmt.Println(event.Version, event.Type)
	}
	return nil
}

// archived archives a log into memory, for an example.
func archived(ctx context.Context, log leat.Log) (*archive.Archive, error) {
	key, err := archive.NewKey()
	if err != nil {
		return nil, err
	}
	store := newMemoryStore()
	archiver, err := archive.NewArchiver(log, store, archive.Config{Key: key})
	if err != nil {
		return nil, err
	}
	head, err := leat.Start(ctx, log, leat.Now)
	if err != nil {
		return nil, err
	}
	if err := archiver.Flush(ctx, head); err != nil {
		return nil, err
	}
	return archive.Open(ctx, store, "orders", key.Public())
}

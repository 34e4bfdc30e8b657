package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
)

// A copy is a log of the next epoch, so that readers learn when it takes the
// place of the log it was made of.
func ExampleLog_Backup() {
	dir, err := os.MkdirTemp("", "leat")
	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	check(err)
	defer os.RemoveAll(dir)
	ctx := context.Background()

	log, err := engine.Create(filepath.Join(dir, "log"), leat.Config{}, engine.Options{})
	check(err)
	placed := []leat.Event{{Stream: "order-1", Type: "Placed", Source: "shop", Data: []byte(`{"total":1250}`)}}
	_, err = log.Append(ctx, placed)
	check(err)
	check(log.Backup(ctx, filepath.Join(dir, "monday")))
	check(log.Close()) // or go on with it

	restored, err := engine.Open(filepath.Join(dir, "monday"), engine.Options{})
	check(err)
	info, err := restored.Info(ctx)
	check(err)
	receipt, err := restored.Append(ctx, placed)
	check(err)
	fmt.Println("epoch", info.Epoch, "knows the order:", receipt.Duplicate)
	check(restored.Close())
	// Output: epoch 2 knows the order: true
}

// A scan shows the events of a shard one after the other, in memory that the
// next one uses again.
func ExampleLog_ScanShard() {
	dir, err := os.MkdirTemp("", "leat")
	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	check(err)
	defer os.RemoveAll(dir)
	ctx := context.Background()

	log, err := engine.Create(dir, leat.Config{}, engine.Options{})
	check(err)
	for _, typ := range []string{"Placed", "Paid", "Shipped"} {
		_, err = log.Append(ctx, []leat.Event{{Stream: "order-1", Type: typ, Source: "shop"}})
		check(err)
	}
	batch, err := log.ScanShard(ctx, leat.ShardNumber(0), 0, leat.ReadOptions{}, func(e *leat.Recorded) error {
		fmt.Println(e.Version, e.Type)
		return nil
	})
	check(err)
	fmt.Println("up to", batch.Next, "of", batch.Head)
	check(log.Close())
	// Output:
	// 1 Placed
	// 2 Paid
	// 3 Shipped
	// up to 3 of 3
}

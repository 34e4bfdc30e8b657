package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
)

// A log at a server is used like any other.
func ExampleDial() {
	ctx := context.Background()
	shop, err := client.Dial(ctx, "leat://localhost:7070/shop", client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer shop.Close()

	placed := []leat.Event{{Stream: "order-1", Type: "OrderPlaced", Source: "shop", Data: []byte(`{"total":5}`)}}
	receipt, err := shop.Append(ctx, placed, leat.ExpectNew("order-1"))
	if errors.Is(err, leat.ErrUncertain) {
		receipt, err = shop.Append(ctx, placed, leat.ExpectNew("order-1")) // the IDs are in placed now
	}
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Println(receipt.Versions)
}

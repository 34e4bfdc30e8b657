package sqlite_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/sqlite"
)

// A Customers service keeps customers as they are now, and tells the others of
// each change.
type Customers struct {
	db     *sql.DB
	outbox *sqlite.Outbox
}

// Move changes an address. The row and the event are one transaction: there is
// no change that nobody hears of, and no event of what did not happen.
func (c *Customers) Move(ctx context.Context, id, address string) error {
	data, err := json.Marshal(map[string]string{"address": address})
	if err != nil {
		return err
	}
	tx, err := c.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	_, err = tx.ExecContext(ctx, `insert into customer values (?, ?)
		on conflict (id) do update set address = excluded.address`, id, address)
	if err != nil {
		return err
	}
	err = c.outbox.Put(ctx, tx, leat.Event{
		Stream: "customer-" + id, Type: "CustomerMoved", Source: "customers", Data: data,
	})
	if err != nil {
		return err
	}
	return tx.Commit()
}

// settle decides what becomes of events that the log refused.
func settle(ctx context.Context, outbox *sqlite.Outbox) error {
	parked, err := outbox.Parked(ctx, "customers/outbox", "")
	if err != nil {
		return err
	}
	for _, p := range parked { // Version is the number in the outbox
		if p.Type == "CustomerMoved" { // the log takes larger events now
			err = outbox.Retry(ctx, "customers/outbox", p.Stream)
		} else { // never; it stays in the table as a record
			err = outbox.Discard(ctx, "customers/outbox", p.Stream, p.Version, "nobody reads these")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var _ = settle // is compiled, and not called

// A service that keeps plain state puts events into the outbox of its database;
// a relay brings them into the log.
func ExampleOutbox() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	db, err := sqlite.Open(filepath.Join(dir, "customers.db"))
	if err != nil {
		panic(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "create table customer (id text primary key, address text)"); err != nil {
		panic(err)
	}
	log, err := leattest.New(leat.Config{}, time.Now) // a service dials a server instead
	if err != nil {
		panic(err)
	}
	defer log.Close()

	outbox, err := sqlite.NewOutbox(ctx, db)
	if err != nil {
		panic(err)
	}
	app, err := service.NewApp(service.Config{Log: log}, service.Relay{Name: "customers/outbox", Outbox: outbox})
	if err != nil {
		panic(err)
	}
	ended := make(chan error)
	go func() { ended <- app.Run(ctx) }()

	customers := &Customers{db, outbox}
	for _, address := range []string{"1 Mill Lane", "2 Weir Street"} {
		if err := customers.Move(ctx, "17", address); err != nil {
			panic(err)
		}
	}

	from, seen := leat.Checkpoint{}, 0
	for b, err := range leat.Follow(ctx, log, leat.Filter{Categories: []string{"customer"}}, from) {
		if err != nil {
			panic(err)
		}
		for _, r := range b.Events {
			fmt.Println(r.Stream, r.Version, r.Type, string(r.Data))
			seen++
		}
		if seen == 2 {
			break
		}
	}
	cancel()
	fmt.Println(<-ended)
	// Output:
	// customer-17 1 CustomerMoved {"address":"1 Mill Lane"}
	// customer-17 2 CustomerMoved {"address":"2 Weir Street"}
	// <nil>
}

// Package withwatermill is the compared service with Watermill and its SQL Pub/Sub:
// the account is a row in PostgreSQL, its events are published in the transaction
// that changes it, and one group of handlers projects them.
package withwatermill

import (
	"context"
	"database/sql"
	"errors"

	"github.com/ThreeDotsLabs/watermill"
	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/leathq/leat/bench/sdk/readmodel"
)

type Deposited struct {
	Account string
	Pence   int
}
type Withdrawn struct {
	Account string
	Pence   int
}

const topic = "accounts"

// Tables holds the state of each account.
const Tables = "create table if not exists account (id text primary key, pence integer not null)"

var marshaler = cqrs.JSONMarshaler{}

// Account is the aggregate.
type Account struct {
	ID    string
	Pence int
}

func (a *Account) Deposit(pence int) any {
	a.Pence += pence
	return Deposited{a.ID, pence}
}

var ErrNotEnough = errors.New("not enough in the account")

func (a *Account) Withdraw(pence int) (any, error) {
	if a.Pence < pence {
		return nil, ErrNotEnough
	}
	a.Pence -= pence
	return Withdrawn{a.ID, pence}, nil
}

// Do carries out a command: the state and the event are committed together.
func Do(ctx context.Context, db *sql.DB, id string, command func(*Account) (any, error)) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	if _, err := tx.ExecContext(ctx, "insert into account values ($1, 0) on conflict do nothing", id); err != nil {
		return err
	}
	a := Account{ID: id}
	if err := tx.QueryRowContext(ctx, "select pence from account where id = $1 for update", id).Scan(&a.Pence); err != nil {
		return err
	}
	event, err := command(&a)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "update account set pence = $2 where id = $1", id, a.Pence); err != nil {
		return err
	}
	publisher, err := wsql.NewPublisher(wsql.TxFromStdSQL(tx), wsql.PublisherConfig{SchemaAdapter: wsql.DefaultPostgreSQLSchema{}}, nil)
	if err != nil {
		return err
	}
	bus, err := cqrs.NewEventBusWithConfig(publisher, cqrs.EventBusConfig{
		GeneratePublishTopic: func(cqrs.GenerateEventPublishTopicParams) (string, error) { return topic, nil },
		Marshaler:            marshaler,
	})
	if err != nil {
		return err
	}
	if err := bus.Publish(ctx, event); err != nil {
		return err
	}
	return tx.Commit()
}

// Subscriber returns what reads the events from PostgreSQL.
func Subscriber(db *sql.DB) (*wsql.Subscriber, error) {
	return wsql.NewSubscriber(wsql.BeginnerFromStdSQL(db), wsql.SubscriberConfig{
		ConsumerGroup: "balances", SchemaAdapter: wsql.DefaultPostgreSQLSchema{}, OffsetsAdapter: wsql.DefaultPostgreSQLOffsetsAdapter{},
		InitializeSchema: true,
	}, nil)
}

// Balances returns a router that projects the events into the read model.
func Balances(subscriber message.Subscriber, db *sql.DB) (*message.Router, error) {
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	processor, err := cqrs.NewEventGroupProcessorWithConfig(router, cqrs.EventGroupProcessorConfig{
		GenerateSubscribeTopic: func(cqrs.EventGroupProcessorGenerateSubscribeTopicParams) (string, error) { return topic, nil },
		SubscriberConstructor: func(cqrs.EventGroupProcessorSubscriberConstructorParams) (message.Subscriber, error) {
			return subscriber, nil
		},
		Marshaler: marshaler,
	})
	if err != nil {
		return nil, err
	}
	add := func(ctx context.Context, account string, pence int) error {
		_, err := db.ExecContext(ctx, readmodel.Upsert, account, pence)
		return err
	}
	return router, processor.AddHandlersGroup("balances",
		cqrs.NewGroupEventHandler(func(ctx context.Context, e *Deposited) error { return add(ctx, e.Account, e.Pence) }),
		cqrs.NewGroupEventHandler(func(ctx context.Context, e *Withdrawn) error { return add(ctx, e.Account, -e.Pence) }),
	)
}

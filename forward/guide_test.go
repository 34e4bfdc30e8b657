// Package forward_test holds what docs/forwarding.md shows.
package forward_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/leathq/leat"
	"github.com/leathq/leat/forward/aws"
	"github.com/leathq/leat/forward/tolog"
	"github.com/leathq/leat/forward/webhook"
	"github.com/leathq/leat/internal/pages"
	"github.com/leathq/leat/service"
)

func forwardToPartner(ctx context.Context, log leat.Log, leases leat.Leases, checkpoints service.CheckpointStore, secret webhook.Secret) error {
	to, err := webhook.New(webhook.Config{
		URL:     "https://partner.example/events",
		Mode:    webhook.Batch,
		Secrets: []webhook.Secret{secret},
	})
	if err != nil {
		return err
	}
	defer to.Close()
	app, err := service.NewApp(service.Config{Log: log, Leases: leases},
		service.Forwarder{
			Name:        "partner",
			Filter:      leat.Filter{Categories: []string{"order"}},
			To:          to,
			Checkpoints: checkpoints,
		})
	if err != nil {
		return err
	}
	return app.Run(ctx)
}

func withoutCustomer(r leat.Recorded) (leat.Recorded, error) {
	var order struct {
		Customer string          `json:"customer,omitempty"`
		Lines    json.RawMessage `json:"lines"`
	}
	if err := json.Unmarshal(r.Data, &order); err != nil {
		return r, err // parked
	}
	if order.Customer == "test" {
		return r, service.ErrSkipped
	}
	order.Customer = ""
	data, err := json.Marshal(order)
	r.Data = data
	return r, err
}

func recordedHere(r leat.Recorded) (leat.Recorded, error) {
	r.Meta = r.Meta.With(leat.MetaOriginLog, "")
	return r, nil
}

func forwardToReporting(reporting leat.Log, checkpoints service.CheckpointStore) service.Runner {
	copies := service.Forwarder{
		Name:        "to-reporting",
		Filter:      leat.Filter{Categories: []string{"order", "invoice"}},
		To:          &tolog.Destination{Log: reporting},
		Checkpoints: checkpoints,
	}
	return copies
}

func forwardToAWS(ctx context.Context, queueURL, topicARN string, use func(...service.Destination) error) error {
	c, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	stream := &aws.Kinesis{Client: kinesis.NewFromConfig(c), Stream: "orders"}
	queue := &aws.SQS{Client: sqs.NewFromConfig(c), URL: queueURL}
	topic := &aws.SNS{Client: sns.NewFromConfig(c), ARN: topicARN}
	return use(stream, queue, topic)
}

func receive(db *sql.DB, secret webhook.Secret) {
	receiver := webhook.Verifier{Secrets: []webhook.Secret{secret}}
	http.Handle("/events", receiver.Handler(func(ctx context.Context, events []leat.Event) error {
		return inTransaction(ctx, db, func(tx *sql.Tx) error {
			for _, e := range events {
				first, err := remember(ctx, tx, e.Stream, e.ID)
				if err != nil {
					return err // 500: all of them come again
				}
				if first {
					if err := apply(ctx, tx, e); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}))
}

var (
	inTransaction func(context.Context, *sql.DB, func(*sql.Tx) error) error
	remember      func(ctx context.Context, tx *sql.Tx, stream, id string) (first bool, err error)
	apply         func(context.Context, *sql.Tx, leat.Event) error
)

// They are compiled, and not called.
var _ = []any{forwardToPartner, forwardToReporting, forwardToAWS, receive, recordedHere}

func TestTransform(t *testing.T) {
	for data, left := range map[string]string{
		`{"customer":"c1","lines":[1]}`: `{"lines":[1]}`, `{"customer":"test","lines":[]}`: service.ErrSkipped.Error(),
	} {
		r, err := withoutCustomer(leat.Recorded{Event: leat.Event{Data: []byte(data)}})
		if got := string(r.Data); err == nil && got != left || err != nil && err.Error() != left {
			t.Errorf("%s becomes %s, %v; want %s", data, got, err, left)
		}
	}
}

func TestPage(t *testing.T) { pages.Check(t, "../docs/forwarding.md") }

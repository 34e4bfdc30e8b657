package aws

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

// Limits of Kinesis.
const (
	kinesisRecords = 500
	kinesisRequest = 10 << 20
	kinesisRecord  = 1 << 20
)

// Kinesis is a data stream that events are forwarded to. An event's partition key
// is its stream, all of it, so that Kinesis keeps the order of each stream; that
// of streams with one route key it does not. It is safe for concurrent use.
type Kinesis struct {
	Client *kinesis.Client
	Stream string // its name

	// MaxRecord is how many bytes the data stream takes for a record and its
	// partition key; 1 MiB when 0.
	MaxRecord int
}

var _ service.Destination = (*Kinesis)(nil)

// Check implements [service.Destination]. It looks whether there is such a data
// stream, if it may.
func (k *Kinesis) Check(ctx context.Context, _ leat.Info) error {
	if k.Client == nil || k.Stream == "" {
		return service.Permanent(&leat.InvalidError{Field: "Kinesis.Client and Kinesis.Stream", Limit: "set"})
	}
	_, err := k.Client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &k.Stream})
	return check(fmt.Sprintf("Kinesis data stream %q", k.Stream), err)
}

// Bounds implements [service.Destination].
func (k *Kinesis) Bounds() service.Bounds {
	return service.Bounds{Events: kinesisRecords, Bytes: kinesisRequest / 2, OnePerStream: true}
}

// Send implements [service.Destination].
func (k *Kinesis) Send(ctx context.Context, d service.Delivery) error {
	return send(ctx, d, limits{kinesisRecords, kinesisRequest, cmp.Or(k.MaxRecord, kinesisRecord)}, k.put)
}

func (k *Kinesis) put(ctx context.Context, entries []entry) ([]error, error) {
	in := &kinesis.PutRecordsInput{StreamName: &k.Stream}
	for _, e := range entries {
		in.Records = append(in.Records, types.PutRecordsRequestEntry{Data: []byte(e.body), PartitionKey: &e.Stream})
	}
	out, err := k.Client.PutRecords(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("put %d records into Kinesis data stream %q: %w", len(entries), k.Stream, err)
	}
	if len(out.Records) != len(entries) {
		return nil, errors.New("put records into Kinesis: the answer is about other records than those sent")
	}
	errs := make([]error, len(entries))
	for i, r := range out.Records {
		if code := aws.ToString(r.ErrorCode); code != "" {
			errs[i] = fmt.Errorf("put a record into Kinesis data stream %q: %w", k.Stream, failed(code, aws.ToString(r.ErrorMessage)))
		}
	}
	return errs, nil
}

package aws

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

// SNS is a topic that events are forwarded to. In a FIFO topic, whose name ends
// in ".fifo", each stream is a message group, so that its order is kept, and an
// event that comes again within five minutes is dropped. A standard topic keeps
// no order. It is safe for concurrent use.
type SNS struct {
	Client *sns.Client
	ARN    string // of the topic

	// MaxMessage is how many bytes the topic takes for a message; 256 KiB when 0.
	// All messages of a request together have as many at most.
	MaxMessage int
}

var _ service.Destination = (*SNS)(nil)

// Check implements [service.Destination]. It looks whether there is such a topic,
// if it may.
func (t *SNS) Check(ctx context.Context, _ leat.Info) error {
	if t.Client == nil || t.ARN == "" {
		return service.Permanent(&leat.InvalidError{Field: "SNS.Client and SNS.ARN", Limit: "set"})
	}
	_, err := t.Client.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: &t.ARN})
	return check("SNS topic "+t.ARN, err)
}

// Bounds implements [service.Destination].
func (t *SNS) Bounds() service.Bounds {
	return service.Bounds{Events: queueEntries, OnePerStream: true}
}

// Send implements [service.Destination].
func (t *SNS) Send(ctx context.Context, d service.Delivery) error {
	most := cmp.Or(t.MaxMessage, queueMessage)
	return send(ctx, d, limits{queueEntries, most, most}, t.post)
}

func (t *SNS) post(ctx context.Context, entries []entry) ([]error, error) {
	in := &sns.PublishBatchInput{TopicArn: &t.ARN}
	for i, e := range entries {
		m := types.PublishBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), Message: &e.body}
		if fifo(t.ARN) {
			m.MessageGroupId, m.MessageDeduplicationId = aws.String(groupID(e.Stream)), aws.String(deduplicationID(e.Recorded))
		}
		in.PublishBatchRequestEntries = append(in.PublishBatchRequestEntries, m)
	}
	out, err := t.Client.PublishBatch(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("publish %d messages to SNS topic %s: %w", len(entries), t.ARN, err)
	}
	a := newAnswers(len(entries))
	for _, s := range out.Successful {
		a.taken(s.Id)
	}
	for _, f := range out.Failed {
		a.failed(f.Id, fmt.Errorf("publish a message to SNS topic %s: %w", t.ARN, failed(aws.ToString(f.Code), aws.ToString(f.Message))))
	}
	return a, nil
}

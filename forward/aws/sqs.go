package aws

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

// Limits of SQS and SNS.
const (
	queueEntries = 10
	queueMessage = 256 << 10
)

// SQS is a queue that events are forwarded to. In a FIFO queue, whose name ends
// in ".fifo", each stream is a message group, so that its order is kept, and an
// event that comes again within five minutes is dropped. A standard queue keeps
// no order. It is safe for concurrent use.
type SQS struct {
	Client *sqs.Client
	URL    string // of the queue

	// MaxMessage is how many bytes the queue takes for a message; 256 KiB when 0.
	// All messages of a request together have as many at most.
	MaxMessage int
}

var _ service.Destination = (*SQS)(nil)

// Check implements [service.Destination]. It looks whether there is such a queue,
// if it may.
func (q *SQS) Check(ctx context.Context, _ leat.Info) error {
	if q.Client == nil || q.URL == "" {
		return service.Permanent(&leat.InvalidError{Field: "SQS.Client and SQS.URL", Limit: "set"})
	}
	_, err := q.Client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &q.URL, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn},
	})
	return check("SQS queue "+q.URL, err)
}

// Bounds implements [service.Destination].
func (q *SQS) Bounds() service.Bounds {
	return service.Bounds{Events: queueEntries, OnePerStream: true}
}

// Send implements [service.Destination].
func (q *SQS) Send(ctx context.Context, d service.Delivery) error {
	most := cmp.Or(q.MaxMessage, queueMessage)
	return send(ctx, d, limits{queueEntries, most, most}, q.post)
}

func (q *SQS) post(ctx context.Context, entries []entry) ([]error, error) {
	in := &sqs.SendMessageBatchInput{QueueUrl: &q.URL}
	for i, e := range entries {
		m := types.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), MessageBody: &e.body}
		if fifo(q.URL) {
			m.MessageGroupId, m.MessageDeduplicationId = aws.String(groupID(e.Stream)), aws.String(deduplicationID(e.Recorded))
		}
		in.Entries = append(in.Entries, m)
	}
	out, err := q.Client.SendMessageBatch(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("send %d messages to SQS queue %s: %w", len(entries), q.URL, err)
	}
	a := newAnswers(len(entries))
	for _, s := range out.Successful {
		a.taken(s.Id)
	}
	for _, f := range out.Failed {
		a.failed(f.Id, fmt.Errorf("send a message to SQS queue %s: %w", q.URL, failed(aws.ToString(f.Code), aws.ToString(f.Message))))
	}
	return a, nil
}

// answers are what SQS and SNS say of each entry of a request.
type answers []error

// newAnswers returns those to a request of which nothing is said: what nobody
// confirms was not taken.
func newAnswers(n int) answers {
	a := make(answers, n)
	for i := range a {
		a[i] = fmt.Errorf("the answer says nothing of the message: %w", leat.ErrUncertain)
	}
	return a
}

func (a answers) taken(id *string) { a.failed(id, nil) }

func (a answers) failed(id *string, err error) {
	if i, bad := strconv.Atoi(aws.ToString(id)); bad == nil && i >= 0 && i < len(a) {
		a[i] = err
	}
}

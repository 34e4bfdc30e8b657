package aws_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	kinesistypes "github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/leathq/leat"
	"github.com/leathq/leat/forward/aws"
	"github.com/leathq/leat/service/servicetest"
)

// startMoto starts a server that implements the services themselves.
func startMoto(t *testing.T) (endpoint string) {
	t.Helper()
	program, err := exec.LookPath("moto_server")
	if err != nil {
		t.Skip("no moto_server on the PATH: pip install 'moto[server]'")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	address := l.Addr().(*net.TCPAddr)
	ok(t, l.Close())
	server := exec.Command(program, "-H", "127.0.0.1", "-p", fmt.Sprint(address.Port))
	ok(t, server.Start())
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	endpoint = "http://" + address.String()
	for began := time.Now(); ; {
		r, err := http.Get(endpoint + "/moto-api/data.json")
		if err == nil {
			_ = r.Body.Close()
			http.DefaultClient.CloseIdleConnections()
			return endpoint
		}
		if time.Since(began) > 90*time.Second {
			t.Fatalf("moto_server does not answer: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// What is forwarded to the services themselves can be received from them, in
// order, and once where they know an event again.
func TestTheServicesThemselves(t *testing.T) {
	endpoint := startMoto(t)
	c := config(endpoint)
	const many = 40
	log := newLog(t, 2)
	sent := fill(t, log, many, 8)
	compare := func(t *testing.T, got map[string]string) {
		t.Helper()
		for stream := range sent {
			want(t, stream, got[stream], sent[stream])
		}
	}

	t.Run("Kinesis", func(t *testing.T) {
		client := kinesis.NewFromConfig(c)
		to := &aws.Kinesis{Client: client, Stream: "orders"}
		if err := to.Check(t.Context(), leat.Info{}); err == nil {
			t.Error("Check of a data stream that there is not succeeds")
		}
		_, err := client.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: awssdk.String("orders"), ShardCount: awssdk.Int32(3)})
		ok(t, err)
		want(t, "forwarded", forward(t, log, to, servicetest.NewMemory()).Forwarded, uint64(many))
		compare(t, ids(t, readKinesis(t, client, "orders")))
	})

	queues := sqs.NewFromConfig(c)
	newQueue := func(t *testing.T, name string) (url, arn string) {
		t.Helper()
		attributes := map[string]string{}
		if strings.HasSuffix(name, ".fifo") {
			attributes["FifoQueue"] = "true"
		}
		q, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
		ok(t, err)
		a, err := queues.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: q.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{"QueueArn"}})
		ok(t, err)
		return *q.QueueUrl, a.Attributes["QueueArn"]
	}

	t.Run("SQS", func(t *testing.T) {
		to := &aws.SQS{Client: queues, URL: endpoint + "/123456789012/none"}
		if err := to.Check(t.Context(), leat.Info{}); err == nil {
			t.Error("Check of a queue that there is not succeeds")
		}
		for _, name := range []string{"orders", "orders.fifo"} {
			to.URL, _ = newQueue(t, name)
			want(t, "forwarded", forward(t, log, to, servicetest.NewMemory()).Forwarded, uint64(many))
			if name == "orders.fifo" { // again, as after a crash
				forward(t, log, to, servicetest.NewMemory())
			}
			bodies := readSQS(t, queues, to.URL)
			want(t, "messages in "+name, len(bodies), many)
			got := ids(t, bodies)
			if name == "orders.fifo" {
				compare(t, got)
			}
			want(t, "streams in "+name, len(got), len(sent))
		}
	})

	t.Run("SNS", func(t *testing.T) {
		client := sns.NewFromConfig(c)
		to := &aws.SNS{Client: client, ARN: "arn:aws:sns:eu-west-1:123456789012:none"}
		if err := to.Check(t.Context(), leat.Info{}); err == nil {
			t.Error("Check of a topic that there is not succeeds")
		}
		topic, err := client.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: awssdk.String("orders.fifo"), Attributes: map[string]string{"FifoTopic": "true"}})
		ok(t, err)
		to.ARN = *topic.TopicArn
		url, arn := newQueue(t, "subscribed.fifo")
		_, err = client.Subscribe(t.Context(), &sns.SubscribeInput{
			TopicArn: topic.TopicArn, Protocol: awssdk.String("sqs"), Endpoint: &arn, Attributes: map[string]string{"RawMessageDelivery": "true"},
		})
		ok(t, err)
		want(t, "forwarded", forward(t, log, to, servicetest.NewMemory()).Forwarded, uint64(many))
		compare(t, ids(t, readSQS(t, queues, url)))
	})
}

func readKinesis(t *testing.T, client *kinesis.Client, stream string) (bodies []string) {
	t.Helper()
	shards, err := client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: &stream})
	ok(t, err)
	for _, s := range shards.Shards {
		it, err := client.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{
			StreamName: &stream, ShardId: s.ShardId, ShardIteratorType: kinesistypes.ShardIteratorTypeTrimHorizon,
		})
		ok(t, err)
		for next := it.ShardIterator; ; {
			out, err := client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: next})
			ok(t, err)
			for _, r := range out.Records {
				bodies = append(bodies, string(r.Data))
			}
			if len(out.Records) == 0 {
				break
			}
			next = out.NextShardIterator
		}
	}
	return bodies
}

func readSQS(t *testing.T, client *sqs.Client, url string) (bodies []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		out, err := client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 10})
		ok(t, err)
		if len(out.Messages) == 0 {
			return bodies
		}
		in := &sqs.DeleteMessageBatchInput{QueueUrl: &url}
		for _, m := range out.Messages {
			if !json.Valid([]byte(*m.Body)) {
				t.Errorf("a message is %s", *m.Body)
			}
			bodies = append(bodies, *m.Body)
			in.Entries = append(in.Entries, sqstypes.DeleteMessageBatchRequestEntry{Id: m.MessageId, ReceiptHandle: m.ReceiptHandle})
		}
		_, err = client.DeleteMessageBatch(ctx, in)
		ok(t, err)
	}
}

package aws_test

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/leathq/leat/forward/aws"
	"github.com/leathq/leat/forward/cloudevent"
	"github.com/leathq/leat/service"
)

// A fake speaks the wire protocols of Kinesis, SQS and SNS as far as sending
// goes, and fails as it is told.
type fake struct {
	t      *testing.T
	server *httptest.Server

	// judge says what becomes of a request: an HTTP status and an error code for
	// all of it, or for each message an error code, empty when it is taken.
	judge func(messages []message) (status int, code string, each []string)

	mu       sync.Mutex
	requests [][]message
	taken    []message
}

// A message is what a request has for one event.
type message struct{ id, body, group, dedup string }

func newFake(t *testing.T, judge func([]message) (int, string, []string)) *fake {
	f := &fake{t: t, judge: judge}
	f.server = httptest.NewUnstartedServer(f)
	f.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	f.server.Start()
	t.Cleanup(f.server.Close)
	return f
}

// config is for clients of the fake, which try once.
func config(endpoint string) awssdk.Config {
	return awssdk.Config{
		Region: "eu-west-1", BaseEndpoint: &endpoint,
		Credentials: awssdk.CredentialsProviderFunc(func(context.Context) (awssdk.Credentials, error) {
			return awssdk.Credentials{AccessKeyID: "id", SecretAccessKey: "hidden"}, nil
		}),
		Retryer: func() awssdk.Retryer { return awssdk.NopRetryer{} },
	}
}

// destinations are all kinds there are, as clients of an endpoint.
func destinations(endpoint string) map[string]service.Destination {
	c := config(endpoint)
	return map[string]service.Destination{
		"Kinesis":  &aws.Kinesis{Client: kinesis.NewFromConfig(c), Stream: "orders"},
		"SQS":      &aws.SQS{Client: sqs.NewFromConfig(c), URL: endpoint + "/1/orders"},
		"SQS FIFO": &aws.SQS{Client: sqs.NewFromConfig(c), URL: endpoint + "/1/orders.fifo"},
		"SNS":      &aws.SNS{Client: sns.NewFromConfig(c), ARN: "arn:aws:sns:eu-west-1:1:orders"},
		"SNS FIFO": &aws.SNS{Client: sns.NewFromConfig(c), ARN: "arn:aws:sns:eu-west-1:1:orders.fifo"},
	}
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, action, isJSON := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if isJSON {
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
	} else {
		_ = r.ParseForm()
		action = r.PostForm.Get("Action")
		w.Header().Set("Content-Type", "text/xml")
	}
	var messages []message
	switch action {
	case "PutRecords":
		messages = f.records(r)
	case "SendMessageBatch":
		messages = f.entries(r)
	case "PublishBatch":
		messages = published(r.PostForm)
	default: // looks at the destination
		f.refuse(w, isJSON, http.StatusBadRequest, "AccessDeniedException")
		return
	}
	status, code, each := f.take(messages)
	switch {
	case status == 0:
		panic(http.ErrAbortHandler)
	case code != "":
		f.refuse(w, isJSON, status, code)
	case action == "PutRecords":
		answerRecords(w, each)
	case action == "SendMessageBatch":
		answerEntries(w, messages, each)
	default:
		answerPublished(w, messages, each)
	}
}

// take notes what is taken of a request.
func (f *fake) take(messages []message) (int, string, []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, messages)
	status, code, each := f.judge(messages)
	if each == nil {
		each = make([]string, len(messages))
	}
	for i, m := range messages {
		if code == "" && each[i] == "" {
			f.taken = append(f.taken, m)
		}
	}
	return status, code, each
}

func (f *fake) refuse(w http.ResponseWriter, isJSON bool, status int, code string) {
	w.WriteHeader(status)
	if isJSON {
		fmt.Fprintf(w, `{"__type":"%s","message":"said the fake"}`, code)
		return
	}
	fmt.Fprintf(w, `<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>said the fake</Message></Error></ErrorResponse>`, code)
}

func (f *fake) records(r *http.Request) (messages []message) {
	var in struct {
		Records []struct {
			Data         []byte
			PartitionKey string
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		f.t.Error(err)
	}
	for i, e := range in.Records {
		messages = append(messages, message{id: fmt.Sprint(i), body: string(e.Data), group: e.PartitionKey})
	}
	return messages
}

func answerRecords(w http.ResponseWriter, each []string) {
	var records []map[string]any
	failed := 0
	for _, code := range each {
		if code != "" {
			failed++
			records = append(records, map[string]any{"ErrorCode": code, "ErrorMessage": "said the fake"})
		} else {
			records = append(records, map[string]any{"SequenceNumber": "1", "ShardId": "shardId-000000000000"})
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"FailedRecordCount": failed, "Records": records})
}

func (f *fake) entries(r *http.Request) (messages []message) {
	var in struct {
		Entries []struct {
			ID     string `json:"Id"`
			Body   string `json:"MessageBody"`
			Group  string `json:"MessageGroupId"`
			Unique string `json:"MessageDeduplicationId"`
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		f.t.Error(err)
	}
	for _, e := range in.Entries {
		messages = append(messages, message{e.ID, e.Body, e.Group, e.Unique})
	}
	return messages
}

func answerEntries(w http.ResponseWriter, messages []message, each []string) {
	var good, bad []map[string]any
	for i, m := range messages {
		sum := md5.Sum([]byte(m.body)) //nolint:gosec // the protocol's
		if each[i] == "" {
			good = append(good, map[string]any{"Id": m.id, "MessageId": "1", "MD5OfMessageBody": hex.EncodeToString(sum[:])})
		} else {
			bad = append(bad, map[string]any{"Id": m.id, "Code": each[i], "Message": "said the fake", "SenderFault": true})
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"Successful": good, "Failed": bad})
}

func published(form url.Values) (messages []message) {
	for i := 1; ; i++ {
		get := func(name string) string {
			return form.Get(fmt.Sprintf("PublishBatchRequestEntries.member.%d.%s", i, name))
		}
		if get("Id") == "" {
			return messages
		}
		messages = append(messages, message{get("Id"), get("Message"), get("MessageGroupId"), get("MessageDeduplicationId")})
	}
}

func answerPublished(w http.ResponseWriter, messages []message, each []string) {
	var good, bad strings.Builder
	for i, m := range messages {
		if each[i] == "" {
			fmt.Fprintf(&good, "<member><Id>%s</Id><MessageId>1</MessageId></member>", m.id)
		} else {
			fmt.Fprintf(&bad, "<member><Id>%s</Id><Code>%s</Code><Message>said the fake</Message><SenderFault>true</SenderFault></member>", m.id, each[i])
		}
	}
	fmt.Fprintf(w, "<PublishBatchResponse><PublishBatchResult><Successful>%s</Successful><Failed>%s</Failed></PublishBatchResult></PublishBatchResponse>", &good, &bad)
}

// ids returns, per stream, the IDs of the events that were taken, each once.
func ids(t *testing.T, taken []string) map[string]string {
	t.Helper()
	lists, known := make(map[string]string), make(map[string]bool)
	for _, body := range taken {
		e, err := cloudevent.Unmarshal([]byte(body))
		ok(t, err)
		if key := e.Stream + " " + e.ID; !known[key] {
			known[key] = true
			lists[e.Stream] += e.ID + " "
		}
	}
	return lists
}

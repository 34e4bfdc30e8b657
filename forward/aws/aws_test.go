package aws_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"go.uber.org/goleak"

	"github.com/leathq/leat"
	"github.com/leathq/leat/forward/aws"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func newLog(t *testing.T, shards int) *leattest.Log {
	t.Helper()
	log, err := leattest.New(leat.Config{Shards: leat.EvenShards(shards)}, nil)
	ok(t, err)
	t.Cleanup(func() { _ = log.Close() })
	return log
}

// fill appends n events to random streams, and returns the IDs of each stream.
func fill(t *testing.T, log leat.Log, n, streams int) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for range n {
		e := []leat.Event{{Stream: fmt.Sprintf("order-%d", rand.IntN(streams)), Type: "T", Source: "test", Data: []byte(`{"n":1}`)}}
		_, err := log.Append(t.Context(), e)
		ok(t, err)
		all[e[0].Stream] += e[0].ID + " "
	}
	return all
}

// forward forwards all that is in a log.
func forward(t *testing.T, log leat.Log, to service.Destination, store service.CheckpointStore) service.Status {
	t.Helper()
	app, err := service.NewApp(service.Config{
		Log: log, Logger: slog.New(slog.DiscardHandler), Retry: service.Retry{Attempts: 1000, First: time.Millisecond, Most: 4 * time.Millisecond},
	}, service.Forwarder{Name: "f", To: to, Checkpoints: store})
	ok(t, err)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	at, err := leat.Start(ctx, log, leat.Now)
	ok(t, err)
	if err := app.WaitCaughtUp(ctx, at); err != nil {
		t.Errorf("%v; last error: %s", err, app.Status()[0].LastError)
	}
	cancel()
	ok(t, <-ended)
	return app.Status()[0]
}

// Requests fail whole and in parts, before and after they are taken: who
// deduplicates has each event once, in order; no request has two of one stream.
func TestEachEventArrivesInOrderWhateverFails(t *testing.T) {
	for name := range destinations("") {
		t.Run(name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("seed %d", seed)
				}
			})
			rnd := rand.New(rand.NewPCG(seed, 0))
			f := newFake(t, func(messages []message) (int, string, []string) {
				each := make([]string, len(messages))
				switch rnd.IntN(16) {
				case 0:
					return 0, "", nil // cut off after it was taken
				case 1:
					return http.StatusInternalServerError, "InternalFailure", nil
				case 2:
					return http.StatusBadRequest, "ThrottlingException", nil
				case 3:
					return http.StatusForbidden, "ExpiredTokenException", nil
				case 4, 5, 6:
					for i := range each {
						each[i] = []string{"", "ProvisionedThroughputExceededException", "InternalFailure"}[rnd.IntN(3)]
					}
				}
				return http.StatusOK, "", each
			})
			log := newLog(t, 2)
			sent := fill(t, log, 400, 30)
			status := forward(t, log, destinations(f.server.URL)[name], servicetest.NewMemory())
			want(t, "forwarded", status.Forwarded, uint64(400))
			got := ids(t, bodiesOf(f.taken))
			for stream := range sent {
				want(t, stream, got[stream], sent[stream])
			}
			for _, r := range f.requests {
				want(t, "streams in a request", len(ids(t, bodiesOf(r))), len(r))
			}
		})
	}
}

func bodiesOf(messages []message) (bodies []string) {
	for _, m := range messages {
		bodies = append(bodies, m.body)
	}
	return bodies
}

func order(stream, id string, size int) leat.Recorded {
	return leat.Recorded{Event: leat.Event{
		ID: id, Stream: stream, Type: "T", Source: "s", ContentType: "application/octet-stream", Time: time.Unix(0, 0), Data: make([]byte, size),
	}, Shard: "shardId-000000000000", Seq: 1, Version: 1}
}

func TestHowMessagesAreCalled(t *testing.T) {
	long := strings.Repeat("x", 129)
	for name := range destinations("") {
		f := newFake(t, func([]message) (int, string, []string) { return http.StatusOK, "", nil })
		d := destinations(f.server.URL)[name]
		ok(t, d.Send(t.Context(), service.Delivery{Log: "LOG", Events: []leat.Recorded{
			order("order-1", "1", 1), order("order-2", "1", 1), order(long, "1", 1), order("größe", "1", 1),
		}}))
		dedup := make(map[string]bool)
		for i, m := range f.requests[0] {
			stream := []string{"order-1", "order-2", long, "größe"}[i]
			switch {
			case name == "Kinesis":
				want(t, "partition key", m.group, stream)
			case !strings.HasSuffix(name, "FIFO"):
				want(t, name+" group and deduplication", m.group+m.dedup, "")
			case i < 2:
				want(t, name+" group", m.group, stream)
			default:
				if len(m.group) != 71 || !strings.HasPrefix(m.group, "sha256:") {
					t.Errorf("%s: the group of %s is %s", name, stream, m.group)
				}
			}
			dedup[m.dedup] = true
		}
		if strings.HasSuffix(name, "FIFO") {
			want(t, name+" deduplication IDs", len(dedup), 4)
			want(t, name+" one of them", f.requests[0][0].dedup, "f86978ecd7c4845f16f4adaffddde46490cce1af93b51070938b9c0134404288")
		}
	}
}

// What is too large, and what is refused, is told of that event alone.
func TestWhatIsRefusedForGood(t *testing.T) {
	for name := range destinations("") {
		f := newFake(t, func(messages []message) (int, string, []string) {
			for _, m := range messages {
				if strings.Contains(m.body, "refused") && len(messages) > 1 {
					return http.StatusBadRequest, "ValidationException", nil
				}
				if strings.Contains(m.body, "refused") {
					return http.StatusBadRequest, "InvalidParameterValue", nil
				}
			}
			return http.StatusOK, "", nil
		})
		log := newLog(t, 1)
		for _, stream := range []string{"a", "refused", "b", "large", "large", "c"} {
			e := []leat.Event{{Stream: stream, Type: "T", Source: "test"}}
			if stream == "large" {
				e[0].Data, e[0].ContentType = make([]byte, 200<<10), "application/octet-stream"
			}
			_, err := log.Append(t.Context(), e)
			ok(t, err)
		}
		d, store := destinations(f.server.URL)[name], servicetest.NewMemory()
		if k, is := d.(*aws.Kinesis); is {
			k.MaxRecord = 250 << 10
		}
		want(t, name+" forwarded", forward(t, log, d, store).Forwarded, uint64(3))
		parked, err := store.Parked(t.Context(), "f", "")
		ok(t, err)
		want(t, name+" parked", len(parked), 3)
		if !strings.Contains(parked[0].Error, "invalid event as JSON: must be at most 2") || parked[1].Error != "" {
			t.Errorf("%s: %q is parked because of %q", name, parked[0].Stream, parked[0].Error)
		}
		if !strings.Contains(parked[2].Error, "InvalidParameterValue") || strings.Contains(parked[2].Error, "hidden") {
			t.Errorf("%s: %q is parked because of %q", name, parked[2].Stream, parked[2].Error)
		}
	}
}

// A service that goes away while the event is looked for that it refused is not
// asked again for each of the others.
func TestOneThatGoesAwayIsNotAskedForEach(t *testing.T) {
	f := newFake(t, func(messages []message) (int, string, []string) {
		if len(messages) > 1 {
			return http.StatusBadRequest, "ValidationException", nil
		}
		return 0, "", nil
	})
	var events []leat.Recorded
	for i := range 10 {
		events = append(events, order(fmt.Sprint("s-", i), "1", 10))
	}
	err := destinations(f.server.URL)["SQS"].Send(t.Context(), service.Delivery{Log: "LOG", Events: events})
	each, _ := errors.AsType[service.SendErrors](err)
	for i := range events {
		if len(each) != len(events) || each[i] == nil {
			t.Fatalf("event %d: %v, want that none was taken", i, err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	want(t, "requests", len(f.requests), 2)
}

func TestRequestsKeepWithinTheLimits(t *testing.T) {
	f := newFake(t, func([]message) (int, string, []string) { return http.StatusOK, "", nil })
	var events []leat.Recorded
	for i := range 10 {
		events = append(events, order(fmt.Sprint("s-", i), "1", 60<<10))
	}
	d := destinations(f.server.URL)["SQS"]
	ok(t, d.Send(t.Context(), service.Delivery{Log: "LOG", Events: events}))
	total := 0
	for _, r := range f.requests {
		bytes := 0
		for _, m := range r {
			bytes += len(m.body)
		}
		if total += len(r); bytes > 256<<10 {
			t.Errorf("a request has %d bytes", bytes)
		}
	}
	want(t, "messages", total, 10)
	want(t, "requests", len(f.requests), 4)
}

func TestWhatAnErrorMeans(t *testing.T) {
	for _, c := range []struct {
		status          int
		code            string
		away, permanent bool
	}{
		{0, "", false, false},
		{500, "InternalFailure", true, false},
		{400, "ThrottlingException", true, false},
		{400, "KMSThrottlingException", true, false},
		{400, "ResourceNotFoundException", false, false},
		{403, "AccessDeniedException", false, false},
		{400, "ValidationException", false, true},
	} {
		f := newFake(t, func([]message) (int, string, []string) { return c.status, c.code, nil })
		err := destinations(f.server.URL)["Kinesis"].Send(t.Context(), service.Delivery{Log: "LOG", Events: []leat.Recorded{order("a", "1", 1)}})
		each, is := errors.AsType[service.SendErrors](err)
		if !is || len(each) != 1 || each[0] == nil {
			t.Fatalf("%d %s: %v", c.status, c.code, err)
		}
		want(t, c.code+" away", errors.Is(err, leat.ErrUnavailable), c.away)
		want(t, c.code+" permanent", fmt.Sprintf("%T", each[0]) == "*service.permanentError", c.permanent)
	}
}

func TestDestinationsThatAreNotSet(t *testing.T) {
	for _, d := range []service.Destination{&aws.Kinesis{}, &aws.SQS{}, &aws.SNS{}, &aws.Kinesis{Client: kinesis.New(kinesis.Options{})}} {
		if err := d.Check(t.Context(), leat.Info{}); !errors.Is(err, leat.ErrInvalid) {
			t.Errorf("Check of %T: %v", d, err)
		}
	}
}

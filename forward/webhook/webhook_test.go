package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/forward/webhook"
	"github.com/leathq/leat/service"
	"go.uber.org/goleak"
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

// endpoint starts a server and returns a destination for it. The configuration
// gets its URL.
func endpoint(t *testing.T, c webhook.Config, h http.HandlerFunc) *webhook.Destination {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c.URL = s.URL + c.URL
	d, err := webhook.New(c)
	ok(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

var modes = map[string]webhook.Mode{"structured": webhook.Structured, "binary": webhook.Binary, "batch": webhook.Batch}

func order(n int) leat.Recorded {
	return leat.Recorded{
		Event: leat.Event{
			ID: fmt.Sprintf("id-%d", n), Stream: "order-1", Type: "OrderPlaced", Source: "orders", ContentType: "application/json",
			Time: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), Data: []byte(`{"n": 1}`), Meta: leat.NewMeta("correlationid", "c 1"),
		},
		Shard: "shardId-000000000000", Seq: 40 + uint64(n), Version: uint64(n),
	}
}

// What is on the wire is what CloudEvents 1.0 says, and does not change.
func TestWhatIsSent(t *testing.T) {
	body := `{"specversion":"1.0","id":"id-1","source":"orders#order-1","type":"OrderPlaced","subject":"order-1","time":"2026-01-02T03:04:05.000006Z","datacontenttype":"application/json","correlationid":"c 1","originlog":"LOG","originseq":"41","originshard":"shardId-000000000000","sequence":"00000000000000000001","data":{"n": 1}}`
	for name, c := range map[string]struct {
		content, id, body, headers string
	}{
		"structured": {"application/cloudevents+json", "evt_", body, ""},
		"batch":      {"application/cloudevents-batch+json", "bat_", "[" + body + "]", ""},
		"binary": {
			"application/json", "bin_", `{"n": 1}`,
			"correlationid=c%201 id=id-1 originlog=LOG originseq=41 originshard=shardId-000000000000 sequence=00000000000000000001 source=orders#order-1 specversion=1.0 subject=order-1 time=2026-01-02T03:04:05.000006Z type=OrderPlaced",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got *http.Request
			var gotBody []byte
			d := endpoint(t, webhook.Config{Mode: modes[name], URL: "/in?x=1", Header: http.Header{"Authorization": {"Bearer token"}}}, func(w http.ResponseWriter, r *http.Request) {
				got = r
				gotBody, _ = io.ReadAll(r.Body)
				w.WriteHeader(http.StatusAccepted)
			})
			ok(t, d.Send(t.Context(), service.Delivery{Log: "LOG", Events: []leat.Recorded{order(1)}}))
			want(t, "method and URL", got.Method+" "+got.URL.String(), "POST /in?x=1")
			want(t, "body", string(gotBody), c.body)
			want(t, "Content-Type", got.Header.Get("Content-Type"), c.content)
			want(t, "Authorization", got.Header.Get("Authorization"), "Bearer token")
			if id := got.Header.Get("webhook-id"); !strings.HasPrefix(id, c.id[:4]) || strings.Contains(id, ".") {
				t.Errorf("webhook-id: %s", id)
			}
			var headers []string
			for _, key := range []string{"correlationid", "id", "originlog", "originseq", "originshard", "sequence", "source", "specversion", "subject", "time", "type"} {
				if v := got.Header.Get("ce-" + key); v != "" {
					headers = append(headers, key+"="+v)
				}
			}
			want(t, "attributes in headers", strings.Join(headers, " "), c.headers)
			want(t, "signature", got.Header.Get("webhook-signature"), "")
		})
	}
}

// awkward are events that are hard to carry.
func awkward() (events []leat.Recorded) {
	add := func(change func(*leat.Recorded)) {
		e := order(len(events) + 1)
		change(&e)
		events = append(events, e)
	}
	add(func(*leat.Recorded) {})
	add(func(e *leat.Recorded) { e.Data = nil })
	add(func(e *leat.Recorded) { e.Data = []byte("null") })
	add(func(e *leat.Recorded) { e.Data = []byte(" {\"a\":\n 1} \n") })
	add(func(e *leat.Recorded) { e.Data = []byte(`{"a":1,"a":"\u003c<"}`) })
	add(func(e *leat.Recorded) { e.Data = []byte(`not JSON`) })
	add(func(e *leat.Recorded) { e.Data = []byte("\"\xff\"") })
	add(func(e *leat.Recorded) { e.Data, e.ContentType = []byte{0, 1, 0xff}, "application/octet-stream" })
	add(func(e *leat.Recorded) { e.Data, e.ContentType = []byte("é"), `text/plain; charset="utf-8"` })
	add(func(e *leat.Recorded) { e.Data, e.ContentType = []byte(`{"b":2}`), "application/vnd.shop+json" })
	add(func(e *leat.Recorded) { e.ContentType = "application/cloudevents+json" })
	add(func(e *leat.Recorded) { e.ContentType = "no\nmedia type\x00" })
	add(func(e *leat.Recorded) { e.Stream, e.Source, e.Type = "a#b%23 \"é\n", "http://x/%20#y", "Größe<&>" })
	add(func(e *leat.Recorded) { e.ID = "%41 \x7f" })
	add(func(e *leat.Recorded) {
		e.Meta = leat.NewMeta("empty", "", "space", "  ", "line", "a\r\nb", "u", "\u2028💧")
	})
	add(func(e *leat.Recorded) {
		e.Meta = leat.NewMeta("originlog", "OTHER", "originshard", "s", "originseq", "7")
	})
	return events
}

func TestWhatIsReceivedIsWhatWasRecorded(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			secret := webhook.NewSecret()
			var got []leat.Event
			h := webhook.Verifier{Secrets: []webhook.Secret{secret}}.Handler(func(_ context.Context, events []leat.Event) error {
				got = append(got, events...)
				return nil
			})
			d := endpoint(t, webhook.Config{Mode: mode, Secrets: []webhook.Secret{secret}}, h.ServeHTTP)
			sent := awkward()
			for step := d.Bounds().Events; len(sent) > 0; {
				n := min(step, len(sent))
				ok(t, d.Send(t.Context(), service.Delivery{Log: "LOG", Events: sent[:n]}))
				sent = sent[n:]
			}
			for i, e := range awkward() {
				w := e.Event
				w.Meta = w.Meta.With("sequence", fmt.Sprintf("%020d", e.Version))
				if w.Meta.Get("originlog") == "" {
					w.Meta = w.Meta.With("originlog", "LOG").With("originshard", string(e.Shard)).With("originseq", fmt.Sprint(e.Seq))
				}
				if i >= len(got) || fmt.Sprintf("%+v", got[i]) != fmt.Sprintf("%+v", w) {
					t.Fatalf("event %d came as\n%+v, want\n%+v", i, got[i:min(len(got), i+1)], w)
				}
			}
		})
	}
}

// source and id are unique together though an ID is only so within a stream.
func TestSourceAndIDAreUnique(t *testing.T) {
	seen := make(map[string]bool)
	d := endpoint(t, webhook.Config{}, func(_ http.ResponseWriter, r *http.Request) {
		var e struct{ ID, Source string }
		ok(t, json.NewDecoder(r.Body).Decode(&e))
		seen[e.Source+" "+e.ID] = true
	})
	names := [][2]string{{"a", "b"}, {"a#b", "c"}, {"a", "b#c"}, {"a%23b", "c"}, {"a", "%62"}}
	for _, n := range names {
		e := order(1)
		e.Source, e.Stream = n[0], n[1]
		ok(t, d.Send(t.Context(), service.Delivery{Log: "LOG", Events: []leat.Recorded{e}}))
	}
	want(t, "different pairs", len(seen), len(names))
}

// verdict writes what an error means to a Forwarder.
func verdict(err error) string {
	all := []string{}
	if err == nil {
		return "taken"
	}
	// A Forwarder of one event and one attempt tells them apart, too; the words
	// are what the packages exchange.
	if fmt.Sprintf("%T", err) == "*service.permanentError" {
		all = append(all, "permanent")
	} else {
		all = append(all, "again")
	}
	if errors.Is(err, leat.ErrUnavailable) {
		all = append(all, "away")
	}
	return strings.Join(all, " ")
}

func TestWhatAnAnswerMeans(t *testing.T) {
	for status, meaning := range map[int]string{
		200: "taken", 202: "taken", 204: "taken",
		301: "again", 304: "again", 307: "again",
		400: "permanent", 409: "permanent", 413: "permanent", 415: "permanent", 422: "permanent", 431: "permanent",
		401: "again", 403: "again", 404: "again", 405: "again", 407: "again", 410: "again",
		408: "again", 425: "again", 429: "again away",
		500: "again", 502: "again", 503: "again away", 504: "again", 599: "again",
	} {
		d := endpoint(t, webhook.Config{}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1:1/secret-place")
			w.WriteHeader(status)
		})
		err := d.Send(t.Context(), service.Delivery{Log: "LOG", Events: []leat.Recorded{order(1)}})
		want(t, fmt.Sprint("meaning of ", status), verdict(err), meaning)
		if err == nil {
			continue
		}
		s, is := errors.AsType[*webhook.StatusError](err)
		if !is || s.Status != status || !strings.Contains(err.Error(), fmt.Sprint(status)) {
			t.Errorf("the error of %d is %v", status, err)
		}
		if strings.Contains(err.Error(), "secret-place") {
			t.Errorf("where a redirection leads is told: %v", err)
		}
	}
}

func TestEndpointsThatDoNotAnswer(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	slow := endpoint(t, webhook.Config{Timeout: 20 * time.Millisecond, URL: "/token"}, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	})
	send := func(ctx context.Context, d *webhook.Destination) error {
		return d.Send(ctx, service.Delivery{Log: "LOG", Events: []leat.Recorded{order(1)}})
	}
	err := send(t.Context(), slow)
	if verdict(err) != "again" || !strings.Contains(err.Error(), "no answer within 20ms") || strings.Contains(err.Error(), "token") {
		t.Errorf("of a slow endpoint: %v", err)
	}

	cut := endpoint(t, webhook.Config{URL: "/token"}, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if err := send(t.Context(), cut); verdict(err) != "again" || strings.Contains(err.Error(), "token") {
		t.Errorf("of a connection that is cut: %v", err)
	}

	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	d, err := webhook.New(webhook.Config{URL: gone.URL + "/token"})
	ok(t, err)
	if err := send(t.Context(), d); verdict(err) != "again away" || strings.Contains(err.Error(), "token") {
		t.Errorf("of an endpoint that is gone: %v", err)
	}

	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if err := send(stopped, slow); !errors.Is(err, context.Canceled) {
		t.Errorf("when it is stopped: %v", err)
	}
}

// An endpoint that shows all it was sent does not make the destination tell its
// secrets.
func TestSecretsAreNotTold(t *testing.T) {
	secret, err := webhook.ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	ok(t, err)
	d := endpoint(t, webhook.Config{
		URL: "/hooks/path-token?key=query-token", Secrets: []webhook.Secret{secret}, Header: http.Header{"Authorization": {"Bearer header-token"}},
	}, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, "broken %s %v %s %s", r.URL, r.Header["Authorization"], secret.Text(), strings.Repeat("long", 10_000))
	})
	err = d.Send(t.Context(), service.Delivery{Log: "LOG", Events: []leat.Recorded{order(1)}})
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Error("failed", "error", err, "secret", secret)
	text := fmt.Sprintf("%v %+v %#v %s %v %+v %#v %x %s", err, err, err, &log, secret, secret, secret, secret, []webhook.Secret{secret})
	for _, hidden := range []string{"path-token", "query-token", "header-token", "MfKQ9r8GKYqrTwjU", "31f290f6bf06"} {
		if strings.Contains(text, hidden) {
			t.Errorf("%q is told in %s", hidden, text)
		}
	}
	if !strings.Contains(err.Error(), `500 Internal Server Error: "broken `) || len(err.Error()) > 600 {
		t.Errorf("the error is %v", err)
	}
}

func TestConfigsThatAreWrong(t *testing.T) {
	const url = "https://example.test/hook"
	for field, c := range map[string]webhook.Config{
		"Config.URL":                       {},
		"Config.Mode":                      {URL: url, Mode: 9},
		"Config.Secrets":                   {URL: url, Secrets: []webhook.Secret{{}}},
		"Config.Header":                    {URL: url, Header: http.Header{"Webhook-Id": {"x"}}},
		"Config.Timeout and Config.Events": {URL: url, Timeout: -1},
	} {
		_, err := webhook.New(c)
		invalid, is := errors.AsType[*leat.InvalidError](err)
		if !is || invalid.Field != field {
			t.Errorf("New: %v, want an invalid %s", err, field)
		}
	}
	for _, u := range []string{"ftp://x/", "https://", "x", "https://user:hidden@x/", "https://x/%zz-hidden"} {
		_, err := webhook.New(webhook.Config{URL: u})
		if !errors.Is(err, leat.ErrInvalid) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("New with the URL %s: %v", u, err)
		}
	}
}

package http_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
	door "github.com/leathq/leat/server/http"
)

const maxBody = 64 << 10

// Whatever is wrong with a request, the answer is a problem that names it, and
// nothing changed.
func TestRefused(t *testing.T) {
	f := open(t, func(c *door.Config) { c.MaxBody = maxBody })
	first := f.post(t, "/v1/logs/orders/events", `{"events":[{"id":"a","stream":"order-1","type":"T","source":"s","data":{}}]}`)
	if first.StatusCode != http.StatusCreated {
		t.Fatalf("append: status %d, %s", first.StatusCode, first.body)
	}
	const events = "/v1/logs/orders/events"
	event := func(fields string) string {
		return `{"events":[{"stream":"order-1","type":"T","source":"s"` + fields + `}]}`
	}
	for _, c := range []struct {
		name               string
		method, path, body string
		header             []string
		status             int
		code, field        string
		detail             string // a part of it
	}{
		{"misspelt field", "POST", events, event(`,"typ":"X"`), nil, 400, "invalid", "events[0].typ", "unexpected"},
		{"missing field", "POST", events, `{"events":[{"stream":"order-1","source":"s"}]}`, nil, 400, "invalid", "events[0]", "type"},
		{"field of another case", "POST", events, event(`,"ID":"x"`), nil, 400, "invalid", "events[0].ID", "unexpected"},
		{"no source", "POST", events, `{"events":[{"stream":"order-1","type":"T"}]}`, nil, 400, "invalid", "events[0].source", "1 to 256 bytes"},
		{"no events", "POST", events, `{"events":[]}`, nil, 400, "invalid", "events", "1 to 500"},
		{"too many events", "POST", events, `{"events":[` + strings.Repeat(`{"stream":"order-1","type":"T","source":"s"},`, 500) + `{"stream":"order-1","type":"T","source":"s"}]}`, nil, 400, "invalid", "events", "1 to 500"},
		{"data twice", "POST", events, event(`,"data":1,"data_base64":"MQ=="`), nil, 400, "invalid", "events[0].data_base64", "absent"},
		{"bad base64", "POST", events, event(`,"data_base64":"%"`), nil, 400, "invalid", "events[0].data_base64", "base64"},
		{"bad time", "POST", events, event(`,"time":"noon"`), nil, 400, "invalid", "events[0].time", "RFC 3339"},
		{"bad meta value", "POST", events, event(`,"meta":{"a":1}`), nil, 400, "invalid", "events[0].meta.a", "string"},
		{"bad meta key", "POST", events, event(`,"meta":{"A B":"x"}`), nil, 400, "invalid", "events[0].meta", "a-z"},
		{"number too large", "POST", events, event(`,"seq":1e30`), nil, 400, "invalid", "body", "events.seq cannot be a number"},
		{"negative number", "POST", events, event(`,"seq":-1`), nil, 400, "invalid", "events[0].seq", ">= 0"},
		{"system stream", "POST", events, `{"events":[{"stream":"$x","type":"T","source":"s"}]}`, nil, 400, "invalid", "events[0].stream", "system's"},
		{"empty condition", "POST", events, `{"events":[{"stream":"order-1","type":"T","source":"s"}],"conditions":[{"stream":"order-1"}]}`, nil, 400, "invalid", "conditions[0]", "version"},
		{"two route keys", "POST", events, `{"events":[{"stream":"order-1","type":"T","source":"s"},{"stream":"order-2","type":"T","source":"s"}]}`, nil, 400, "cross_key", "", "order-2"},
		{"wrong version", "POST", events, `{"events":[{"stream":"order-1","type":"T","source":"s"}],"conditions":[{"stream":"order-1","version":7}]}`, nil, 409, "conflict", "", "at version 1"},
		{"ID in use", "POST", events, event(`,"id":"a"`), nil, 409, "id_reused", "", "in use"},

		{"malformed JSON", "POST", events, "{\"events\":\n  [}", nil, 400, "malformed", "body", "line 2, column 4"},
		{"JSON that ends early", "POST", events, `{"events":[`, nil, 400, "malformed", "body", "line 1, column 11"},
		{"more than one value", "POST", events, `{"events":[]} {}`, nil, 400, "malformed", "body", "column 15"},
		{"a list", "POST", events, `[]`, nil, 400, "invalid", "body", "object"},
		{"not UTF-8", "POST", events, event(",\"id\":\"\xff\""), nil, 400, "malformed", "body", "UTF-8"},
		{"no body", "POST", events, "", nil, 400, "malformed", "body", "required"},
		{"too large a body", "POST", events, event(`,"data":"` + strings.Repeat("x", maxBody) + `"`), nil, 413, "too_large", "body", fmt.Sprint(maxBody)},
		{"too large a body where there is nothing", "POST", "/", strings.Repeat("x", maxBody+1), nil, 413, "too_large", "body", fmt.Sprint(maxBody)},
		{"another media type", "POST", events, "<x/>", []string{"Content-Type", "text/xml"}, 415, "unsupported_media_type", "Content-Type", "application/json"},
		{"a form, as curl sends it", "POST", events, event(""), []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "unsupported_media_type", "Content-Type", "application/json"},

		{"a web page of another origin", "POST", events, event(""), []string{"Origin", "https://example.com"}, 403, "cross_origin", "Origin", "another origin"},

		{"unknown route", "GET", "/v2/logs", "", nil, 404, "no_route", "path", "/openapi.json"},
		{"method that is not allowed", "DELETE", "/v1/logs", "", nil, 405, "method_not_allowed", "method", "GET or POST"},
		{"method there is not", "BREW", events, "", nil, 405, "method_not_allowed", "method", "GET or POST"},
		{"unknown log", "GET", "/v1/logs/none", "", nil, 404, "not_found", "", "none"},
		{"append to an unknown log", "POST", "/v1/logs/none/events", event(""), nil, 404, "not_found", "", "none"},
		{"unknown shard", "GET", "/v1/logs/orders/shards/x/events", "", nil, 404, "not_found", "", "x"},
		{"unknown parameter", "GET", "/v1/logs/orders/streams/order-1?form=1", "", nil, 400, "invalid", "form", "unknown"},
		{"bad parameter", "GET", "/v1/logs/orders/streams/order-1?after=x", "", nil, 400, "invalid", "after", "integer"},
		{"limit out of bounds", "GET", "/v1/logs/orders/streams/order-1?limit=0", "", nil, 400, "invalid", "limit", ">= 1"},
		{"wait out of bounds", "GET", "/v1/logs/orders/shards/shardId-000000000000/events?wait=2m", "", nil, 400, "invalid", "wait", "1m"},
		{"wait of no unit", "GET", "/v1/logs/orders/shards/shardId-000000000000/events?wait=20", "", nil, 400, "invalid", "wait", "a duration"},
		{"beyond the head", "GET", "/v1/logs/orders/shards/shardId-000000000000/events?after=9", "", nil, 409, "diverged", "", "9"},
		{"checkpoint of nonsense", "GET", events + "?from=x", "", nil, 400, "invalid", "from", "LOG@EPOCH"},
		{"checkpoint of another log", "GET", events + "?from=x@1", "", nil, 409, "diverged", "", "log x"},
		{"from and since", "GET", events + "?from=x@1&since=now", "", nil, 400, "invalid", "since", "absent"},
		{"bad since", "GET", events + "?since=noon", "", nil, 400, "invalid", "since", "RFC 3339"},
		{"bad Last-Event-ID", "GET", events, "", []string{"Last-Event-ID", "x"}, 400, "invalid", "Last-Event-ID", "LOG@EPOCH"},
		{"form there is not", "GET", events, "", []string{"Accept", "text/html"}, 406, "not_acceptable", "Accept", "text/event-stream"},

		{"log of a bad ID", "POST", "/v1/logs", `{"name":"x","id":"a b"}`, nil, 400, "invalid", "log ID", "letters"},
		{"log there is", "POST", "/v1/logs", `{"name":"orders"}`, nil, 409, "exists", "", ""},
		{"too many shards", "POST", "/v1/logs", `{"name":"x","shards":1025}`, nil, 400, "invalid", "shards", "1024"},
		{"split at no key", "POST", "/v1/logs/orders/shards/shardId-000000000000/split", `{"at":"7"}`, nil, 400, "invalid", "hash key", "32 hex"},
		{"split no shard", "POST", "/v1/logs/orders/shards/x/split", `{}`, nil, 404, "not_found", "", "x"},
		{"trim beyond the head", "POST", "/v1/logs/orders/shards/shardId-000000000000/trim", `{"below":9}`, nil, 400, "invalid", "below", "2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := f.do(t, c.method, c.path, c.body, c.header...)
			p := got.problem(t)
			if got.StatusCode != c.status || p.Status != c.status || p.Code != c.code || p.Field != c.field || !strings.Contains(p.Detail, c.detail) {
				t.Errorf("got status %d, code %q, field %q, %q\nwant status %d, code %q, field %q, a detail with %q",
					got.StatusCode, p.Code, p.Field, p.Detail, c.status, c.code, c.field, c.detail)
			}
			if p.Title != http.StatusText(c.status) {
				t.Errorf("title %q of status %d", p.Title, c.status)
			}
			if c.status == http.StatusMethodNotAllowed && got.Header.Get("Allow") != "GET, POST" {
				t.Errorf("Allow %q, want GET, POST", got.Header.Get("Allow"))
			}
			f.unchanged(t)
		})
	}
}

// unchanged checks that there is one log, of one event.
func (f *fixture) unchanged(t testing.TB) {
	t.Helper()
	names, _ := f.List(t.Context())
	shards, err := f.logs["orders"].Shards(t.Context())
	if err != nil || len(names) != 1 || len(shards) != 1 || shards[0].Head != 1 || shards[0].Oldest != 1 {
		t.Errorf("there are now the logs %v, and orders has the shards %+v, %v", names, shards, err)
	}
}

// A body that does not arrive does not hold its connection, and changes nothing.
func TestSlowBody(t *testing.T) {
	f := open(t, func(c *door.Config) { c.BodyTime = 50 * time.Millisecond })
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/logs/orders/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"events\":[")
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestTimeout || !resp.Close {
		t.Errorf("a body that stops: status %d, close %v, want 408 and a closed connection", resp.StatusCode, resp.Close)
	}
	head, err := f.logs["orders"].Shards(t.Context())
	if err != nil || head[0].Head != 0 {
		t.Errorf("the log has %+v, %v, want nothing", head, err)
	}
}

// A body whose size is not told beforehand is bounded all the same.
func TestEndlessBody(t *testing.T) {
	f := open(t, func(c *door.Config) { c.MaxBody = maxBody })
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url+"/v1/logs/orders/events", endless{})
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge || !resp.Close {
		t.Errorf("a body without end: status %d, close %v, want 413 and a closed connection", resp.StatusCode, resp.Close)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// Large bodies wait for each other, and small ones for nobody.
func TestLargeBodiesWait(t *testing.T) {
	f := open(t, func(c *door.Config) { c.MaxBody, c.BodyBytes, c.BodyTime = 1<<20, 1<<20, 100*time.Millisecond })
	arrived, let := make(chan struct{}), make(chan struct{})
	f.logs["slow"] = stalled{f.logs["orders"], arrived, let}
	large := `{"events":[{"stream":"order-1","type":"T","source":"s","data":"` + strings.Repeat("x", 600<<10) + `"}]}`
	first := make(chan error, 1)
	go func() {
		resp, err := http.Post(f.url+"/v1/logs/slow/events", "application/json", strings.NewReader(large))
		if err == nil {
			if resp.Body.Close(); resp.StatusCode != http.StatusBadRequest { // the event is too large, once it is looked at
				err = fmt.Errorf("status %d", resp.StatusCode)
			}
		}
		first <- err
	}()
	<-arrived
	got := f.post(t, "/v1/logs/orders/events", large)
	if p := got.problem(t); got.StatusCode != http.StatusServiceUnavailable || p.Code != "busy" || got.Header.Get("Retry-After") == "" {
		t.Errorf("a second large body: status %d, %s, want it to be told to try again", got.StatusCode, got.body)
	}
	if got := f.post(t, "/v1/logs/orders/events", `{"events":[{"stream":"order-1","type":"T","source":"s"}]}`); got.StatusCode != http.StatusCreated {
		t.Errorf("a small body: status %d, %s", got.StatusCode, got.body)
	}
	close(let)
	if err := <-first; err != nil {
		t.Errorf("the first large body: %v", err)
	}
	if got := f.post(t, "/v1/logs/orders/events", large); got.StatusCode != http.StatusBadRequest {
		t.Errorf("a large body when there is room again: status %d, %s", got.StatusCode, got.body)
	}
}

// stalled is a log whose appends wait until they are let go.
type stalled struct {
	leat.Log
	arrived, let chan struct{}
}

func (s stalled) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	s.arrived <- struct{}{}
	<-s.let
	return s.Log.Append(ctx, events, conds...)
}

// broken is a log all of whose methods fail.
type broken struct {
	leat.Log
	err error
}

func (b broken) Append(context.Context, []leat.Event, ...leat.Condition) (leat.Receipt, error) {
	if b.err == nil {
		panic("broken")
	}
	return leat.Receipt{}, b.err
}

// Every error of package leat has a status and its own code, wrapped or not.
func TestProblems(t *testing.T) {
	f := open(t)
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{leat.ErrInvalid, 400, "invalid"},
		{leat.ErrCrossKey, 400, "cross_key"},
		{leat.ErrIDReused, 409, "id_reused"},
		{&leat.PartialError{Known: []int{1}, Total: 2}, 409, "partial"},
		{&leat.ConflictError{Condition: leat.ExpectNew("order-1"), Actual: 3}, 409, "conflict"},
		{leat.ErrFull, 507, "full"},
		{leat.ErrUncertain, 503, "uncertain"},
		{fmt.Errorf("read: %w", leat.ErrUnavailable), 503, "unavailable"},
		{errors.Join(context.DeadlineExceeded, leat.ErrUncertain), 503, "uncertain"},
		{leat.ErrNotFound, 404, "not_found"},
		{&leat.TrimmedError{Stream: "order-1", Oldest: 4}, 410, "trimmed"},
		{&leat.DivergedError{Reason: "x"}, 409, "diverged"},
		{leat.ErrDenied, 403, "denied"},
		{leat.ErrUnsupported, 501, "unsupported"},
		{leat.ErrClosed, 503, "closed"},
		{leat.ErrCorrupt, 500, "corrupt"},
		{leat.ErrFenced, 409, "fenced"},
		{leat.ErrHeld, 409, "held"},
		{fs.ErrExist, 409, "exists"},
		{context.DeadlineExceeded, 503, "canceled"},
		{errors.New("surprise"), 500, "internal"},
		{nil, 500, "internal"}, // a panic
	} {
		err := c.err
		if err != nil {
			err = fmt.Errorf("append: %w", err)
		}
		f.mu.Lock()
		f.logs["orders"] = broken{f.logs["orders"], err}
		f.mu.Unlock()
		got := f.post(t, "/v1/logs/orders/events", `{"events":[{"stream":"order-1","type":"T","source":"s"}]}`)
		if p := got.problem(t); got.StatusCode != c.status || p.Code != c.code {
			t.Errorf("%v: status %d, code %q, want %d, %q", c.err, got.StatusCode, p.Code, c.status, c.code)
		}
	}
}

package http_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/eventjson"
	door "github.com/leathq/leat/server/http"
)

// A stream is a connection that follows a log.
type stream struct {
	t      testing.TB
	body   io.ReadCloser
	lines  *bufio.Reader
	cancel context.CancelFunc
}

func (f *fixture) follow(t testing.TB, query string, header ...string) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url+"/v1/logs/orders/events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r) //nolint:bodyclose // stream.close does
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("follow %s: status %d: %s", query, resp.StatusCode, body)
	}
	s := &stream{t: t, body: resp.Body, lines: bufio.NewReader(resp.Body), cancel: cancel}
	t.Cleanup(s.close)
	return s
}

func (s *stream) close() {
	s.cancel()
	_ = s.body.Close()
}

// message reads the next Server-Sent Event that has data, and the last id up to
// it.
func (s *stream) message() (id, name, data string) {
	s.t.Helper()
	for {
		text, err := s.lines.ReadString('\n')
		if err != nil {
			s.t.Fatalf("the stream ended: %v", err)
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(text, "\n"), ": ")
		switch field {
		case "id":
			id = value
		case "event":
			name = value
		case "data":
			data = value
		case "":
			if data != "" {
				return id, name, data
			}
		}
	}
}

// event reads the next event and the checkpoint after it.
func (s *stream) event() (eventjson.Event, string) {
	s.t.Helper()
	id, name, data := s.message()
	if name != "" {
		s.t.Fatalf("got %s: %s, want an event", name, data)
	}
	return parse[eventjson.Event](s.t, []byte(data)), id
}

func (f *fixture) append(t testing.TB, events ...leat.Event) {
	t.Helper()
	log, err := f.Log(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(t.Context(), events); err != nil {
		t.Fatal(err)
	}
}

func numbered(n int) leat.Event {
	return leat.Event{Stream: fmt.Sprintf("order-{%d}", n), Type: "Counted", Source: "test", Data: fmt.Append(nil, n)}
}

// A browser that loses its connection goes on, with what it sends then, where it
// was: nothing is missed and nothing comes twice, in the middle of an append and
// across a split.
func TestFollowResumes(t *testing.T) {
	f := open(t)
	three := []leat.Event{numbered(1), numbered(1), numbered(1)}
	for i := range three {
		three[i].Data = fmt.Append(nil, i+1)
	}
	f.append(t, three...)
	last, want := "", 1
	check := func(s *stream) {
		t.Helper()
		e, id := s.event()
		if got := string(e.Data); got != fmt.Sprint(want) {
			t.Fatalf("got event %s after %s, want %d", got, last, want)
		}
		last = id
		want++
	}
	s := f.follow(t, "")
	check(s)
	check(s)
	s.close()
	s = f.follow(t, "?from=nonsense", "Last-Event-ID", last) // the header goes first
	check(s)
	f.append(t, numbered(4))
	check(s)
	splitter := f.logs["orders"].(leat.Splitter)
	shards, err := f.logs["orders"].Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := splitter.Split(t.Context(), shards[0].ID, shards[0].Middle()); err != nil {
		t.Fatal(err)
	}
	f.append(t, numbered(5))
	check(s)
	s.close()
	s = f.follow(t, "?from="+last)
	f.append(t, numbered(6))
	check(s)
}

// Where nothing matches, the id moves on all the same.
func TestFollowFilters(t *testing.T) {
	f := open(t)
	f.append(t, numbered(1))
	s := f.follow(t, "?type=Other")
	for {
		text, err := s.lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if id, ok := strings.CutPrefix(text, "id: "); ok {
			if !strings.HasSuffix(id, "=1\n") {
				t.Errorf("after an event that does not match the id is %q, want it past the event", id)
			}
			break
		}
	}
	other := numbered(2)
	other.Type = "Other"
	f.append(t, other)
	if e, _ := s.event(); e.Type != "Other" {
		t.Errorf("got %+v, want the event that matches", e)
	}
	if e, _ := f.follow(t, "?stream=order-{2}").event(); e.Stream != "order-{2}" {
		t.Errorf("got %+v, want the event of the stream asked for", e)
	}
	now := f.follow(t, "?since=now")
	f.append(t, numbered(3))
	if e, _ := now.event(); string(e.Data) != "3" {
		t.Errorf("got %+v, want what came after now", e)
	}
}

func TestFollowAsLines(t *testing.T) {
	f := open(t)
	f.append(t, numbered(1))
	s := f.follow(t, "", "Accept", "application/x-ndjson")
	for {
		text, err := s.lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if text == "\n" {
			continue
		}
		var batch struct {
			Checkpoint leat.Checkpoint
			Events     []eventjson.Event
		}
		if err := json.Unmarshal([]byte(text), &batch); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		if len(batch.Events) != 1 || batch.Checkpoint.Seqs[leat.ShardNumber(0)] != 1 {
			t.Errorf("got %s, want one event and the checkpoint after it", text)
		}
		return
	}
}

// A stream that fails says why before it ends.
func TestFollowTellsItsEnd(t *testing.T) {
	f := open(t)
	f.append(t, numbered(1))
	f.append(t, numbered(2))
	if _, err := f.logs["orders"].(leat.Trimmer).Trim(t.Context(), leat.ShardNumber(0), 2); err != nil {
		t.Fatal(err)
	}
	info, err := f.logs["orders"].Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, name, data := f.follow(t, "?from="+info.ID+"@1").message()
	p := parse[door.Problem](t, []byte(data))
	if name != "problem" || p.Code != "trimmed" || p.Oldest != 2 {
		t.Errorf("got %s: %s, want the problem that events are trimmed", name, data)
	}
}

// Draining ends streams, so that the server can stop.
func TestDrainEndsFollowers(t *testing.T) {
	f := open(t)
	f.append(t, numbered(1))
	s := f.follow(t, "")
	s.event()
	f.drain()
	if rest, err := io.ReadAll(s.lines); err != nil {
		t.Errorf("the stream ended with %v after %q, want its end", err, rest)
	}
}

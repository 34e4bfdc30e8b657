package http_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/eventjson"
	"github.com/leathq/leat/leattest"
	door "github.com/leathq/leat/server/http"
)

// A log behind the HTTP API keeps every promise of a log: it is read and
// written as a program in another language would do it.
func TestLog(t *testing.T) {
	leattest.TestLog(t, func(t testing.TB, s leattest.Setup) leattest.Instance {
		log, err := leattest.New(s.Config, s.Clock)
		if err != nil {
			t.Fatal(err)
		}
		f := open(t)
		f.logs["tested"] = log
		return leattest.Instance{Log: &remote{base: f.url + "/v1/logs/tested"}}
	})
}

// remote is a leat.Log over the HTTP API.
type remote struct{ base string }

func (r *remote) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	if _, err := leat.PrepareAppend(events, conds, leat.MinLimits, true); err != nil {
		return leat.Receipt{}, err
	}
	var in struct {
		Events     []eventjson.Event `json:"events"`
		Conditions []door.Condition  `json:"conditions,omitempty"`
	}
	for i := range events {
		in.Events = append(in.Events, eventjson.FromRecorded(&leat.Recorded{Event: events[i]}))
	}
	for _, c := range conds {
		if c.Exists {
			in.Conditions = append(in.Conditions, door.Condition{Stream: c.Stream, Exists: true})
		} else {
			in.Conditions = append(in.Conditions, door.Condition{Stream: c.Stream, Version: &c.Version})
		}
	}
	var out eventjson.Receipt
	err := r.call(ctx, http.MethodPost, "/events", nil, in, &out)
	return leat.Receipt{
		Shard: out.Shard, First: out.First, Last: out.Last, Versions: out.Versions, At: out.At, Duplicate: out.Duplicate,
	}, err
}

func (r *remote) ReadStream(ctx context.Context, stream string, rg leat.Range) iter.Seq2[leat.Recorded, error] {
	type page struct {
		Stream string            `json:"stream"`
		Events []eventjson.Event `json:"events"`
		More   bool              `json:"more"`
	}
	read := func(rg leat.Range, limit int) (page, error) {
		q := url.Values{"after": {fmt.Sprint(rg.After)}, "limit": {fmt.Sprint(limit)}, "reverse": {fmt.Sprint(rg.Reversed())}}
		if rg.Through > 0 {
			q.Set("through", fmt.Sprint(rg.Through))
		}
		var p page
		return p, r.call(ctx, http.MethodGet, "/streams/"+url.PathEscape(stream), q, nil, &p)
	}
	return func(yield func(leat.Recorded, error) bool) {
		if stream == "" {
			return // there is no path to such a stream, nor can there be one
		}
		// A page of the last event tells where the stream ends now.
		last, err := read(leat.Range{After: rg.After}.Reverse(), 1)
		if err == nil && len(last.Events) == 0 {
			return
		}
		if err == nil {
			end := last.Events[0].Version
			rg.Through = min(end, cmp.Or(rg.Through, end))
		}
		var trimmed error
		for rg.After < rg.Through || err != nil {
			p, err := read(rg, 3)
			var te *leat.TrimmedError
			if errors.As(err, &te) && rg.Reversed() && trimmed == nil && te.Oldest <= rg.Through {
				trimmed, rg.After = err, te.Oldest-1
				continue
			}
			if err != nil {
				yield(leat.Recorded{}, err)
				return
			}
			for i := range p.Events {
				e, err := recorded(&p.Events[i])
				if !yield(e, err) || err != nil {
					return
				}
			}
			if !p.More {
				break
			}
			if n := p.Events[len(p.Events)-1].Version; rg.Reversed() {
				rg.Through = n - 1
			} else {
				rg.After = n
			}
		}
		if trimmed != nil {
			yield(leat.Recorded{}, trimmed)
		}
	}
}

func (r *remote) ReadShard(ctx context.Context, shard leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	if o.Filter.Where != "" {
		return leat.Batch{}, leat.ErrUnsupported
	}
	q := url.Values{
		"after": {fmt.Sprint(after)}, "limit": {fmt.Sprint(cmp.Or(o.Limit, leat.DefaultReadLimit))}, "wait": {min(o.Wait, time.Minute).String()},
		"stream": o.Filter.Streams, "category": o.Filter.Categories, "type": o.Filter.Types, "system": {fmt.Sprint(o.Filter.System)},
	}
	var in eventjson.Batch
	err := r.call(ctx, http.MethodGet, "/shards/"+url.PathEscape(string(shard))+"/events", q, nil, &in)
	if err != nil {
		return leat.Batch{}, err
	}
	out := leat.Batch{Shard: in.Shard, Epoch: in.Epoch, Next: in.Next, Head: in.Head, Closed: in.Closed}
	for i := range in.Events {
		e, err := recorded(&in.Events[i])
		if err != nil {
			return out, err
		}
		out.Events = append(out.Events, e)
	}
	return out, nil
}

func recorded(e *eventjson.Event) (leat.Recorded, error) {
	event, err := e.Event()
	return leat.Recorded{Event: event, Shard: e.Shard, Seq: e.Seq, Commit: e.Commit, Version: e.Version, At: e.At}, err
}

func (r *remote) Shards(ctx context.Context) ([]leat.Shard, error) {
	var out struct {
		Shards []eventjson.Shard `json:"shards"`
	}
	err := r.call(ctx, http.MethodGet, "/shards", nil, nil, &out)
	return shardsOf(out.Shards), err
}

func shardsOf(in []eventjson.Shard) []leat.Shard {
	var out []leat.Shard
	for _, s := range in {
		out = append(out, leat.Shard(s))
	}
	return out
}

func (r *remote) Info(ctx context.Context) (leat.Info, error) {
	var out eventjson.Log
	err := r.call(ctx, http.MethodGet, "", nil, nil, &out)
	info := leat.Info{ID: out.ID, Epoch: out.Epoch, Single: out.Single, Created: out.Created}
	for _, e := range out.Ended {
		info.Ended = append(info.Ended, leat.Epoch(e))
	}
	return info, err
}

func (r *remote) Trim(ctx context.Context, shard leat.ShardID, below uint64) (uint64, error) {
	var out struct {
		Oldest uint64 `json:"oldest"`
	}
	err := r.call(ctx, http.MethodPost, "/shards/"+url.PathEscape(string(shard))+"/trim", nil, map[string]uint64{"below": below}, &out)
	return out.Oldest, err
}

func (r *remote) Split(ctx context.Context, shard leat.ShardID, at leat.HashKey) ([2]leat.Shard, error) {
	var out struct {
		Shards []eventjson.Shard `json:"shards"`
	}
	err := r.call(ctx, http.MethodPost, "/shards/"+url.PathEscape(string(shard))+"/split", nil, map[string]leat.HashKey{"at": at}, &out)
	if err != nil {
		return [2]leat.Shard{}, err
	}
	return [2]leat.Shard(shardsOf(out.Shards)), nil
}

func (r *remote) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var body io.Reader
	if in != nil {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(in); err != nil {
			return err
		}
		body = &b
	}
	target := r.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		if ctx.Err() != nil && method == http.MethodPost {
			return fmt.Errorf("%w: %w", ctx.Err(), leat.ErrUncertain)
		}
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		var p door.Problem
		if err := json.NewDecoder(resp.Body).Decode(&p); err != nil {
			return fmt.Errorf("status %d without a problem: %w", resp.StatusCode, err)
		}
		return errorOf(p)
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// errorOf is what a problem says, as an error of package leat.
func errorOf(p door.Problem) error {
	switch p.Code {
	case "invalid":
		return &leat.InvalidError{Field: p.Field, Limit: p.Limit, Got: p.Got}
	case "conflict":
		c := leat.Condition{Stream: p.Stream, Exists: p.Condition.Exists}
		if !c.Exists {
			c.Version = *p.Condition.Version
		}
		return &leat.ConflictError{Condition: c, Actual: *p.Version}
	case "id_reused":
		return &leat.IDReusedError{Index: *p.Index, Stream: p.Stream, ID: p.ID, Reason: p.Detail}
	case "partial":
		return &leat.PartialError{Known: p.Known, Total: p.Total}
	case "trimmed":
		return &leat.TrimmedError{Shard: p.Shard, Stream: p.Stream, Oldest: p.Oldest}
	case "held":
		return &leat.HeldError{Lease: leat.Lease(*p.Lease)}
	case "diverged":
		return &leat.DivergedError{Reason: p.Detail}
	}
	for _, err := range []error{
		leat.ErrUncertain, leat.ErrCrossKey, leat.ErrFull, leat.ErrNotFound, leat.ErrDenied,
		leat.ErrUnsupported, leat.ErrClosed, leat.ErrCorrupt, leat.ErrFenced,
	} {
		if leat.Code(err) == p.Code {
			return fmt.Errorf("%w (%s)", err, p.Detail)
		}
	}
	return fmt.Errorf("status %d: %s: %s", p.Status, p.Code, p.Detail)
}

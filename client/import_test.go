package client_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
	"github.com/leathq/leat/internal/proxy"
)

// imports returns the first events of a stream and of the only shard of a log.
func imports(n int) []leat.Recorded {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var events []leat.Recorded
	for i := range uint64(n) {
		e := leat.Recorded{Event: event("a-1", fmt.Sprint("id-", i)), Shard: leat.ShardNumber(0), Seq: i + 1, Commit: i + 1, Version: i + 1}
		e.At = at.Add(time.Duration(i))
		e.Time, e.ContentType = e.At, "application/json"
		events = append(events, e)
	}
	return events
}

// An import is told as done when it is recorded, and as one that does not fit
// when it was recorded before, wherever the first connection is cut.
func TestImportOverCutConnections(t *testing.T) {
	for cut := int64(16); cut < 1000; cut += 48 {
		for way, f := range map[string]proxy.Fate{
			"up":   {Up: cut, Down: -1},
			"down": {Up: -1, Down: cut},
		} {
			log := reference(t)
			p := proxied(t, serve(t, log, nil))
			l := dial(t, url(p), client.Options{})
			for _, want := range []error{nil, leat.ErrInvalid} {
				cutNext(p, f)
				if err := l.Import(t.Context(), leat.ShardNumber(0), imports(3)); !errors.Is(err, want) {
					t.Fatalf("connection cut after %d B %s: got error %v, want %v", cut, way, err, want)
				}
			}
			if v := version(t, log, "a-1"); v != 3 {
				t.Fatalf("connection cut after %d B %s: the stream has version %d, want 3", cut, way, v)
			}
			_ = l.Close()
		}
	}
}

// cutNext cuts the open connections, has the next one meet its fate, and is kind
// to all after it.
func cutNext(p *proxy.Proxy, f proxy.Fate) {
	p.Decide(func() proxy.Fate {
		now := f
		f = proxy.Kind()
		return now
	})
	p.Cut()
}

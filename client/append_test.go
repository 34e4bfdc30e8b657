package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
	"github.com/leathq/leat/internal/proxy"
	"github.com/leathq/leat/leattest"
)

// event returns an event of a stream.
func event(stream, id string) leat.Event {
	return leat.Event{ID: id, Stream: stream, Type: "Tested", Source: "client", Data: []byte("data of " + id)}
}

func reference(t testing.TB) *leattest.Log {
	t.Helper()
	log, err := leattest.New(leat.Config{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func TestDialToNobody(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = client.Dial(t.Context(), "leat://"+address+"/log", client.Options{})
	if !errors.Is(err, client.ErrUnreachable) {
		t.Fatalf("got error %v, want one that is %v", err, client.ErrUnreachable)
	}
	for _, want := range []string{address, "leat serve"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not name %q", err, want)
		}
	}
	_, err = client.Dial(t.Context(), "leat://"+address+"/log", client.Options{Wait: true, Retry: 50 * time.Millisecond})
	if !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("waiting: got error %v, want one that is %v", err, client.ErrUnreachable)
	}
}

func TestDialWaits(t *testing.T) {
	log := reference(t)
	first := serve(t, log, nil)
	p := proxied(t, first)
	first.stop(t)()

	dialled := make(chan error, 1)
	go func() {
		l, err := client.Dial(context.Background(), url(p), client.Options{Wait: true})
		if err == nil {
			err = l.Close()
		}
		dialled <- err
	}()
	p.Lead(serve(t, log, nil).address)
	if err := <-dialled; err != nil {
		t.Fatal(err)
	}
}

func TestDialChecks(t *testing.T) {
	address := serve(t, reference(t), nil).address
	for _, url := range []string{"", "log", "leat://", "leat://localhost/log", "http://" + address + "/log", "leat://" + address, "leat://u:p@" + address + "/log"} {
		if _, err := client.Dial(t.Context(), url, client.Options{}); !errors.Is(err, leat.ErrInvalid) {
			t.Errorf("dial %q: got error %v, want one that is %v", url, err, leat.ErrInvalid)
		}
	}
	if _, err := client.Dial(t.Context(), "leat://"+address+"/other", client.Options{}); !errors.Is(err, leat.ErrNotFound) {
		t.Errorf("dial a log that is not there: got error %v, want one that is %v", err, leat.ErrNotFound)
	}
}

// What the server recorded before the connection was lost is told as recorded,
// once, by this call.
func TestLostAnswer(t *testing.T) {
	log := reference(t)
	p := proxied(t, serve(t, log, nil))
	l := dial(t, url(p), client.Options{})
	old := []leat.Event{event("a-1", "old")}
	if _, err := l.Append(t.Context(), old); err != nil {
		t.Fatal(err)
	}

	for name, c := range map[string]struct {
		events    []leat.Event
		duplicate bool
	}{
		"new events":   {[]leat.Event{event("a-1", "x"), event("a-1", "y")}, false},
		"known events": {old, true},
	} {
		t.Run(name, func(t *testing.T) {
			p.Swallow.Store(true)
			type answer struct {
				leat.Receipt
				error
			}
			answers := make(chan answer, 1)
			go func() {
				r, err := l.Append(t.Context(), c.events, leat.ExpectVersion("a-1", 1))
				answers <- answer{r, err}
			}()
			if !c.duplicate {
				await(t, "the events are recorded", func() bool { return version(t, log, "a-1") == 3 })
			}
			p.Swallow.Store(false)
			p.Cut()
			a := <-answers
			if a.error != nil {
				t.Fatalf("append: %v", a.error)
			}
			if a.Duplicate != c.duplicate {
				t.Errorf("Duplicate is %t, want %t", a.Duplicate, c.duplicate)
			}
		})
	}
}

// A client that has to give up says that it does not know, and is right either
// way.
func TestUncertain(t *testing.T) {
	for name, swallow := range map[string]bool{"recorded": true, "not recorded": false} {
		t.Run(name, func(t *testing.T) {
			log := reference(t)
			p := proxied(t, serve(t, log, nil))
			l := dial(t, url(p), client.Options{Retry: 200 * time.Millisecond})
			p.Decide(func() proxy.Fate { return proxy.Fate{} }) // cut before anything passes
			p.Swallow.Store(swallow)
			if !swallow {
				p.Cut()
			}
			events := []leat.Event{event("a-1", "x")}
			done := make(chan error, 1)
			go func() {
				_, err := l.Append(t.Context(), events)
				done <- err
			}()
			if swallow {
				await(t, "the event is recorded", func() bool { return version(t, log, "a-1") == 1 })
				p.Cut()
			}
			err := <-done
			if swallow && !errors.Is(err, leat.ErrUncertain) || !errors.Is(err, client.ErrUnreachable) {
				t.Fatalf("got error %v, want one that is %v and %v", err, leat.ErrUncertain, client.ErrUnreachable)
			}
			p.Swallow.Store(false)
			p.Decide(proxy.Kind)
			await(t, "the client recovers", func() bool {
				_, err = l.Append(t.Context(), events)
				return err == nil
			})
			if v := version(t, log, "a-1"); v != 1 {
				t.Errorf("the stream is at version %d, want 1", v)
			}
		})
	}
}

// Whose context ends while nothing answers is told that the outcome is unknown.
func TestUncertainWhenContextEnds(t *testing.T) {
	log := reference(t)
	p := proxied(t, serve(t, log, nil))
	l := dial(t, url(p), client.Options{})
	p.Swallow.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := l.Append(ctx, []leat.Event{event("a-1", "x")})
		done <- err
	}()
	await(t, "the event is recorded", func() bool { return version(t, log, "a-1") == 1 })
	cancel()
	if err := <-done; !errors.Is(err, leat.ErrUncertain) || !errors.Is(err, context.Canceled) {
		t.Fatalf("got error %v, want one that is %v and %v", err, leat.ErrUncertain, context.Canceled)
	}
	_, err := l.Append(ctx, []leat.Event{event("a-1", "y")})
	if !errors.Is(err, context.Canceled) || errors.Is(err, leat.ErrUncertain) {
		t.Fatalf("got error %v, want only %v", err, context.Canceled)
	}
}

// A client that is closed says what it does not know.
func TestClose(t *testing.T) {
	log := reference(t)
	p := proxied(t, serve(t, log, nil))
	l := dial(t, url(p), client.Options{})
	p.Swallow.Store(true)
	done := make(chan error, 1)
	go func() {
		_, err := l.Append(t.Context(), []leat.Event{event("a-1", "x")})
		done <- err
	}()
	await(t, "the event is recorded", func() bool { return version(t, log, "a-1") == 1 })
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, leat.ErrUncertain) || !errors.Is(err, leat.ErrClosed) {
		t.Errorf("got error %v, want one that is %v and %v", err, leat.ErrUncertain, leat.ErrClosed)
	}
	if _, err := l.Append(t.Context(), []leat.Event{event("a-1", "y")}); !errors.Is(err, leat.ErrClosed) {
		t.Errorf("append: got error %v, want one that is %v", err, leat.ErrClosed)
	}
	if _, err := l.Shards(t.Context()); !errors.Is(err, leat.ErrClosed) {
		t.Errorf("shards: got error %v, want one that is %v", err, leat.ErrClosed)
	}
}

// Concurrent Appends of many callers are all recorded once, whatever is cut.
func TestManyAppendsOverBadNetwork(t *testing.T) {
	const writers, each = 64, 40
	log := create(t, leattest.Setup{})
	p := proxied(t, serve(t, log, nil))
	p.Decide(proxy.Cruel(seed(t)))
	l := dial(t, url(p), client.Options{Wait: true})
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			stream := fmt.Sprintf("s-%d", w)
			for i := range each {
				events := []leat.Event{event(stream, fmt.Sprintf("e-%d", i))}
				r, err := l.Append(t.Context(), events, leat.ExpectVersion(stream, uint64(i)))
				if err != nil {
					t.Errorf("append %d to %s: %v", i+1, stream, err)
					return
				}
				if r.Versions[0] != uint64(i+1) || r.Duplicate {
					t.Errorf("append %d to %s: got version %d, duplicate %t", i+1, stream, r.Versions[0], r.Duplicate)
				}
			}
		})
	}
	writing.Wait()
	for w := range writers {
		if v := version(t, log, fmt.Sprintf("s-%d", w)); v != each {
			t.Errorf("stream %d is at version %d, want %d", w, v, each)
		}
	}
}

// version returns the version of a stream.
func version(t testing.TB, log leat.Log, stream string) (v uint64) {
	t.Helper()
	for e, err := range log.ReadStream(t.Context(), stream, leat.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		v = e.Version
	}
	return v
}

// await waits until something holds, and fails the test when it never does.
func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

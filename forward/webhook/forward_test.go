package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/forward/webhook"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/server/lease"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

// A receiver deduplicates what it gets by stream and ID, as receivers should. It
// loses requests and answers by chance.
type receiver struct {
	t      *testing.T
	server *httptest.Server
	secret webhook.Secret

	mu     sync.Mutex
	rnd    *rand.Rand
	calm   bool
	broken string              // a stream for which it answers 500
	events map[string][]string // of each stream: the IDs, each once
	known  map[string]bool
	again  int // events that came again
}

func newReceiver(t *testing.T, seed uint64) *receiver {
	r := &receiver{t: t, secret: webhook.NewSecret(), rnd: rand.New(rand.NewPCG(seed, 1)), events: make(map[string][]string), known: make(map[string]bool)}
	v := webhook.Verifier{Secrets: []webhook.Secret{r.secret}}
	handler := v.Handler(r.handle)
	r.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch r.chance(40) {
		case 0: // cut off before it is read
			panic(http.ErrAbortHandler)
		case 1: // taken, and cut off before the answer
			handler.ServeHTTP(httptest.NewRecorder(), q)
			panic(http.ErrAbortHandler)
		case 2:
			handler.ServeHTTP(httptest.NewRecorder(), q)
			http.Error(w, "after all", http.StatusInternalServerError)
		case 3:
			w.Header().Set("Retry-After", "0")
			http.Error(w, "busy", http.StatusTooManyRequests)
		case 4: // no answer for longer than the sender waits
			_, _ = io.Copy(io.Discard, q.Body) // only then does a server notice that nobody waits
			<-q.Context().Done()
		default:
			handler.ServeHTTP(w, q)
		}
	}))
	r.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	r.server.Start()
	t.Cleanup(r.server.Close)
	return r
}

// chance returns a number below n, and the last when nothing is to go wrong.
func (r *receiver) chance(n int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calm {
		return n
	}
	return r.rnd.IntN(n)
}

func (r *receiver) handle(_ context.Context, events []leat.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range events {
		if e.Stream == r.broken {
			return errors.New("broken")
		}
	}
	for _, e := range events {
		if key := e.Stream + " " + e.ID; r.known[key] {
			r.again++
		} else {
			r.known[key] = true
			r.events[e.Stream] = append(r.events[e.Stream], e.ID)
		}
	}
	return nil
}

// until waits until at least n events were received.
func (r *receiver) until(n int) {
	r.t.Helper()
	for {
		r.mu.Lock()
		known := len(r.known)
		r.mu.Unlock()
		if known >= n {
			return
		}
		if r.t.Context().Err() != nil {
			r.t.Fatalf("%d events were received, not %d", known, n)
		}
		time.Sleep(time.Millisecond)
	}
}

func (r *receiver) of(stream string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.events[stream], " ")
}

// A sender is one process that forwards to a receiver.
type sender struct {
	app   *service.App
	store *killable
	stop  func() error
}

// killable is a store that a killed process cannot write to any more.
type killable struct {
	service.CheckpointStore
	mu   sync.Mutex
	dead bool
}

func (k *killable) kill() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dead = true
}

func (k *killable) Save(ctx context.Context, s service.Step) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dead {
		return errors.New("killed")
	}
	return k.CheckpointStore.Save(ctx, s)
}

func (r *receiver) sender(log leat.Log, leases leat.Leases, store service.CheckpointStore, mode webhook.Mode, attempts int) *sender {
	r.t.Helper()
	to, err := webhook.New(webhook.Config{URL: r.server.URL, Mode: mode, Secrets: []webhook.Secret{r.secret}, Timeout: 300 * time.Millisecond, Events: 20})
	ok(r.t, err)
	s := &sender{store: &killable{CheckpointStore: store}}
	s.app, err = service.NewApp(service.Config{
		Log: log, Logger: slog.New(slog.DiscardHandler), Leases: leases, LeaseTTL: leat.MinTTL, Drain: time.Second,
		Retry: service.Retry{Attempts: attempts, First: time.Millisecond, Most: 5 * time.Millisecond},
	}, service.Forwarder{Name: "f", To: to, Checkpoints: s.store})
	ok(r.t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- s.app.Run(ctx) }()
	s.stop = sync.OnceValue(func() error {
		cancel()
		err := <-ended
		_ = to.Close()
		return err
	})
	r.t.Cleanup(func() { _ = s.stop() })
	return s
}

func (s *sender) caughtUp(t *testing.T, log leat.Log) {
	t.Helper()
	to, err := leat.Start(t.Context(), log, leat.Now)
	ok(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	ok(t, s.app.WaitCaughtUp(ctx, to))
}

func newLog(t *testing.T, shards int) *leattest.Log {
	t.Helper()
	log, err := leattest.New(leat.Config{Shards: leat.EvenShards(shards)}, nil)
	ok(t, err)
	t.Cleanup(func() { _ = log.Close() })
	return log
}

func fill(t *testing.T, log leat.Log, stream string) {
	t.Helper()
	_, err := log.Append(t.Context(), []leat.Event{{Stream: stream, Type: "T", Source: "test", Data: []byte(`{}`)}})
	ok(t, err)
}

// ids returns the IDs of a stream in order.
func ids(t *testing.T, log leat.Log, stream string) string {
	t.Helper()
	var all []string
	for e, err := range log.ReadStream(t.Context(), stream, leat.Range{}) {
		ok(t, err)
		all = append(all, e.ID)
	}
	return strings.Join(all, " ")
}

// Processes come and are killed, shards split, connections are cut and answers
// lost: a receiver that deduplicates has each event once, in order.
func TestAReceiverHasEachEventOnce(t *testing.T) {
	seed := rand.Uint64()
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("seed %d", seed)
				}
			})
			rnd := rand.New(rand.NewPCG(seed, 0))
			log, r := newLog(t, 2), newReceiver(t, seed)
			keeper, store := lease.New(nil), servicetest.NewMemory()
			senders := []*sender{r.sender(log, keeper, store, mode, 1_000_000)}
			for round := range 12 {
				for range 40 {
					fill(t, log, fmt.Sprintf("s-%d", rnd.IntN(15)))
				}
				r.until(40*round + rnd.IntN(40)) // so that something is on its way
				switch rnd.IntN(4) {
				case 0:
					shards, err := log.Shards(t.Context())
					ok(t, err)
					if s := shards[rnd.IntN(len(shards))]; !s.Closed {
						_, err := log.Split(t.Context(), s.ID, s.Middle())
						ok(t, err)
					}
				case 1:
					senders = append(senders, r.sender(log, keeper, store, mode, 1_000_000))
				case 2:
					senders[0].store.kill()
					_ = senders[0].stop()
					senders = append(senders[1:], r.sender(log, keeper, store, mode, 1_000_000))
				}
			}
			senders[0].caughtUp(t, log)
			for _, s := range senders {
				ok(t, s.stop())
			}
			for i := range 15 {
				name := fmt.Sprintf("s-%d", i)
				want(t, name, r.of(name), ids(t, log, name))
			}
			parked, err := store.Parked(t.Context(), "f", "")
			ok(t, err)
			want(t, "parked", len(parked), 0)
			t.Logf("%d events came again", r.again)
		})
	}
}

// One stream is answered with 500 for ever: it is parked, the others are not
// held up, and it goes on in order when somebody asks.
func TestAStreamThatAlwaysFailsIsParked(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			log, r, store := newLog(t, 1), newReceiver(t, 0), servicetest.NewMemory()
			r.calm, r.broken = true, "bad"
			for range 3 {
				for i := range 30 {
					fill(t, log, fmt.Sprintf("s-%d", i))
				}
				fill(t, log, "bad")
			}
			s := r.sender(log, nil, store, mode, 3)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for { // others have to be taken for bad to be blamed
				fill(t, log, "more")
				if parked, err := store.Parked(ctx, "f", "bad"); err != nil || len(parked) == 3 {
					ok(t, err)
					if !strings.Contains(parked[0].Error, "500 Internal Server Error") || parked[1].Error != "" {
						t.Errorf("parked: %+v", parked)
					}
					break
				}
				for r.of("more") != ids(t, log, "more") && ctx.Err() == nil {
					time.Sleep(time.Millisecond)
				}
				ok(t, ctx.Err())
			}
			r.mu.Lock()
			r.broken = ""
			r.mu.Unlock()
			ok(t, store.Retry(ctx, "f", "bad"))
			for r.of("bad") != ids(t, log, "bad") && ctx.Err() == nil {
				time.Sleep(10 * time.Millisecond)
			}
			s.caughtUp(t, log)
			for _, stream := range []string{"bad", "more", "s-0", "s-29"} {
				want(t, stream, r.of(stream), ids(t, log, stream))
			}
			ok(t, s.stop())
		})
	}
}

package servicetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

// A flaky log loses the answer to some appends, and an outbox to some
// settlements, or does not do what it was asked for.
type flakyLog struct {
	leat.Log
	fails func() bool
}

func (l *flakyLog) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	if l.fails() {
		return leat.Receipt{}, leat.ErrUnavailable
	}
	r, err := l.Log.Append(ctx, events, conds...)
	if err == nil && l.fails() {
		return leat.Receipt{}, leat.ErrUncertain
	}
	return r, err
}

type flakyOutbox struct {
	service.Outbox
	fails func() bool
}

func (f *flakyOutbox) Settle(ctx context.Context, s service.Settlement) error {
	if f.fails() {
		return errRefused
	}
	if err := f.Outbox.Settle(ctx, s); err != nil || !f.fails() {
		return err
	}
	return errRefused
}

// chance returns a function that is true once in n times.
func (o *office[Tx]) chance(n int) func() bool {
	seed := rand.Uint64()
	o.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // to be repeated, not to be secret
	var mu sync.Mutex
	return func() bool {
		mu.Lock()
		defer mu.Unlock()
		return rnd.IntN(n) == 0
	}
}

func (o *office[Tx]) lost() {
	var want []string
	for i := range 30 {
		stream := fmt.Sprintf("a-%d", i%3)
		o.put(happened(stream, "", strconv.Itoa(i)), happened(stream, "", strconv.Itoa(i)+"b"))
		want = append(want, fmt.Sprintf("%s:%d", stream, i), fmt.Sprintf("%s:%db", stream, i))
	}
	fails := o.chance(3)
	stop := o.start(&flakyOutbox{o.outbox, fails}, &flakyLog{o.To, fails})
	o.until("nothing waits", o.nothingWaits)
	stop()
	o.relayed(want...)
}

func (o *office[Tx]) order() {
	const putters, puts, streams, relays = 4, 15, 2, 3
	var working, relaying sync.WaitGroup
	var over atomic.Bool
	fails := o.chance(8)
	for range relays {
		outbox := o.Open(o)
		relaying.Go(func() {
			for !over.Load() { // comes and goes
				stop := o.start(&flakyOutbox{outbox, fails}, &flakyLog{o.To, fails})
				for !over.Load() && !fails() {
					time.Sleep(5 * time.Millisecond)
				}
				stop()
			}
		})
	}
	for p := range putters {
		outbox := o.Open(o)
		working.Go(func() {
			for i := range puts {
				stream := fmt.Sprintf("a-%d", i%streams)
				err := o.Transact(o.Context(), func(ctx context.Context, tx Tx) error {
					name := fmt.Sprintf("%d.%d", p, i)
					if err := outbox.Put(ctx, tx, happened(stream, "", "begin "+name)); err != nil {
						return err
					}
					n, err := o.Next(ctx, tx, stream)
					if err != nil {
						return err
					}
					return outbox.Put(ctx, tx, happened(stream, "", fmt.Sprintf("%d %s", n, name)))
				})
				if err != nil {
					o.Errorf("put: %v", err)
				}
			}
		})
	}
	working.Wait()
	const want = 2 * putters * puts
	o.until("the log has all events", func() bool { return len(o.history()) >= want })
	over.Store(true)
	relaying.Wait()
	if n := len(o.history()); n != want {
		o.Errorf("the log has %d events, want %d", n, want)
	}
	for s := range streams {
		n, began := 0, ""
		for r, err := range o.To.ReadStream(o.Context(), fmt.Sprintf("a-%d", s), leat.Range{}) {
			o.ok(err)
			what, name, _ := strings.Cut(string(r.Data), " ")
			if what == "begin" {
				began = name
				continue
			}
			if n++; what != strconv.Itoa(n) || name != began {
				o.Fatalf("change %s of transaction %s comes after the beginning of %s, as number %d", what, name, began, n)
			}
		}
	}
}

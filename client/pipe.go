package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/leathq/leat"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Bounds of what is sent ahead of its acknowledgement.
const (
	messageBytes   = 1 << 20 // of one message; an Append that is larger rides alone
	messageAppends = 512     // in one message
	windowBytes    = 64 << 20
	firstWindow    = 256 // Appends, until the server tells its window
)

// A pipe carries Appends to the server over one stream at a time. Appends that
// come while others are being sent ride together in the next message.
//
// One goroutine, run, opens streams and sends; each stream has another that
// takes the answers. When a stream ends, what it did not answer is sent again
// on the next.
type pipe struct {
	log     *Log
	running sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	wake    *sync.Cond          // queue, window, stream or closed has changed
	number  uint64              // of the last Append that was sent
	queue   []*pending          // to be sent
	flight  map[uint64]*pending // sent on the open stream, by number; nil when abandoned
	bytes   int                 // in flight
	sizes   map[uint64]int      // of what is in flight
	window  int                 // Appends that may be in flight
	broken  error               // why the open stream ended
	started bool                // run runs
}

func newPipe(l *Log) *pipe {
	p := &pipe{log: l, window: firstWindow}
	p.wake = sync.NewCond(&p.mu)
	context.AfterFunc(l.conn.ctx, p.close)
	return p
}

// push takes an Append to be sent.
func (p *pipe) push(a *pending) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return leat.ErrClosed
	}
	if !p.started {
		p.started = true
		p.running.Go(p.run)
	}
	p.queue = append(p.queue, a)
	p.wake.Broadcast()
	return nil
}

// abandon gives up waiting for an Append because of err, unless its outcome is
// there.
func (p *pipe) abandon(a *pending, err error) outcome {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case o := <-a.outcome:
		return o
	default:
	}
	for i, q := range p.queue {
		if q == a {
			p.queue = append(p.queue[:i:i], p.queue[i+1:]...)
			return a.givenUp(false, err)
		}
	}
	for n, f := range p.flight {
		if f == a {
			p.flight[n] = nil
		}
	}
	return a.givenUp(true, err)
}

// close ends all Appends.
func (p *pipe) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.requeue()
	p.fail(func(*pending) error { return leat.ErrClosed })
	p.wake.Broadcast()
}

// wait waits until the goroutines of a closed pipe have ended.
func (p *pipe) wait() {
	p.close()
	p.running.Wait()
}

// run opens a stream whenever there is something to send, until the pipe is
// closed.
func (p *pipe) run() {
	ctx := p.log.conn.ctx
	retrying := p.log.conn.retrying()
	for p.anything() {
		progress, err := p.stream(ctx)
		if progress {
			retrying.progress()
		}
		if err == nil {
			continue
		}
		p.mu.Lock()
		p.expire(err)
		p.mu.Unlock()
		if retrying.rest(ctx) != nil {
			return
		}
	}
}

// anything waits until there is something to send, and reports false when the
// pipe is closed.
func (p *pipe) anything() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) == 0 && !p.closed {
		p.wake.Wait()
	}
	return !p.closed
}

// stream opens a stream and sends what comes until it ends. It reports whether
// the server answered anything on it, and why it ended: nil when the server
// ended it in good order.
func (p *pipe) stream(ctx context.Context) (progress bool, _ error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := p.log.rpc.AppendStream(ctx)
	if err != nil {
		return false, p.log.conn.explain(ctx, err)
	}
	p.mu.Lock()
	p.broken, p.window = nil, firstWindow
	p.flight, p.sizes, p.bytes = make(map[uint64]*pending), make(map[uint64]int), 0
	p.mu.Unlock()

	var receiving sync.WaitGroup
	receiving.Go(func() { progress = p.receive(stream) })
	for {
		m := p.next()
		if m == nil {
			break
		}
		if stream.Send(m) != nil {
			break // receive learns why
		}
	}
	receiving.Wait() // ends with the stream, which ends with the connection at the latest
	p.mu.Lock()
	err = p.broken
	p.requeue()
	p.mu.Unlock()
	if errors.Is(err, io.EOF) {
		return progress, nil
	}
	return progress, p.log.conn.explain(ctx, err)
}

// next returns the next message to send, as soon as there is one and the window
// lets it, and nil when the stream has ended.
func (p *pipe) next() *leatv1.AppendStreamRequest {
	runtime.Gosched() // lets those that were just answered append again first
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.broken == nil && !p.closed && !p.ready() {
		p.wake.Wait()
	}
	if p.broken != nil || p.closed {
		return nil
	}
	m := &leatv1.AppendStreamRequest{Log: p.log.name}
	for size := 0; p.ready() && len(m.Appends) < messageAppends; {
		a := p.queue[0]
		if size > 0 && size+a.bytes > messageBytes {
			break
		}
		p.queue[0] = nil
		p.queue = p.queue[1:]
		p.number++
		m.Appends = append(m.Appends, &leatv1.NumberedAppend{
			Number: p.number, Events: a.message.GetEvents(), Conditions: a.message.GetConditions(),
		})
		p.flight[p.number], p.sizes[p.number] = a, a.bytes
		p.bytes += a.bytes
		size += a.bytes
	}
	return m
}

// ready reports whether an Append may be sent: there is one, and the window has
// room for it. An Append larger than the window goes alone.
func (p *pipe) ready() bool {
	if len(p.queue) == 0 {
		return false
	}
	n := len(p.flight)
	return n == 0 || n < p.window && p.bytes+p.queue[0].bytes <= windowBytes
}

// receive hands out answers until the stream ends. It reports whether there was
// one.
func (p *pipe) receive(stream leatv1.Log_AppendStreamClient) (progress bool) {
	for {
		m, err := stream.Recv()
		p.mu.Lock()
		if err != nil {
			p.broken = err
			p.wake.Broadcast()
			p.mu.Unlock()
			return progress
		}
		if w := m.GetWindow(); w > 0 {
			p.window = int(w)
		}
		for _, r := range m.GetResults() {
			if stopping(r) {
				p.broken = status.Error(codes.Unavailable, r.GetError().GetMessage())
				continue // stays in flight, and is sent again
			}
			n := r.GetNumber()
			if a := p.flight[n]; a != nil {
				a.outcome <- a.answered(r, &p.log.known)
			}
			p.bytes -= p.sizes[n]
			delete(p.flight, n)
			delete(p.sizes, n)
			progress = true
		}
		broken := p.broken != nil
		p.wake.Broadcast()
		p.mu.Unlock()
		if broken {
			return progress
		}
	}
}

// stopping reports whether an answer says that the log was closed, by a server
// that stops: another will answer, or the same when it is back.
func stopping(r *leatv1.AppendResult) bool {
	return slices.Contains(r.GetError().GetKinds(), leatv1.Kind_KIND_CLOSED)
}

// requeue puts what was sent and not answered before all that waits. The caller
// holds mu.
func (p *pipe) requeue() {
	var again []*pending
	for _, a := range p.flight {
		if a != nil {
			a.lost = true
			again = append(again, a)
		}
	}
	p.queue = append(again, p.queue...)
	p.flight, p.sizes, p.bytes = nil, nil, 0
}

// expire ends the Appends that have waited as long as they may. The caller holds
// mu.
func (p *pipe) expire(err error) {
	now := time.Now()
	p.fail(func(a *pending) error {
		if a.failed.IsZero() {
			a.failed = now
		}
		switch {
		case !errors.Is(err, ErrUnreachable):
			return err // an answer: no other will come
		case now.Sub(a.failed) >= p.log.conn.retry:
			return fmt.Errorf("gave up after %s: %w", now.Sub(a.failed).Round(time.Millisecond), err)
		}
		return nil
	})
}

// fail ends the queued Appends for which there is an error. The caller holds mu.
func (p *pipe) fail(because func(*pending) error) {
	kept := p.queue[:0]
	for _, a := range p.queue {
		if err := because(a); err != nil {
			a.outcome <- a.givenUp(false, err)
			continue
		}
		kept = append(kept, a)
	}
	clear(p.queue[len(kept):])
	p.queue = kept
}

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
	"github.com/leathq/leat/internal/wire"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
	"google.golang.org/grpc"
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
	wake    *sync.Cond // of run: queue, window, stream or closed has changed
	queue   queue      // to be sent
	flight  flight     // sent on the open stream
	window  int        // Appends that may be in flight
	broken  error      // why the open stream ended
	started bool       // run runs
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
	p.queue.push(a)
	p.wake.Signal()
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
	if a.queued {
		p.queue.abandon(a)
		return a.givenUp(false, err)
	}
	p.flight.abandon(a)
	return a.givenUp(true, err)
}

// close ends all Appends.
func (p *pipe) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.requeue()
	p.fail(func(*pending) error { return leat.ErrClosed })
	p.wake.Signal()
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
	for p.queue.len() == 0 && !p.closed {
		p.wake.Wait()
	}
	return !p.closed
}

// stream opens a stream and sends what comes until it ends. It reports whether
// the server answered anything on it, and why it ended: nil when the server did
// and ended it in good order.
func (p *pipe) stream(ctx context.Context) (progress bool, _ error) {
	streaming, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := p.log.rpc.AppendStream(streaming, grpc.ForceCodecV2(wire.Codec))
	if err != nil {
		return false, p.log.conn.explain(ctx, err)
	}
	p.mu.Lock()
	p.broken, p.window, p.flight = nil, firstWindow, flight{}
	p.mu.Unlock()

	var receiving sync.WaitGroup
	receiving.Go(func() {
		progress = p.receive(stream)
		cancel() // a server that does not read would hold up what is being sent
	})
	for {
		m := p.next()
		if m == nil {
			break
		}
		if stream.SendMsg(m) != nil {
			break // receive learns why
		}
	}
	receiving.Wait() // ends with the stream, which ends with the connection at the latest
	p.mu.Lock()
	err = p.broken
	p.requeue()
	p.mu.Unlock()
	if progress && errors.Is(err, io.EOF) {
		return true, nil
	}
	return progress, p.log.conn.explain(ctx, err)
}

// next returns the next message to send, as soon as there is one and the window
// lets it, and nil when the stream has ended.
func (p *pipe) next() *wire.Outgoing {
	runtime.Gosched() // lets those that were just answered append again first
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.broken == nil && !p.closed && !p.ready() {
		p.wake.Wait()
	}
	if p.broken != nil || p.closed {
		return nil
	}
	appends, size := p.riding()
	m := wire.NewOutgoing(len(p.log.name) + size + (appends+1)*wire.NumberBytes)
	b := wire.EncodeLog(*m.Bytes, p.log.name)
	for ; appends > 0 && p.ready(); appends-- {
		a := p.queue.pop()
		b = wire.Number(b, p.flight.add(a), a.encoded)
	}
	*m.Bytes = b
	return &m
}

// riding returns how many Appends go into the next message, and their bytes.
func (p *pipe) riding() (appends, bytes int) {
	for _, a := range p.queue.appends {
		if a == nil {
			continue
		}
		if appends == messageAppends || appends > 0 && bytes+len(a.encoded) > messageBytes {
			break
		}
		appends, bytes = appends+1, bytes+len(a.encoded)
	}
	return appends, bytes
}

// ready reports whether an Append may be sent: there is one, and the window has
// room for it. An Append larger than the window goes alone.
func (p *pipe) ready() bool {
	if p.queue.len() == 0 {
		return false
	}
	n := p.flight.n
	return n == 0 || n < p.window && p.flight.bytes+len(p.queue.head().encoded) <= windowBytes
}

// receive hands out answers until the stream ends. It reports whether there was
// one.
func (p *pipe) receive(stream leatv1.Log_AppendStreamClient) (progress bool) {
	var results wire.ResultDecoder
	for {
		var m wire.Incoming
		err := stream.RecvMsg(&m)
		p.mu.Lock()
		if err == nil {
			err = p.take(&results, m.Bytes, &progress)
		}
		if err != nil {
			p.broken = err
		}
		p.wake.Signal()
		p.mu.Unlock()
		if err != nil {
			return progress
		}
	}
}

// take takes the answers of a message. The error says that the stream is of no
// use any more. The caller holds mu.
func (p *pipe) take(results *wire.ResultDecoder, message []byte, progress *bool) (broken error) {
	window, err := results.EachResult(message, func(r *wire.Result) {
		if stopping(r) {
			broken = status.Error(codes.Unavailable, r.Err.GetMessage())
			return // stays in flight, and is sent again
		}
		if a := p.flight.remove(r.Number); a != nil {
			a.outcome <- a.answered(r, &p.log.known)
		}
		*progress = true
	})
	if window > 0 {
		p.window = int(window)
	}
	if err != nil {
		return status.Errorf(codes.Internal, "decode the answer to appends: %v", err)
	}
	return broken
}

// stopping reports whether an answer says that the log was closed, by a server
// that stops: another will answer, or the same when it is back.
func stopping(r *wire.Result) bool {
	return slices.Contains(r.Err.GetKinds(), leatv1.Kind_KIND_CLOSED)
}

// requeue puts what was sent and not answered before all that waits. The caller
// holds mu.
func (p *pipe) requeue() {
	again := p.flight.pending()
	for _, a := range again {
		a.lost = true
	}
	p.queue.pushFront(again)
	p.flight = flight{}
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
	p.queue.keep(func(a *pending) bool {
		err := because(a)
		if err != nil {
			a.outcome <- a.givenUp(false, err)
		}
		return err == nil
	})
}

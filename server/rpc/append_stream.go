package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/wire"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func (s *logService) AppendStream(stream leatv1.Log_AppendStreamServer) error {
	ctx := stream.Context()
	messages := s.receive(stream)
	var first received
	select {
	case <-s.draining.Done():
		return errStopping
	case <-ctx.Done(): // the receiver may have ended, too
		return wire.Status(ctx.Err())
	case first = <-messages:
	}
	if first.err != nil {
		return ended(first.err)
	}
	name, err := wire.LogOf(first.message)
	if err != nil {
		return notDecoded(err)
	}
	log, err := s.logs.Log(ctx, name)
	if err != nil {
		return wire.Status(err)
	}
	a := &appender{
		Server: s.Server, stream: stream, name: name, log: log,
		window: semaphore.NewWeighted(appendWindow), results: make(chan results, appendWindow/portionAppends),
	}
	sent := make(chan error, 1)
	go func() { sent <- a.send() }()

	for r := first; ; {
		if err = a.begin(ctx, r.message); err != nil {
			break
		}
		select {
		case <-s.draining.Done():
			err = io.EOF
		case <-ctx.Done():
			err = wire.Status(ctx.Err())
		case r = <-messages:
			err = r.err
		}
		if err != nil {
			break
		}
	}
	a.working.Wait()
	close(a.results)
	if sendErr := <-sent; sendErr != nil {
		return sendErr
	}
	return ended(err)
}

var errStopping = status.Error(codes.Unavailable, "the server is stopping; try again")

// ended returns what a stream ends with that could not be read further.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func notDecoded(err error) error {
	return wire.Status(&leat.InvalidError{Field: "message", Limit: "an AppendStreamRequest", Got: err.Error()})
}

// received is what came of reading a stream.
type received struct {
	message []byte
	err     error
}

// receive reads a stream ahead by one message, so that its handler can wait for
// other things as well. It ends after an error, or when the handler has ended.
func (s *logService) receive(stream leatv1.Log_AppendStreamServer) <-chan received {
	messages := make(chan received)
	s.receivers.Go(func() {
		for {
			var m wire.Incoming
			err := stream.RecvMsg(&m)
			select {
			case messages <- received{m.Bytes, err}:
			case <-stream.Context().Done():
				return
			}
			if err != nil {
				return
			}
		}
	})
	return messages
}

// An appender carries out the appends of one stream, a portion of them in each
// goroutine.
type appender struct {
	*Server
	stream leatv1.Log_AppendStreamServer
	name   string
	log    leat.Log
	next   *portion // that begins when it is full

	window  *semaphore.Weighted // of the appends whose results are not sent
	working sync.WaitGroup
	results chan results
}

// A portion is appends of one message that are carried out and answered
// together. They are independent of one another all the same.
type portion struct {
	appends []wire.NumberedAppend
	memory  int64
}

// results are those of a portion.
type results struct {
	encoded []byte // as a part of an AppendStreamResponse
	appends int64
}

// Bounds of a portion, which one append may exceed.
const (
	portionAppends = 64
	portionBytes   = 1 << 20
)

// begin begins the appends of a message, as the window lets it.
func (a *appender) begin(ctx context.Context, message []byte) error {
	name, err := wire.LogOf(message)
	if err != nil {
		return notDecoded(err)
	}
	if name != "" && name != a.name {
		return wire.Status(&leat.InvalidError{Field: "log", Limit: "the same in all messages of a stream", Got: name})
	}
	a.next = new(portion)
	decoder := wire.AppendDecoder{MaxEvents: maxAppendEvents}
	err = wire.EachAppend(message, func(encoded []byte) error {
		n, memory, err := decoder.Decode(encoded)
		if err != nil {
			return notDecoded(err)
		}
		p := a.next
		p.appends, p.memory = append(p.appends, n), p.memory+int64(memory)
		if len(p.appends) == portionAppends || p.memory >= portionBytes {
			return a.beginPortion(ctx)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return a.beginPortion(ctx)
}

// beginPortion begins what is next.
func (a *appender) beginPortion(ctx context.Context) error {
	p := a.next
	a.next = new(portion)
	if len(p.appends) == 0 {
		return nil
	}
	if err := a.window.Acquire(ctx, int64(len(p.appends))); err != nil {
		return wire.Status(err)
	}
	p.memory = min(p.memory, a.options.AppendBytes) // else it would never be there
	if err := a.appends.Acquire(ctx, p.memory); err != nil {
		return wire.Status(err)
	}
	a.working.Go(func() {
		r := a.carryOut(ctx, p)
		a.appends.Release(p.memory) // others may have it while the client does not read
		a.results <- r
	})
	return nil
}

// carryOut returns the results of a portion.
func (a *appender) carryOut(ctx context.Context, p *portion) results {
	const receiptBytes = 64 // about
	r := results{encoded: make([]byte, 0, len(p.appends)*receiptBytes), appends: int64(len(p.appends))}
	pending := make([]leat.Pending, len(p.appends))
	for i := range p.appends {
		pending[i] = a.submit(ctx, &p.appends[i])
	}
	for i := range p.appends {
		receipt, err := a.wait(pending[i])
		r.encoded = wire.EncodeResult(r.encoded, p.appends[i].Number, &receipt, err)
	}
	return r
}

func (a *appender) submit(ctx context.Context, n *wire.NumberedAppend) (p leat.Pending) {
	if n.Refused != nil {
		return leat.Refuse(n.Refused)
	}
	if err := checkIDs(n.Events); err != nil {
		return leat.Refuse(err)
	}
	defer func() {
		if r := recover(); r != nil {
			p = leat.Refuse(a.appendPanicked(r))
		}
	}()
	return leat.Submit(ctx, a.log, n.Events, n.Conditions...)
}

func (a *appender) wait(p leat.Pending) (receipt leat.Receipt, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = a.appendPanicked(r)
		}
	}()
	return p.Wait()
}

func (a *appender) appendPanicked(p any) error {
	_ = a.panicked(leatv1.Log_AppendStream_FullMethodName, p)
	return fmt.Errorf("%w: %w", leat.ErrUncertain, errInternal)
}

// send sends results, those that are ready in one message, until there will be
// no more. After an error it goes on to take them, so that nobody waits.
func (a *appender) send() error {
	const messageBytes = 256 << 10 // about
	window := wire.NewOutgoing(0)
	*window.Bytes = wire.EncodeWindow(*window.Bytes, appendWindow)
	err := a.stream.SendMsg(&window)
	for r := range a.results {
		m := wire.NewOutgoing(len(r.encoded))
		*m.Bytes = append(*m.Bytes, r.encoded...)
		appends := r.appends
		for more := true; more && len(*m.Bytes) < messageBytes; {
			select {
			case r, more = <-a.results:
				*m.Bytes = append(*m.Bytes, r.encoded...)
				appends += r.appends
			default:
				more = false
			}
		}
		if err == nil {
			err = a.stream.SendMsg(&m)
		}
		a.window.Release(appends)
	}
	return err
}

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
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

func (s *logService) Append(ctx context.Context, req *leatv1.AppendRequest) (*leatv1.AppendResponse, error) {
	log, err := s.logs.Log(ctx, req.GetLog())
	if err != nil {
		return nil, wire.Status(err)
	}
	receipt, err := appendEvents(ctx, log, req.GetEvents(), req.GetConditions())
	if err != nil {
		return nil, wire.Status(err)
	}
	return &leatv1.AppendResponse{Receipt: wire.FromReceipt(receipt)}, nil
}

// appendEvents appends what a message holds. It refuses events without an ID: a
// client that does not choose one could not send again what was lost.
func appendEvents(ctx context.Context, log leat.Log, events []*leatv1.Event, conds []*leatv1.Condition) (leat.Receipt, error) {
	for i, e := range events {
		if e.GetId() == "" {
			return leat.Receipt{}, &leat.InvalidError{
				Field: fmt.Sprintf("events[%d].id", i), Limit: "1 to 256 bytes of UTF-8", Got: "nothing",
			}
		}
	}
	return log.Append(ctx, wire.Events(events), wire.Conditions(conds)...)
}

func (s *logService) AppendStream(stream leatv1.Log_AppendStreamServer) error {
	ctx := stream.Context()
	requests := s.receive(stream)
	var first received
	select {
	case <-s.draining.Done():
		return errStopping
	case first = <-requests:
	}
	if first.err != nil {
		return ended(first.err)
	}
	name := first.request.GetLog()
	log, err := s.logs.Log(ctx, name)
	if err != nil {
		return wire.Status(err)
	}
	a := &appender{
		Server: s.Server, stream: stream, log: log,
		window: make(chan struct{}, appendWindow), results: make(chan *leatv1.AppendResult, appendWindow),
	}
	sent := make(chan error, 1)
	go func() { sent <- a.send() }()

	for r := first; ; {
		if err = a.begin(ctx, name, r); err != nil {
			break
		}
		select {
		case <-s.draining.Done():
			err = io.EOF
		case r = <-requests:
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

// received is what came of reading a stream.
type received struct {
	request *leatv1.AppendStreamRequest
	err     error
}

// receive reads a stream ahead by one message, so that its handler can wait for
// other things as well. It ends after an error, or when the handler has ended.
func (s *logService) receive(stream leatv1.Log_AppendStreamServer) <-chan received {
	requests := make(chan received)
	s.receivers.Go(func() {
		for {
			request, err := stream.Recv()
			select {
			case requests <- received{request, err}:
			case <-stream.Context().Done():
				return
			}
			if err != nil {
				return
			}
		}
	})
	return requests
}

// An appender carries out the appends of one stream.
type appender struct {
	*Server
	stream leatv1.Log_AppendStreamServer
	log    leat.Log

	window  chan struct{} // has an element for each append whose result is not sent
	working sync.WaitGroup
	results chan *leatv1.AppendResult
}

// begin begins the appends of a message, as the window lets it.
func (a *appender) begin(ctx context.Context, name string, r received) error {
	if other := r.request.GetLog(); other != "" && other != name {
		return wire.Status(&leat.InvalidError{Field: "log", Limit: "the same in all messages of a stream", Got: other})
	}
	for _, n := range r.request.GetAppends() {
		select {
		case a.window <- struct{}{}:
		case <-ctx.Done():
			return wire.Status(ctx.Err())
		}
		bytes := min(int64(proto.Size(n)), a.options.AppendBytes)
		if err := a.appends.Acquire(ctx, bytes); err != nil {
			return wire.Status(err)
		}
		a.working.Go(func() {
			defer a.appends.Release(bytes)
			a.results <- a.carryOut(ctx, n)
		})
	}
	return nil
}

// carryOut returns the result of one append.
func (a *appender) carryOut(ctx context.Context, n *leatv1.NumberedAppend) (result *leatv1.AppendResult) {
	result = &leatv1.AppendResult{Number: n.GetNumber()}
	fail := func(err error) {
		result.Outcome = &leatv1.AppendResult_Error{Error: wire.FromError(err)}
	}
	defer func() {
		if p := recover(); p != nil {
			_ = a.panicked(leatv1.Log_AppendStream_FullMethodName, p)
			fail(fmt.Errorf("%w: %w", leat.ErrUncertain, errInternal))
		}
	}()
	receipt, err := appendEvents(ctx, a.log, n.GetEvents(), n.GetConditions())
	if err != nil {
		fail(err)
		return result
	}
	result.Outcome = &leatv1.AppendResult_Receipt{Receipt: wire.FromReceipt(receipt)}
	return result
}

// send sends results, those that are ready in one message, until there will be
// no more. After an error it goes on to take them, so that nobody waits.
func (a *appender) send() error {
	err := a.stream.Send(&leatv1.AppendStreamResponse{Window: appendWindow})
	for result := range a.results {
		response := &leatv1.AppendStreamResponse{Results: []*leatv1.AppendResult{result}}
		for more := true; more && len(response.Results) < appendWindow; {
			select {
			case result, more = <-a.results:
				if more {
					response.Results = append(response.Results, result)
				}
			default:
				more = false
			}
		}
		if err == nil {
			err = a.stream.Send(response)
		}
		for range response.Results {
			<-a.window
		}
	}
	return err
}

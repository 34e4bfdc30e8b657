package client_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
	"github.com/leathq/leat/internal/wire"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
	"google.golang.org/grpc"
)

// A ledger is a server that writes down how appends arrive, and answers them
// when it has all it waits for.
type ledger struct {
	leatv1.UnimplementedLogServer
	appends int // to wait for

	mu       sync.Mutex
	messages int
	most     int // appends in one message
}

func (s *ledger) Info(context.Context, *leatv1.InfoRequest) (*leatv1.InfoResponse, error) {
	return &leatv1.InfoResponse{Limits: wire.FromLimits(leat.MinLimits)}, nil
}

func (s *ledger) Shards(context.Context, *leatv1.ShardsRequest) (*leatv1.ShardsResponse, error) {
	return &leatv1.ShardsResponse{Shards: wire.FromShards(leat.EvenShards(1))}, nil
}

func (s *ledger) AppendStream(stream leatv1.Log_AppendStreamServer) error {
	var results []*leatv1.AppendResult
	for len(results) < s.appends {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.messages++
		s.most = max(s.most, len(m.GetAppends()))
		s.mu.Unlock()
		for _, a := range m.GetAppends() {
			results = append(results, &leatv1.AppendResult{
				Number: a.GetNumber(), Outcome: &leatv1.AppendResult_Receipt{Receipt: &leatv1.Receipt{Versions: []uint64{a.GetNumber()}}},
			})
		}
	}
	return stream.Send(&leatv1.AppendStreamResponse{Results: results})
}

// dialFake returns a client of a server that somebody else wrote.
func dialFake(t *testing.T, s leatv1.LogServer, o client.Options) *client.Log {
	t.Helper()
	server := grpc.NewServer()
	leatv1.RegisterLogServer(server, s)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return dial(t, "leat://"+listener.Addr().String()+"/log", o)
}

// Appends do not wait for one another, and share messages.
func TestConcurrentAppendsRideTogether(t *testing.T) {
	const writers = 256
	s := &ledger{appends: writers}
	l := dialFake(t, s, client.Options{})

	var writing sync.WaitGroup
	start := make(chan struct{})
	for i := range writers {
		writing.Go(func() {
			<-start
			if _, err := l.Append(t.Context(), []leat.Event{event(fmt.Sprintf("s-%d", i), "x")}); err != nil {
				t.Error(err)
			}
		})
	}
	close(start)
	writing.Wait()
	t.Logf("%d appends in %d messages, at most %d in one", writers, s.messages, s.most)
	if s.messages > writers/2 {
		t.Errorf("%d appends took %d messages", writers, s.messages)
	}
}

// A stranger is a server that answers appends in its own way.
type stranger struct {
	ledger
	answer func(leatv1.Log_AppendStreamServer) error
}

func (s *stranger) AppendStream(stream leatv1.Log_AppendStreamServer) error { return s.answer(stream) }

func results(number, first uint64, versions ...uint64) *leatv1.AppendStreamResponse {
	return &leatv1.AppendStreamResponse{Results: []*leatv1.AppendResult{{
		Number: number, Outcome: &leatv1.AppendResult_Receipt{Receipt: &leatv1.Receipt{First: first, Last: first, Versions: versions}},
	}}}
}

// An answer that comes again, or to nothing, is not taken for that to another
// Append.
func TestAnswersThatComeAgain(t *testing.T) {
	l := dialFake(t, &stranger{answer: func(stream leatv1.Log_AppendStreamServer) error {
		var last *leatv1.AppendStreamResponse
		for n := uint64(1); ; n++ {
			m, err := stream.Recv()
			if err != nil {
				return err
			}
			if last != nil {
				err = stream.Send(last)
			}
			number := m.GetAppends()[0].GetNumber()
			last = results(number, n, n)
			if err := errors.Join(err, stream.Send(results(number+1, 100, 100)), stream.Send(results(math.MaxUint64, 100, 100)), stream.Send(last)); err != nil {
				return err
			}
		}
	}}, client.Options{})
	for n := range uint64(300) {
		r, err := l.Append(t.Context(), []leat.Event{event("a-1", "x")})
		if err != nil || r.First != n+1 {
			t.Fatalf("append %d was answered with %+v, %v", n+1, r, err)
		}
	}
}

// An answer that cannot be one to what was sent says nothing of it.
func TestAnswerToOtherEvents(t *testing.T) {
	l := dialFake(t, &stranger{answer: func(stream leatv1.Log_AppendStreamServer) error {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		return stream.Send(results(m.GetAppends()[0].GetNumber(), 1, 1))
	}}, client.Options{})
	if _, err := l.Append(t.Context(), []leat.Event{event("a-1", "x"), event("a-1", "y")}); !errors.Is(err, leat.ErrUncertain) {
		t.Errorf("got error %v, want one that is %v", err, leat.ErrUncertain)
	}
}

// A server that ends every stream in good order, and answers nothing, is one
// that cannot be reached.
func TestStreamsThatEndAtOnce(t *testing.T) {
	l := dialFake(t, &stranger{answer: func(stream leatv1.Log_AppendStreamServer) error {
		_, err := stream.Recv()
		return err
	}}, client.Options{Retry: -1})
	_, err := l.Append(t.Context(), []leat.Event{event("a-1", "x")})
	if !errors.Is(err, client.ErrUnreachable) || !errors.Is(err, leat.ErrUncertain) {
		t.Errorf("got error %v, want one that is %v and %v", err, client.ErrUnreachable, leat.ErrUncertain)
	}
}

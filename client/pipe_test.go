package client_test

import (
	"context"
	"fmt"
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

// Appends do not wait for one another, and share messages.
func TestConcurrentAppendsRideTogether(t *testing.T) {
	const writers = 256
	server, s := grpc.NewServer(), &ledger{appends: writers}
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
	l := dial(t, "leat://"+listener.Addr().String()+"/log", client.Options{})

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

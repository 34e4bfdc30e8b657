package client_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
	"github.com/leathq/leat/internal/wire"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A forgetter is a server that loses the first Append, and when that comes again
// with another of the same events, records the second and answers the first
// before it.
type forgetter struct {
	ledger
	lost    chan struct{}
	streams atomic.Int64
}

func (s *forgetter) AppendStream(stream leatv1.Log_AppendStreamServer) error {
	var numbers []uint64
	for first := s.streams.Add(1) == 1; len(numbers) < 2; {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if first {
			close(s.lost)
			return status.Error(codes.Unavailable, "lost")
		}
		for _, a := range m.GetAppends() {
			numbers = append(numbers, a.GetNumber())
		}
	}
	for i, number := range numbers {
		r := leat.Receipt{Shard: leat.ShardNumber(0), First: 1, Last: 1, Versions: []uint64{1}, Duplicate: i == 0}
		if err := stream.Send(&leatv1.AppendStreamResponse{Results: []*leatv1.AppendResult{
			{Number: number, Outcome: &leatv1.AppendResult_Receipt{Receipt: wire.FromReceipt(r)}},
		}}); err != nil {
			return err
		}
	}
	<-stream.Context().Done()
	return nil
}

// Of two that append the same events, one is told that it recorded them, also
// when the one that did not is answered first and was sent before.
func TestLostAppendBesideTheSame(t *testing.T) {
	s := &forgetter{lost: make(chan struct{})}
	l := dialFake(t, s, client.Options{})
	first := l.Submit(context.Background(), []leat.Event{event("a-1", "x")})
	<-s.lost
	second := l.Submit(context.Background(), []leat.Event{event("a-1", "x")})
	recorded := 0
	for _, p := range []leat.Pending{first, second} {
		r, err := p.Wait()
		if err != nil {
			t.Fatal(err)
		}
		if !r.Duplicate {
			recorded++
		}
	}
	if recorded != 1 {
		t.Errorf("%d were told that they recorded the event, want 1", recorded)
	}
}

package client_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
)

// answerAll answers every append of a stream.
func answerAll(stream leatv1.Log_AppendStreamServer, seen func(*leatv1.NumberedAppend)) error {
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, a := range m.GetAppends() {
			seen(a)
			if err := stream.Send(results(a.GetNumber(), a.GetNumber(), 1)); err != nil {
				return err
			}
		}
	}
}

// A server that answers what nobody understands, and does not read what is being
// sent, does not hold up Appends: they are sent again.
func TestAnswerThatCannotBeDecoded(t *testing.T) {
	var streams atomic.Int32
	l := dialFake(t, &stranger{answer: func(stream leatv1.Log_AppendStreamServer) error {
		if streams.Add(1) > 1 {
			return answerAll(stream, func(*leatv1.NumberedAppend) {})
		}
		if _, err := stream.Recv(); err != nil {
			return err
		}
		if err := stream.SendMsg(&leatv1.AppendRequest{Log: "this is no result"}); err != nil {
			return err
		}
		<-stream.Context().Done()
		return stream.Context().Err()
	}}, client.Options{})
	large := event("a-1", "")
	large.Data = make([]byte, 200<<10) // a few are more than the connection takes at once
	var all []leat.Pending
	for i := range 100 {
		e := large
		e.ID = fmt.Sprint(i)
		all = append(all, l.Submit(t.Context(), []leat.Event{e}))
	}
	for i, p := range all {
		if _, err := p.Wait(); err != nil {
			t.Fatalf("append %d: %v", i, err)
		}
	}
}

// Of many Appends that wait for a server, those that are given up are not sent,
// and the others once each, in the order in which they came.
func TestAppendsThatAreGivenUp(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	var mu sync.Mutex
	var sent []string
	begun, open := make(chan struct{}, 1), make(chan struct{})
	l := dialFake(t, &stranger{answer: func(stream leatv1.Log_AppendStreamServer) error {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		begun <- struct{}{}
		<-open
		if err := stream.Send(results(m.GetAppends()[0].GetNumber(), 1, 1)); err != nil {
			return err
		}
		return answerAll(stream, func(a *leatv1.NumberedAppend) {
			mu.Lock()
			defer mu.Unlock()
			sent = append(sent, a.GetEvents()[0].GetId())
		})
	}}, client.Options{})

	first := l.Submit(t.Context(), []leat.Event{event("a-1", "first")})
	<-begun
	// More than the window, which is 256 before the server says another: what
	// comes after that waits to be sent.
	filler := make([]leat.Pending, 255)
	for i := range filler {
		filler[i] = l.Submit(t.Context(), []leat.Event{event("a-1", fmt.Sprint("filler-", i))})
	}
	type waiting struct {
		pending leat.Pending
		cancel  context.CancelFunc
		id      string
		given   bool
	}
	all := make([]*waiting, 20_000)
	for i := range all {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		id := fmt.Sprint(i)
		all[i] = &waiting{l.Submit(ctx, []leat.Event{event("a-1", id)}), cancel, id, rng.IntN(4) > 0}
	}
	var want []string
	for i := range filler {
		want = append(want, fmt.Sprint("filler-", i))
	}
	for _, i := range rng.Perm(len(all)) {
		w := all[i]
		if !w.given {
			continue
		}
		w.cancel()
		if _, err := w.pending.Wait(); !errors.Is(err, context.Canceled) || errors.Is(err, leat.ErrUncertain) {
			t.Fatalf("append %s was given up: %v, want only %v", w.id, err, context.Canceled)
		}
	}
	close(open)
	if _, err := first.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, p := range filler {
		if _, err := p.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range all {
		if w.given {
			continue
		}
		want = append(want, w.id)
		if _, err := w.pending.Wait(); err != nil {
			t.Fatalf("append %s: %v", w.id, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if got := fmt.Sprint(sent); got != fmt.Sprint(want) {
		t.Errorf("%d appends were sent, want %d in the order in which they came", len(sent), len(want))
	}
}

package rpc_test

import (
	"errors"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/wire"
	"github.com/leathq/leat/leattest"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
	"github.com/leathq/leat/server/rpc"
	"google.golang.org/grpc"
)

// appendStream opens a stream on which anything can be sent.
func appendStream(t testing.TB) (leat.Log, leatv1.Log_AppendStreamClient) {
	t.Helper()
	log, err := leattest.New(leat.Config{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := openDoor(t, rpc.One("log", log, nil), rpc.Options{}).raw(t).AppendStream(t.Context(), grpc.ForceCodecV2(wire.Codec))
	if err != nil {
		t.Fatal(err)
	}
	return log, stream
}

// message returns appends with the numbers 1, 2, 3 …
func message(appends ...[]leat.Event) []byte {
	b := wire.EncodeLog(nil, "log")
	for i, events := range appends {
		b = wire.Number(b, uint64(i+1), wire.EncodeAppend(nil, events, nil))
	}
	return b
}

func send(t testing.TB, stream leatv1.Log_AppendStreamClient, message []byte) {
	t.Helper()
	m := wire.NewOutgoing(len(message))
	*m.Bytes = append(*m.Bytes, message...)
	if err := stream.SendMsg(&m); err != nil {
		t.Fatal(err)
	}
}

// results reads so many results, and returns them by number.
func results(t testing.TB, stream leatv1.Log_AppendStreamClient, n int) map[uint64]*leatv1.AppendResult {
	t.Helper()
	all := make(map[uint64]*leatv1.AppendResult)
	for len(all) < n {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range m.GetResults() {
			all[r.GetNumber()] = r
		}
	}
	return all
}

// An append that is refused does not hold up those beside it.
func TestAppendsOfOneMessageAreIndependent(t *testing.T) {
	log, stream := appendStream(t)
	good, late := []leat.Event{event("a-1", "x")}, []leat.Event{event("b-1", "y")}
	var attrs leat.Meta
	for range leat.MaxMeta + 1 {
		attrs = append(attrs, leat.Attr{Key: "k", Value: "v"})
	}
	odd := event("a-1", "z")
	odd.Meta = attrs
	noUTF8 := event("a-1", "z")
	noUTF8.Type = "\xff"
	send(t, stream, message(good, []leat.Event{event("a-1", "")}, make([]leat.Event, 10_001), []leat.Event{odd}, nil, []leat.Event{noUTF8}, late))
	got := results(t, stream, 7)
	for number, field := range map[uint64]string{2: "events[0].id", 3: "events", 4: "events[0].meta", 5: "events", 6: "events[0].type"} {
		if f := got[number].GetError().GetInvalid().GetField(); f != field {
			t.Errorf("append %d: got error %v, want one that names %s", number, got[number].GetError(), field)
		}
	}
	for _, number := range []uint64{1, 7} {
		if got[number].GetReceipt() == nil {
			t.Errorf("append %d: %v", number, got[number].GetError())
		}
	}
	n := 0
	for _, err := range leat.Read(t.Context(), log, leat.Filter{}, leat.Checkpoint{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d events were recorded, want 2", n)
	}
}

// What cannot be decoded ends the stream, and what came before it is answered.
func TestMessagesThatAreNone(t *testing.T) {
	whole := message([]leat.Event{event("a-1", "x")})
	for name, bad := range map[string][]byte{
		"nothing like it":             {0xff},
		"an append that is cut":       whole[:len(whole)-1],
		"an append that is no append": append(wire.EncodeLog(nil, "log"), 0x12, 0x01, 0xff),
		"an event that is none":       append(wire.EncodeLog(nil, "log"), 0x12, 0x03, 0x12, 0x01, 0xff),
	} {
		t.Run(name, func(t *testing.T) {
			_, stream := appendStream(t)
			send(t, stream, whole)
			if got := results(t, stream, 1); got[1].GetReceipt() == nil {
				t.Errorf("the append before: %v", got[1].GetError())
			}
			send(t, stream, bad)
			_, err := stream.Recv()
			var invalid *leat.InvalidError
			if !errors.As(wire.FromStatus(err), &invalid) || invalid.Field != "message" {
				t.Errorf("got error %v, want one that names the message", err)
			}
			_, first := appendStream(t)
			send(t, first, bad)
			for err = nil; err == nil; {
				_, err = first.Recv()
			}
			if wire.FromStatus(err) == nil {
				t.Errorf("as the first message: got error %v, want one of the server", err)
			}
		})
	}
}

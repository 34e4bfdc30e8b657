package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
	"github.com/leathq/leat/internal/wire"
	"github.com/leathq/leat/leattest"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
	"github.com/leathq/leat/server/rpc"
	"google.golang.org/grpc"
)

// patience is how long these tests wait for what does not come.
const patience = time.Minute

func newDoor(t testing.TB) *door {
	t.Helper()
	log, err := leattest.New(leat.Config{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return openDoor(t, rpc.One("log", log, nil), rpc.Options{AppendBytes: 1})
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never was that %s", what)
		}
	}
}

// Nothing is left of a stream whose client has gone.
func TestClientsThatGo(t *testing.T) {
	d := newDoor(t)
	raw := d.raw(t)
	for range 64 {
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := raw.AppendStream(ctx)
		if err == nil {
			err = stream.Send(&leatv1.AppendStreamRequest{Log: "log"})
		}
		if err == nil {
			_, err = stream.Recv() // the window: the server is at it
		}
		cancel()
		if err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the server let go of all streams", func() bool {
		var all bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&all, 2); err != nil {
			t.Fatal(err)
		}
		return !strings.Contains(all.String(), "rpc.(*logService).AppendStream")
	})
}

// A client that does not read what it is answered takes nothing from others.
func TestClientThatDoesNotRead(t *testing.T) {
	d := newDoor(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := d.raw(t).AppendStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	twice := event("a-"+strings.Repeat("s", 250), strings.Repeat("i", 250)) // so that the answer is long
	twice.Data = make([]byte, 45<<10)
	for n := range uint64(750) { // 66 MiB, of which the server takes 40
		err := stream.Send(&leatv1.AppendStreamRequest{Log: "log", Appends: []*leatv1.NumberedAppend{
			{Number: n, Events: wire.FromEvents([]leat.Event{twice, twice})},
		}})
		if err != nil {
			t.Fatalf("append %d: %v", n, err)
		}
	}
	if _, err := d.client(t, client.Options{}).Append(ctx, []leat.Event{event("a-1", "x")}); err != nil {
		t.Error(err)
	}
}

// A stream keeps nothing of the appends that it has answered.
func TestAnsweredAppendsTakeNoMemory(t *testing.T) {
	d := newDoor(t)
	stream, err := d.raw(t).AppendStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	const appends, size = 32, 1 << 20
	for n := range uint64(appends) {
		e := event("a-1", leat.NewID()) // too large for the log, which tells so
		e.Data, e.Meta = make([]byte, size), leat.NewMeta("k", "v")
		err := stream.Send(&leatv1.AppendStreamRequest{Log: "log", Appends: []*leatv1.NumberedAppend{{Number: n, Events: wire.FromEvents([]leat.Event{e})}}})
		if err != nil {
			t.Fatal(err)
		}
		for answered := false; !answered; {
			m, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			answered = len(m.GetResults()) > 0
		}
	}
	eventually(t, "the memory of most appends was free", func() bool { return heap() < before+appends*size/4 })
}

// A message that names another log records nothing, wherever the name stands.
func TestMessageForAnotherLog(t *testing.T) {
	d := newDoor(t)
	stream, err := d.raw(t).AppendStream(t.Context(), grpc.ForceCodecV2(wire.Codec))
	if err != nil {
		t.Fatal(err)
	}
	first, second := wire.NewOutgoing(0), wire.NewOutgoing(0)
	*first.Bytes = wire.EncodeLog(*first.Bytes, "log")
	for n := range uint64(200) {
		*second.Bytes = wire.Number(*second.Bytes, n, wire.EncodeAppend(nil, []leat.Event{event("a-1", leat.NewID())}, nil))
	}
	*second.Bytes = wire.EncodeLog(*second.Bytes, "other")
	for _, m := range []*wire.Outgoing{&first, &second} {
		if err := stream.SendMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	for err = nil; err == nil; {
		err = stream.RecvMsg(new(wire.Incoming))
	}
	if !errors.Is(wire.FromStatus(err), leat.ErrInvalid) {
		t.Errorf("the stream ended with %v, want an error that is %v", err, leat.ErrInvalid)
	}
	for e, err := range d.client(t, client.Options{}).ReadStream(t.Context(), "a-1", leat.Range{}) {
		t.Fatalf("%v was recorded (%v)", e, err)
	}
}

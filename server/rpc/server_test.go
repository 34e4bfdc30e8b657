package rpc_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
	"github.com/leathq/leat/internal/wire"
	"github.com/leathq/leat/leattest"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
	"github.com/leathq/leat/server/rpc"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A gate is a log whose Append waits, and which panics when it is told to.
type gate struct {
	leat.Log
	entered chan struct{} // gets one for each Append that waits
	open    chan struct{} // lets them go on
	panics  bool
}

func newGate(t testing.TB) *gate {
	t.Helper()
	log, err := leattest.New(leat.Config{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &gate{Log: log, entered: make(chan struct{}, 100), open: make(chan struct{})}
}

func (g *gate) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	if g.panics {
		panic("the log is on fire")
	}
	g.entered <- struct{}{}
	select {
	case <-g.open:
		return g.Log.Append(ctx, events, conds...)
	case <-ctx.Done():
		return leat.Receipt{}, ctx.Err()
	}
}

// appending begins an Append, waits until it is at the gate, and returns where
// its error will come.
func (g *gate) appending(t testing.TB, l leat.Log) <-chan error {
	t.Helper()
	appended := make(chan error, 1)
	go func() {
		_, err := l.Append(t.Context(), []leat.Event{event("a-1", "x")})
		appended <- err
	}()
	<-g.entered
	return appended
}

func (g *gate) ReadStream(ctx context.Context, stream string, r leat.Range) iter.Seq2[leat.Recorded, error] {
	if g.panics {
		panic("the log is on fire")
	}
	return g.Log.ReadStream(ctx, stream, r)
}

// A door is a server on loopback.
type door struct {
	*rpc.Server
	address string
	served  chan error
}

func openDoor(t testing.TB, logs rpc.Logs, o rpc.Options) *door {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{rpc.New(logs, o), listener.Addr().String(), make(chan error, 1)}
	go func() { d.served <- d.Serve(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = d.Shutdown(ctx)
		if err := <-d.served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return d
}

func (d *door) client(t testing.TB, o client.Options) *client.Log {
	t.Helper()
	l, err := client.Dial(t.Context(), "leat://"+d.address+"/log", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// raw returns a client that is not polite.
func (d *door) raw(t testing.TB) leatv1.LogClient {
	t.Helper()
	c, err := grpc.NewClient("passthrough:///"+d.address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(1<<30), grpc.MaxCallRecvMsgSize(1<<30)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return leatv1.NewLogClient(c)
}

func event(stream, id string) leat.Event {
	return leat.Event{ID: id, Stream: stream, Type: "Tested", Source: "rpc", Data: []byte("data of " + id)}
}

func TestDrain(t *testing.T) {
	g := newGate(t)
	d := openDoor(t, rpc.One("log", g, nil), rpc.Options{})
	l := d.client(t, client.Options{Retry: -1})
	appended := g.appending(t, l)
	poll, err := d.raw(t).ReadShard(t.Context(), &leatv1.ReadShardRequest{
		Log: "log", Shard: string(leat.ShardNumber(0)), WaitMs: 60_000,
	})
	if err != nil {
		t.Fatal(err)
	}

	shut := make(chan error, 1)
	go func() { shut <- d.Shutdown(t.Context()) }()
	m, err := poll.Recv()
	if err != nil || m.GetEnd() == nil || m.GetEnd().GetNext() != 0 || len(m.GetEvents()) != 0 {
		t.Fatalf("the long poll ended with %v, %v, want an empty batch", m, err)
	}
	select {
	case err := <-shut:
		t.Fatalf("shut down (%v) while an append is at work", err)
	case err := <-appended:
		t.Fatalf("the append ended early: %v", err)
	default:
	}
	close(g.open)
	if err := <-appended; err != nil {
		t.Errorf("append: %v", err)
	}
	if err := <-shut; err != nil {
		t.Errorf("shut down: %v", err)
	}
	if _, err := l.Shards(t.Context()); !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("after the shutdown: got error %v, want one that is %v", err, client.ErrUnreachable)
	}
}

func TestShutdownDoesNotWaitForEver(t *testing.T) {
	g := newGate(t)
	d := openDoor(t, rpc.One("log", g, nil), rpc.Options{})
	l := d.client(t, client.Options{Retry: -1})
	appended := g.appending(t, l)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("shut down: got error %v, want one that is %v", err, context.Canceled)
	}
	if err := <-appended; !errors.Is(err, leat.ErrUncertain) {
		t.Errorf("append: got error %v, want one that is %v", err, leat.ErrUncertain)
	}
}

// A panic fails its call and no other.
func TestPanics(t *testing.T) {
	g := newGate(t)
	g.panics = true
	var told safeBuilder
	d := openDoor(t, rpc.One("log", g, nil), rpc.Options{Logger: told.logger()})
	l := d.client(t, client.Options{})
	if _, err := l.Append(t.Context(), []leat.Event{event("a-1", "x")}); !errors.Is(err, leat.ErrUncertain) {
		t.Errorf("pipelined append: got error %v, want one that is %v", err, leat.ErrUncertain)
	}
	if n := strings.Count(told.String(), "on fire"); n != 1 {
		t.Errorf("the operator was told %d times, want once: %s", n, told.String())
	}
	_, err := d.raw(t).Append(t.Context(), &leatv1.AppendRequest{Log: "log", Events: wire.FromEvents([]leat.Event{event("a-1", "x")})})
	if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "fire") {
		t.Errorf("append: got error %v, want an internal one that tells nothing", err)
	}
	for _, err := range l.ReadStream(t.Context(), "a-1", leat.Range{}) {
		if err == nil || !strings.Contains(err.Error(), "internal") {
			t.Errorf("read stream: got error %v, want an internal one", err)
		}
	}
	if _, err := l.Shards(t.Context()); err != nil {
		t.Errorf("shards: %v", err)
	}
}

// Clients that nobody tested are told what is wrong.
func TestImpoliteClients(t *testing.T) {
	g := newGate(t)
	close(g.open)
	d := openDoor(t, rpc.One("log", g, nil), rpc.Options{})
	raw := d.raw(t)
	_, err := raw.Append(t.Context(), &leatv1.AppendRequest{Log: "log", Events: []*leatv1.Event{{Stream: "a-1", Type: "T", Source: "s"}}})
	var invalid *leat.InvalidError
	if !errors.As(wire.FromStatus(err), &invalid) || invalid.Field != "events[0].id" {
		t.Errorf("without an ID: got error %v, want one that names events[0].id", err)
	}
	_, err = raw.Append(t.Context(), &leatv1.AppendRequest{Log: "log"})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("without events: got error %v, want an invalid argument", err)
	}
	_, err = raw.Append(t.Context(), &leatv1.AppendRequest{Log: "log", Events: []*leatv1.Event{{Id: "x", Data: make([]byte, 41<<20)}}})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message of 41 MiB: got error %.200v, want that it is too large", err)
	}
	_, err = raw.Shards(t.Context(), &leatv1.ShardsRequest{Log: "other"})
	if !errors.Is(wire.FromStatus(err), leat.ErrNotFound) {
		t.Errorf("another log: got error %v, want one that is %v", err, leat.ErrNotFound)
	}
	_, err = raw.Split(t.Context(), &leatv1.SplitRequest{Log: "log", At: []byte("short")})
	if !errors.Is(wire.FromStatus(err), leat.ErrUnsupported) {
		t.Errorf("split what cannot be split: got error %v, want one that is %v", err, leat.ErrUnsupported)
	}
	stream, err := raw.AppendStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"log", "other"} {
		if err := stream.Send(&leatv1.AppendStreamRequest{Log: name}); err != nil {
			t.Fatal(err)
		}
	}
	for err = nil; err == nil; {
		_, err = stream.Recv()
	}
	if !errors.Is(wire.FromStatus(err), leat.ErrInvalid) {
		t.Errorf("two logs on one stream: got error %v, want one that is %v", err, leat.ErrInvalid)
	}
}

// large returns a log with a stream "a-1" of 80 events, 16 MiB together.
func large(t testing.TB) leat.Log {
	t.Helper()
	log, err := leattest.New(leat.Config{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		e := event("a-1", "")
		e.Data = make([]byte, 200<<10)
		if _, err := log.Append(t.Context(), []leat.Event{e, e, e, e}); err != nil {
			t.Fatal(err)
		}
	}
	return log
}

// Who takes long over each event is cut off, and notices nothing.
func TestReaderThatTakesLong(t *testing.T) {
	for name, r := range map[string]leat.Range{
		"forward":          {},
		"a part":           {After: 2, Through: 79},
		"backward":         leat.Range{}.Reverse(),
		"a part, backward": leat.Range{After: 2, Through: 79}.Reverse(),
	} {
		t.Run(name, func(t *testing.T) {
			var told safeBuilder
			log := large(t)
			d := openDoor(t, rpc.One("log", log, nil), rpc.Options{SendTimeout: 50 * time.Millisecond, Logger: told.logger()})
			var want, got []uint64
			for e := range log.ReadStream(t.Context(), "a-1", r) {
				want = append(want, e.Version)
			}
			for e, err := range d.client(t, client.Options{}).ReadStream(t.Context(), "a-1", r) {
				if err != nil {
					t.Fatal(err)
				}
				if len(got) == 0 {
					told.await(t, "does not read")
				}
				got = append(got, e.Version)
			}
			if !slices.Equal(got, want) {
				t.Errorf("got versions %v, want %v", got, want)
			}
		})
	}
}

// A reader that does not read is cut off, and others are served meanwhile.
func TestReaderThatDoesNotRead(t *testing.T) {
	log := large(t)
	var told safeBuilder
	d := openDoor(t, rpc.One("log", log, nil), rpc.Options{SendTimeout: 100 * time.Millisecond, ReadBytes: 1, Logger: told.logger()})
	stream, err := d.raw(t).ReadShard(t.Context(), &leatv1.ReadShardRequest{Log: "log", Shard: string(leat.ShardNumber(0))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil { // it is being served now, before the other
		t.Fatal(err)
	}
	l := d.client(t, client.Options{})
	b, err := l.ReadShard(t.Context(), leat.ShardNumber(0), 0, leat.ReadOptions{})
	if err != nil || len(b.Events) == 0 {
		t.Fatalf("another reader got %d events, %v", len(b.Events), err)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	if errors.Is(err, io.EOF) || status.Code(err) != codes.Unavailable {
		t.Errorf("the reader ended with %v, want that it was cut off", err)
	}
	if !strings.Contains(told.String(), "does not read") {
		t.Errorf("the operator was told %q", told.String())
	}
}

// More appends than the window are all answered.
func TestMoreThanTheWindow(t *testing.T) {
	g := newGate(t)
	close(g.open)
	g.entered = make(chan struct{}, 5000)
	d := openDoor(t, rpc.One("log", g, nil), rpc.Options{})
	stream, err := d.raw(t).AppendStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const total = 5000
	var sending sync.WaitGroup
	sending.Go(func() {
		m := &leatv1.AppendStreamRequest{Log: "log"}
		for n := range uint64(total) {
			m.Appends = append(m.Appends, &leatv1.NumberedAppend{
				Number: n, Events: wire.FromEvents([]leat.Event{event("a-1", leat.NewID())}),
			})
		}
		if err := errors.Join(stream.Send(m), stream.CloseSend()); err != nil {
			t.Error(err)
		}
	})
	answered := make(map[uint64]bool)
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range m.GetResults() {
			if r.GetReceipt() == nil {
				t.Fatalf("append %d: %v", r.GetNumber(), r.GetError())
			}
			answered[r.GetNumber()] = true
		}
	}
	sending.Wait()
	if len(answered) != total {
		t.Errorf("%d of %d appends were answered", len(answered), total)
	}
}

package client_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
	"github.com/leathq/leat/internal/wire"
	"github.com/leathq/leat/leattest"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// BenchmarkAppend appends 256-byte events from 256 callers to the engine: in
// process, with a unary call each, and through the client's pipeline. The disk
// is the machine's, so only the ratios say something.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1, 100} {
		b.Run(fmt.Sprintf("in process/%d", size), func(b *testing.B) {
			log := create(b, leattest.Setup{})
			appendFromMany(b, size, func(events []leat.Event) error {
				_, err := log.Append(b.Context(), events)
				return err
			})
		})
		b.Run(fmt.Sprintf("unary/%d", size), func(b *testing.B) {
			s := serve(b, create(b, leattest.Setup{}), nil)
			c, err := grpc.NewClient("passthrough:///"+s.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = c.Close() })
			appendFromMany(b, size, func(events []leat.Event) error {
				_, err := leatv1.NewLogClient(c).Append(b.Context(), &leatv1.AppendRequest{Log: "log", Events: wire.FromEvents(events)})
				return err
			})
		})
		b.Run(fmt.Sprintf("pipelined/%d", size), func(b *testing.B) {
			l := dial(b, serve(b, create(b, leattest.Setup{}), nil).url, client.Options{})
			appendFromMany(b, size, func(events []leat.Event) error {
				_, err := l.Append(b.Context(), events)
				return err
			})
		})
	}
}

// BenchmarkAppendOne appends one event after the other.
func BenchmarkAppendOne(b *testing.B) {
	log := create(b, leattest.Setup{})
	for name, l := range map[string]leat.Log{"in process": log, "client": dial(b, serve(b, log, nil).url, client.Options{})} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := l.Append(b.Context(), []leat.Event{event("s-1", leat.NewID())}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// appendFromMany appends b.N times size events from 256 callers.
func appendFromMany(b *testing.B, size int, appendEvents func([]leat.Event) error) {
	b.Helper()
	data := []byte(strings.Repeat("x", 256))
	var callers atomic.Int64
	b.SetParallelism(128)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		stream := fmt.Sprintf("s-%d", callers.Add(1))
		for pb.Next() {
			events := make([]leat.Event, size)
			for i := range events {
				events[i] = leat.Event{ID: leat.NewID(), Stream: stream, Type: "Tested", Source: "bench", Data: data}
			}
			if err := appendEvents(events); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkRead reads 100,000 events of 256 bytes, in process and through the
// client.
func BenchmarkRead(b *testing.B) {
	const total = 100_000
	log := create(b, leattest.Setup{})
	data := []byte(strings.Repeat("x", 256))
	for range total / 1000 {
		events := make([]leat.Event, 1000)
		for i := range events {
			events[i] = leat.Event{Stream: "s-1", Type: "Tested", Source: "bench", Data: data}
		}
		if _, err := log.Append(b.Context(), events); err != nil {
			b.Fatal(err)
		}
	}
	for name, l := range map[string]leat.Log{"in process": log, "client": dial(b, serve(b, log, nil).url, client.Options{})} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				n := 0
				for _, err := range leat.Read(b.Context(), l, leat.Filter{}, leat.Checkpoint{}) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n != total {
					b.Fatalf("read %d events, want %d", n, total)
				}
			}
			b.ReportMetric(float64(total)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

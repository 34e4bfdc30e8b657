package bench_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/internal/bench"
)

// A closedStore takes no segments until it is opened.
type closedStore struct {
	archive.Store
	opened chan struct{}
}

func (s *closedStore) Create(ctx context.Context, name string, data []byte) error {
	if strings.Contains(name, "/segments/") {
		select {
		case <-s.opened:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.Store.Create(ctx, name, data)
}

// newArchiver returns an archiver of a log and the store that it writes to, which is
// closed.
func newArchiver(t *testing.T, log leat.Log) (*archive.Archiver, *closedStore) {
	t.Helper()
	dir := t.TempDir()
	files, err := archive.OpenStore("file://" + filepath.Join(dir, "archive"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := archive.LoadKey(filepath.Join(dir, "key"))
	if err != nil {
		t.Fatal(err)
	}
	store := &closedStore{files, make(chan struct{})}
	a, err := archive.NewArchiver(log, store, archive.Config{Key: key, SegmentBytes: 10 << 10, MaxAge: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return a, store
}

// Producers that append beside an archiver wait while it is too far behind, and go
// on when it is not: everything is appended, and archived.
func TestAppendBeside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most, events = 300, 3000
		log := newLog(t, 2)
		gated := bench.Gate(log, most)
		w := workload()
		w.Rate = 1000
		p := bench.NewProducers(w, gated)
		if f, err := p.Run(t.Context(), 70, 0); err != nil || f.Events != 70 {
			t.Fatalf("before there is an archiver: %+v, %v; want 70 events", f, err)
		}
		a, store := newArchiver(t, log)
		var b *bench.Beside
		ended := make(chan error, 1)
		go func() {
			var err error
			b, err = bench.AppendBeside(t.Context(), p, events, a, gated)
			ended <- err
		}()
		time.Sleep(time.Minute)
		synctest.Wait()
		head, err := leat.Start(t.Context(), log, leat.Now)
		if err != nil {
			t.Fatal(err)
		}
		var appended uint64
		for _, seq := range head.Seqs {
			appended += seq
		}
		if appended <= most || appended > most+200 {
			t.Errorf("while nothing is archived, %d events are appended, want a little more than %d", appended, most)
		}
		close(store.opened)
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if s, err := a.Status(t.Context()); err != nil || s.Events != 70+events || b.Appended.Events != events || b.Behind > s.Events {
			t.Errorf("%d events are archived, %v; %+v", s.Events, err, b)
		}
		if n := len(recorded(t, log)); n != 70+events {
			t.Errorf("%d events are recorded, want %d", n, 70+events)
		}
	})
}

// Who waits at the gate goes when its context ends.
func TestGateIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, 1)
		a, _ := newArchiver(t, log)
		w := workload()
		w.Rate = 1000
		gated := bench.Gate(log, 10)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := bench.AppendBeside(ctx, bench.NewProducers(w, gated), 1000, a, gated); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the end of the context", err)
		}
		if _, err := gated.Append(t.Context(), []leat.Event{{Stream: "a-1", Type: "Tested", Source: "bench", Data: []byte("{}")}}); err != nil {
			t.Errorf("append after that: %v, want the gate open", err)
		}
	})
}

package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/engine"
	"github.com/leathq/leat/examples/shop/web"
	"github.com/leathq/leat/server"
	"github.com/leathq/leat/server/local"
)

const (
	storeMemory  = 192 << 20 // softMemory of the store, which has much outside of Go's heap
	storeCache   = 16 << 20
	segmentBytes = 8 << 20 // an archiver keeps about this much of each shard in memory
)

// storeRole serves logs. The main process makes the one of the shop.
func storeRole(f *flag.FlagSet) func(context.Context, *slog.Logger) error {
	data := f.String("data", "", "`DIR` of the store")
	grpc := f.String("grpc", "", "`ADDRESS` for services")
	http := f.String("http", "", "`ADDRESS` for people")
	return func(ctx context.Context, logger *slog.Logger) error {
		if err := required(f, "data", "grpc", "http"); err != nil {
			return err
		}
		debug.SetMemoryLimit(storeMemory)
		s, err := server.New(server.Config{
			Dir: *data, GRPC: *grpc, HTTP: *http, Drain: roleDrain, Logger: logger,
			Engine: local.Engine{Options: engine.Options{CacheBytes: storeCache, Logger: logger}},
		})
		if err != nil {
			return err
		}
		return s.Run(ctx)
	}
}

// A flushRequest asks an archiver to archive what it has not, up to a place.
type flushRequest struct {
	To leat.Checkpoint `json:"to"`
}

// An archiveStatus says how far the archive is. See archive.Status.
type archiveStatus struct {
	Archived   leat.Checkpoint `json:"archived"`
	Segments   uint64          `json:"segments"`
	Bytes      int64           `json:"bytes"`
	EventBytes int64           `json:"eventBytes"`
	Lag        uint64          `json:"lag"`
	Error      string          `json:"error,omitempty"`
}

// archiveRole copies the log to an archive.
func archiveRole(f *flag.FlagSet) func(context.Context, *slog.Logger) error {
	url := f.String("log", "", "`URL` of the log")
	to := f.String("store", "", "`URL` of the archive")
	keyFile := f.String("key", "", "`FILE` of the key that signs the archive; made if it is not there")
	listen := f.String("listen", "", "`ADDRESS` to serve HTTP on")
	return func(ctx context.Context, logger *slog.Logger) error {
		if err := required(f, "log", "store", "key", "listen"); err != nil {
			return err
		}
		log, err := dial(ctx, *url)
		if err != nil {
			return err
		}
		defer log.Close()
		store, err := archive.OpenStore(*to)
		if err != nil {
			return err
		}
		key, err := archive.LoadKey(*keyFile)
		if err != nil {
			return err
		}
		a, err := archive.NewArchiver(log, store, archive.Config{Key: key, SegmentBytes: segmentBytes})
		if err != nil {
			return err
		}
		return together(ctx, a.Run, func(ctx context.Context) error {
			return web.Serve(ctx, *listen, archiveAPI(a, logger), web.ReadTimeout, logger)
		})
	}
}

func archiveAPI(a *archive.Archiver, logger *slog.Logger) http.Handler {
	m := web.NewMux(logger)
	m.Handle("GET /archive/-/status", func(w http.ResponseWriter, r *http.Request) error {
		s, err := a.Status(r.Context())
		if err != nil {
			return err
		}
		status := archiveStatus{Archived: s.Archived, Segments: s.Segments, Bytes: s.Bytes, EventBytes: s.EventBytes, Lag: s.Lag}
		if s.Err != nil {
			status.Error = s.Err.Error()
		}
		return web.Answer(w, http.StatusOK, status)
	})
	m.Handle("POST /archive/-/flush", func(w http.ResponseWriter, r *http.Request) error {
		var in flushRequest
		if err := web.Decode(w, r, &in); err != nil {
			return err
		}
		if err := a.Flush(r.Context(), in.To); err != nil {
			return fmt.Errorf("flush the archive: %w", err)
		}
		return web.Answer(w, http.StatusOK, in)
	})
	return m
}

// together runs all until ctx ends or one of them does, and returns the first
// error when all have ended.
func together(ctx context.Context, all ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	var once sync.Once
	var failed error
	for _, run := range all {
		group.Go(func() {
			defer cancel()
			if err := run(ctx); err != nil {
				once.Do(func() { failed = err })
			}
		})
	}
	group.Wait()
	return failed
}

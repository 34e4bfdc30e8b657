package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
	"github.com/leathq/leat/engine"
	"github.com/leathq/leat/server"
	"github.com/leathq/leat/server/local"
)

var leatOptions = engine.Options{CacheBytes: cacheMiB << 20}

// A leatStore is a Leat log with one shard, whose order is total like that of
// the others.
type leatStore struct {
	leat.Log
	closers
}

// An embeddedLeat is a log in this process.
type embeddedLeat struct {
	leatStore
	engine *engine.Log
}

func openLeat(_ context.Context, dir string) (store, error) {
	l, err := engine.Create(dir+"/log", leat.Config{}, leatOptions)
	if err != nil {
		return nil, err
	}
	s := &embeddedLeat{leatStore{Log: l}, l}
	s.add(l.Close)
	return s, nil
}

// openLeatServer starts a server in another process, as the others have one.
func openLeatServer(ctx context.Context, dir string) (_ store, err error) {
	s := &leatStore{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	p, address, err := startSelf(ctx, "leat", dir)
	if err != nil {
		return nil, err
	}
	s.add(p.stop)
	url := client.Scheme + "://" + address + "/bench"
	if _, err := client.Create(ctx, url, leat.Config{}, client.Options{}); err != nil {
		return nil, err
	}
	l, err := client.Dial(ctx, url, client.Options{})
	if err != nil {
		return nil, err
	}
	s.Log = l
	s.add(l.Close)
	return s, nil
}

// serveLeat is the server's process.
func serveLeat(ctx context.Context, dir string, ready func(string) error) error {
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1) // as leat serve does
	s, err := server.New(server.Config{
		Dir: dir + "/data", Engine: local.Engine{Options: leatOptions}, GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0",
	})
	if err != nil {
		return err
	}
	if err := ready(s.GRPC().String()); err != nil {
		return errors.Join(err, s.Close())
	}
	return s.Run(ctx)
}

func (s *leatStore) version() string { return "" }

func (s *leatStore) append(ctx context.Context, at head, events []leat.Event) (head, error) {
	receipt, err := s.Append(ctx, events, leat.ExpectVersion(events[0].Stream, at.version))
	switch {
	case errors.Is(err, leat.ErrConflict):
		return at, errConflict
	case errors.Is(err, leat.ErrIDReused), errors.Is(err, leat.ErrPartial), receipt.Duplicate:
		return at, errDuplicate
	case err != nil:
		return at, err
	}
	return head{version: receipt.Versions[len(events)-1]}, nil
}

// fill appends each event by itself, all at once, because streams of different
// route keys cannot share an Append.
func (s *leatStore) fill(ctx context.Context, events []leat.Recorded) error {
	var wg sync.WaitGroup
	errs := make([]error, len(events))
	for i := range events {
		wg.Go(func() { _, errs[i] = s.Append(ctx, []leat.Event{events[i].Event}) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (s *leatStore) replay(ctx context.Context, visit visitor) error {
	return s.eachBatch(ctx, func(shard leat.ShardID, after uint64) (leat.Batch, error) {
		b, err := s.ReadShard(ctx, shard, after, leat.ReadOptions{})
		for i := 0; i < len(b.Events) && err == nil; i++ {
			err = visit(&b.Events[i])
		}
		return b, err
	})
}

func (s *embeddedLeat) replayLent(ctx context.Context, visit visitor) error {
	return s.eachBatch(ctx, func(shard leat.ShardID, after uint64) (leat.Batch, error) {
		return s.engine.ScanShard(ctx, shard, after, leat.ReadOptions{}, visit)
	})
}

// eachBatch calls read until it was at the head of the log's one shard.
func (s *leatStore) eachBatch(ctx context.Context, read func(shard leat.ShardID, after uint64) (leat.Batch, error)) error {
	shards, err := s.Shards(ctx)
	if err != nil {
		return err
	}
	if len(shards) != 1 {
		return fmt.Errorf("the log has %d shards, want one", len(shards))
	}
	for after := uint64(0); after < shards[0].Head; {
		b, err := read(shards[0].ID, after)
		if err != nil {
			return err
		}
		after = b.Next
	}
	return nil
}

func (s *leatStore) load(ctx context.Context, stream string, visit visitor) error {
	for r, err := range s.ReadStream(ctx, stream, leat.Range{}) {
		if err != nil {
			return err
		}
		if err := visit(&r); err != nil {
			return err
		}
	}
	return nil
}

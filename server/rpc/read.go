package rpc

import (
	"context"
	"fmt"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/wire"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// batchBytes is what a batch may take: what one read examines, and the append
// it finishes.
const batchBytes = leat.MaxReadBytes + maxAppendBytes

func (s *logService) ReadShard(req *leatv1.ReadShardRequest, stream leatv1.Log_ReadShardServer) error {
	ctx := stream.Context()
	log, err := s.logs.Log(ctx, req.GetLog())
	if err != nil {
		return wire.Status(err)
	}
	r := &shardReader{
		Server: s.Server, log: log, shard: leat.ShardID(req.GetShard()), after: req.GetAfter(),
		options: leat.ReadOptions{Filter: wire.Filter(req.GetFilter()), Limit: int(req.GetLimit())},
	}
	defer r.release()
	batch, err := r.read(ctx, wire.FromMillis(req.GetWaitMs(), maxWait))
	if err != nil {
		return wire.Status(err)
	}
	p := &pieces{send: func(events []*leatv1.Recorded) error {
		return stream.Send(&leatv1.ReadShardResponse{Events: events})
	}, server: s.Server}
	for i := range batch.Events {
		if err := p.add(&batch.Events[i], batch.Shard); err != nil {
			return err
		}
	}
	return p.within(func() error {
		return stream.Send(&leatv1.ReadShardResponse{Events: p.events, End: &leatv1.ReadShardEnd{
			Epoch: batch.Epoch, Next: batch.Next, Head: batch.Head, Closed: batch.Closed,
		}})
	})
}

// A shardReader reads one batch, within the server's budget.
type shardReader struct {
	*Server
	log     leat.Log
	shard   leat.ShardID
	after   uint64
	options leat.ReadOptions
	held    int64 // bytes of the budget
}

// read returns a batch, and waits for one if there is nothing. Who waits holds
// nothing of the budget: it waits for a first event alone, and then reads again.
func (r *shardReader) read(ctx context.Context, wait time.Duration) (leat.Batch, error) {
	batch, err := r.readNow(ctx)
	if err != nil || wait == 0 || batch.Next > r.after || batch.Closed {
		return batch, err
	}
	r.release()
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.draining, cancel)()
	first, err := r.log.ReadShard(waiting, r.shard, r.after, leat.ReadOptions{Filter: r.options.Filter, Limit: 1, Wait: wait})
	switch {
	case waiting.Err() != nil && ctx.Err() == nil:
		return batch, nil // about to stop: nothing came so far
	case err != nil || len(first.Events) == 0:
		return first, err
	}
	return r.readNow(ctx)
}

// readNow returns the batch that is there, and holds as much of the budget.
func (r *shardReader) readNow(ctx context.Context) (leat.Batch, error) {
	if err := r.reads.Acquire(ctx, batchBytes); err != nil {
		return leat.Batch{}, err
	}
	r.held = batchBytes
	batch, err := r.log.ReadShard(ctx, r.shard, r.after, r.options)
	var used int64
	for i := range batch.Events {
		used += int64(batch.Events[i].Size())
	}
	if spare := r.held - used; spare > 0 {
		r.reads.Release(spare)
		r.held -= spare
	}
	return batch, err
}

func (r *shardReader) release() {
	r.reads.Release(r.held)
	r.held = 0
}

func (s *logService) ReadStream(req *leatv1.ReadStreamRequest, stream leatv1.Log_ReadStreamServer) error {
	ctx := stream.Context()
	log, err := s.logs.Log(ctx, req.GetLog())
	if err != nil {
		return wire.Status(err)
	}
	r := leat.Range{After: req.GetAfter(), Through: req.GetThrough()}
	if req.GetReverse() {
		r = r.Reverse()
	}
	p := &pieces{send: func(events []*leatv1.Recorded) error {
		return stream.Send(&leatv1.ReadStreamResponse{Events: events})
	}, server: s.Server}
	for e, err := range log.ReadStream(ctx, req.GetStream(), r) {
		if err == nil {
			err = p.add(&e, "")
		} else if flushErr := p.flush(); flushErr == nil {
			err = wire.Status(err)
		}
		if err != nil {
			return err
		}
	}
	return p.flush()
}

// pieces gathers events into messages of about pieceBytes and sends them, each
// within the server's SendTimeout.
type pieces struct {
	send   func([]*leatv1.Recorded) error
	server *Server

	events []*leatv1.Recorded
	bytes  int
}

func (p *pieces) add(r *leat.Recorded, around leat.ShardID) error {
	if p.bytes > 0 && p.bytes+r.Size() > pieceBytes {
		if err := p.flush(); err != nil {
			return err
		}
	}
	p.events = append(p.events, wire.FromRecorded(r, around))
	p.bytes += r.Size()
	return nil
}

func (p *pieces) flush() error {
	if len(p.events) == 0 {
		return nil
	}
	events := p.events
	p.events, p.bytes = nil, 0
	return p.within(func() error { return p.send(events) })
}

// within sends, or gives up when the reader does not read. What is given up ends
// with the handler.
func (p *pieces) within(send func() error) error {
	sent := make(chan error, 1)
	p.server.receivers.Go(func() { sent <- send() })
	timer := time.NewTimer(p.server.options.SendTimeout)
	defer timer.Stop()
	select {
	case err := <-sent:
		return err
	case <-timer.C:
		p.server.options.Logger.Warn("cut off a reader that does not read", "timeout", p.server.options.SendTimeout)
		return status.Error(codes.Unavailable, fmt.Sprintf("the reader took nothing for %s; read on from where it stopped", p.server.options.SendTimeout))
	}
}

package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/wire"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
	"google.golang.org/protobuf/proto"
)

// ReadShard implements leat.Log.
func (l *Log) ReadShard(ctx context.Context, shard leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	if err := checkFilter(o.Filter); err != nil {
		return leat.Batch{}, err
	}
	req := &leatv1.ReadShardRequest{
		Log: l.name, Shard: valid(shard), After: after, Filter: wire.FromFilter(o.Filter),
		Limit: uint32(min(max(o.Limit, 0), math.MaxUint32)),
	}
	deadline, early := time.Now().Add(o.Wait), l.conn.retrying()
	for {
		req.WaitMs = 0
		if o.Wait > 0 {
			req.WaitMs = wire.Millis(time.Until(deadline))
		}
		var b leat.Batch
		err := l.conn.call(ctx, func(ctx context.Context) (err error) {
			b, err = l.readBatch(ctx, req)
			return err
		})
		if err != nil {
			return leat.Batch{}, l.failed(fmt.Sprintf("read %s after %d", shard, after), err)
		}
		l.known.see(shard, b.Head)
		if b.Next > after || b.Closed || req.GetWaitMs() == 0 {
			return b, nil
		}
		// A server waits a minute at most, and less when it is stopping.
		if err := early.rest(ctx); err != nil {
			return leat.Batch{}, err
		}
	}
}

// readBatch reads one batch, whole or not at all.
func (l *Log) readBatch(ctx context.Context, req *leatv1.ReadShardRequest) (leat.Batch, error) {
	stream, err := l.rpc.ReadShard(ctx, req)
	if err != nil {
		return leat.Batch{}, err
	}
	b := leat.Batch{Shard: leat.ShardID(req.GetShard())}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return leat.Batch{}, io.ErrUnexpectedEOF
		}
		if err != nil {
			return leat.Batch{}, err
		}
		for _, e := range m.GetEvents() {
			b.Events = append(b.Events, wire.Recorded(e, b.Shard))
		}
		if end := m.GetEnd(); end != nil {
			b.Epoch, b.Next, b.Head, b.Closed = end.GetEpoch(), end.GetNext(), end.GetHead(), end.GetClosed()
			_, _ = stream.Recv() // the status, so that the call need not be cancelled; the batch is whole either way
			return b, nil
		}
	}
}

// ReadStream implements leat.Log. When the connection is lost it goes on after
// the last event it yielded; the end is then the stream's version at that time.
func (l *Log) ReadStream(ctx context.Context, stream string, r leat.Range) iter.Seq2[leat.Recorded, error] {
	return func(yield func(leat.Recorded, error) bool) {
		if !utf8.ValidString(stream) {
			return // no event has such a stream
		}
		rest := &streamReader{
			log: l, retrying: l.conn.retrying(), yield: yield,
			request: &leatv1.ReadStreamRequest{
				Log: l.name, Stream: stream, After: r.After, Through: r.Through, Reverse: r.Reversed(),
			},
		}
		for !rest.done {
			err := l.conn.callOnce(ctx, rest.read)
			if errors.Is(err, ErrUnreachable) && !rest.done {
				err = rest.retrying.pause(ctx, err)
			}
			if err != nil && !rest.done {
				rest.done = true
				yield(leat.Recorded{}, l.failed(fmt.Sprintf("read stream %q", stream), err))
			}
		}
	}
}

// A streamReader reads a stream, in as many attempts as it takes.
type streamReader struct {
	log      *Log
	retrying *retrying
	yield    func(leat.Recorded, error) bool
	request  *leatv1.ReadStreamRequest // for what is not yielded yet
	done     bool                      // everything is yielded, or nothing more is wanted
}

// read yields what is there until the stream ends or fails.
func (r *streamReader) read(ctx context.Context) error {
	stream, err := r.log.rpc.ReadStream(ctx, r.request)
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			r.done = true
			return nil
		}
		if err != nil {
			return err
		}
		r.retrying.progress()
		for _, e := range m.GetEvents() {
			if err := ctx.Err(); err != nil {
				return err
			}
			if !r.yield(wire.Recorded(e, ""), nil) {
				r.done = true
				return nil
			}
			if r.passed(e.GetVersion()) {
				r.done = true
				return nil
			}
		}
	}
}

// passed takes a version that was yielded off the request, and reports whether
// nothing is left of it.
func (r *streamReader) passed(version uint64) bool {
	if r.request.GetReverse() {
		r.request.Through = version - 1
		return version == 1 || version-1 == r.request.GetAfter()
	}
	r.request.After = version
	return version == r.request.GetThrough()
}

// checkFilter refuses what cannot be sent.
func checkFilter(f leat.Filter) error {
	for _, list := range []struct {
		field string
		names []string
	}{{"filter.streams", f.Streams}, {"filter.categories", f.Categories}, {"filter.types", f.Types}, {"filter.where", []string{f.Where}}} {
		for _, n := range list.names {
			if !utf8.ValidString(n) {
				return &leat.InvalidError{Field: list.field, Limit: "UTF-8", Got: fmt.Sprintf("%.40q", n)}
			}
		}
	}
	return nil
}

// checkSize refuses a message that is too large to be sent.
func checkSize(field string, m proto.Message) error { return checkBytes(field, proto.Size(m)) }

func checkBytes(field string, n int) error {
	const most = maxMessageBytes - 1024 // the rest is for what is around it
	if n > most {
		return &leat.InvalidError{
			Field: field, Limit: fmt.Sprintf("at most %d bytes together when encoded", most), Got: fmt.Sprintf("%d bytes", n),
		}
	}
	return nil
}

// valid returns a shard ID that can be sent, and is unknown if shard cannot.
func valid(shard leat.ShardID) string { return strings.ToValidUTF8(string(shard), "\uFFFD") }

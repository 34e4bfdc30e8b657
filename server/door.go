package server

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/leathq/leat"
)

// A door hands out the logs of a server to one way in. Safe for concurrent use.
type door struct {
	server *Server
	name   string

	mu     sync.RWMutex
	served map[string]*served
}

func (s *Server) newDoor(name string) *door {
	return &door{server: s, name: name, served: make(map[string]*served)}
}

// List returns the names of all logs, sorted.
func (d *door) List(context.Context) ([]string, error) { return d.server.logs.names(), nil }

// Log returns a log by name: leat.ErrNotFound when there is none,
// leat.ErrInvalid when there can be none of that name.
func (d *door) Log(_ context.Context, name string) (leat.Log, error) {
	log, err := d.server.logs.get(name)
	if err != nil {
		return nil, err
	}
	d.mu.RLock()
	s, ok := d.served[name]
	d.mu.RUnlock()
	if ok {
		return s, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if s, ok := d.served[name]; ok {
		return s, nil
	}
	s = &served{log: log.Log, reader: log.reader(), trimmer: log.trimmer(), meter: d.server.metrics.meter(d.name, name), draining: d.server.draining}
	d.served[name] = s
	return s, nil
}

// Create makes a log: fs.ErrExist when there is one of that name.
func (d *door) Create(ctx context.Context, name string, c leat.Config) (leat.Info, error) {
	log, err := d.server.logs.create(ctx, name, c)
	if err != nil {
		return leat.Info{}, err
	}
	return log.Info(ctx)
}

// Backup makes a copy of a log in a directory among the server's backups:
// fs.ErrExist when there is one of that name, leat.ErrInvalid when there can be
// none, leat.ErrUnsupported when the log cannot be copied.
func (d *door) Backup(ctx context.Context, name, directory string) error {
	return d.server.logs.backup(ctx, name, directory)
}

// Leases returns the keeper of a log's leases.
func (d *door) Leases(_ context.Context, name string) (leat.Leases, error) {
	log, err := d.server.logs.get(name)
	if err != nil {
		return nil, err
	}
	return log.leases, nil
}

// Reporter returns who keeps how the applications of a log fare.
func (d *door) Reporter(_ context.Context, name string) (leat.Reporter, error) {
	log, err := d.server.logs.get(name)
	if err != nil {
		return nil, err
	}
	return log.apps, nil
}

// served is a log as a door sees it: measured, and not waiting any longer than
// the server lives.
type served struct {
	log      Log
	reader   leat.Log     // the log, with what only its archive still has
	trimmer  leat.Trimmer // nil when there is none
	meter    *meter
	draining context.Context
}

var _ interface {
	leat.Log
	leat.Submitter
	leat.Trimmer
	leat.Splitter
	leat.Importer
	leat.Limiter
} = (*served)(nil)

func (s *served) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	began := time.Now()
	receipt, err := s.log.Append(ctx, events, conds...)
	s.meter.append(began, events, receipt, err)
	return receipt, err
}

func (s *served) Submit(ctx context.Context, events []leat.Event, conds ...leat.Condition) leat.Pending {
	began := time.Now()
	return &measuredPending{leat.Submit(ctx, s.log, events, conds...), s.meter, began, events}
}

// A measuredPending is an Append under way that is measured when it is done.
type measuredPending struct {
	leat.Pending
	meter  *meter
	began  time.Time
	events []leat.Event
}

func (p *measuredPending) Wait() (leat.Receipt, error) {
	receipt, err := p.Pending.Wait()
	p.meter.append(p.began, p.events, receipt, err)
	return receipt, err
}

func (s *served) ReadStream(ctx context.Context, stream string, r leat.Range) iter.Seq2[leat.Recorded, error] {
	return func(yield func(leat.Recorded, error) bool) {
		done := s.meter.read()
		var last error
		n, bytes := 0, 0
		defer func() { done(n, bytes, last) }()
		for e, err := range s.reader.ReadStream(ctx, stream, r) {
			if last = err; err == nil {
				n, bytes = n+1, bytes+e.Size()
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// ReadShard returns what there is without waiting once the server drains.
func (s *served) ReadShard(ctx context.Context, shard leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	done := s.meter.read()
	b, err := s.readShard(ctx, shard, after, o)
	bytes := 0
	for i := range b.Events {
		bytes += b.Events[i].Size()
	}
	done(len(b.Events), bytes, err)
	return b, err
}

func (s *served) readShard(ctx context.Context, shard leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	if o.Wait <= 0 {
		return s.reader.ReadShard(ctx, shard, after, o)
	}
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.draining, cancel)()
	b, err := s.reader.ReadShard(waiting, shard, after, o)
	if err != nil && waiting.Err() != nil && ctx.Err() == nil {
		o.Wait = 0
		return s.reader.ReadShard(ctx, shard, after, o)
	}
	return b, err
}

func (s *served) Shards(ctx context.Context) ([]leat.Shard, error) { return s.reader.Shards(ctx) }

func (s *served) Info(ctx context.Context) (leat.Info, error) { return s.log.Info(ctx) }

func (s *served) Limits() leat.Limits { return leat.LimitsOf(s.log) }

func (s *served) Trim(ctx context.Context, shard leat.ShardID, below uint64) (uint64, error) {
	if s.trimmer == nil {
		return 0, leat.ErrUnsupported
	}
	return s.trimmer.Trim(ctx, shard, below)
}

func (s *served) Split(ctx context.Context, shard leat.ShardID, at leat.HashKey) ([2]leat.Shard, error) {
	if t, ok := s.log.(leat.Splitter); ok {
		return t.Split(ctx, shard, at)
	}
	return [2]leat.Shard{}, leat.ErrUnsupported
}

func (s *served) Import(ctx context.Context, shard leat.ShardID, events []leat.Recorded) error {
	if i, ok := s.log.(leat.Importer); ok {
		return i.Import(ctx, shard, events)
	}
	return leat.ErrUnsupported
}

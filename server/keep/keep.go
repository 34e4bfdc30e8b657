package keep

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/server"
)

// A Config says how logs are kept. Zero fields stand for the defaults, but for
// Open, Key and Dir, which are needed.
type Config struct {
	// Open opens the store. It is called when the store is first needed, and
	// again when that failed. URL names the store in messages.
	Open func(context.Context) (archive.Store, error)
	URL  string

	// Key signs the archives, of all logs.
	Key *archive.Key

	// NewKey, SegmentBytes and MaxAge are those of archive.Config.
	NewKey       bool
	SegmentBytes int64
	MaxAge       time.Duration

	// RetainAge and RetainBytes say what to keep of each log, as the fields of
	// archive.RetainOptions do. Everything is kept when both are 0.
	RetainAge   time.Duration
	RetainBytes int64

	// RetainEvery is how often that is seen to, and CompactEvery how often what
	// is archived is sorted by stream.
	RetainEvery, CompactEvery time.Duration

	// Dir is where what was read of the archive is cached, up to CacheBytes, and
	// where it is remembered which logs have an archive: see archive.Remembered.
	Dir        string
	CacheBytes int64

	// Figures returns those that only the store knows; nil when there are none.
	Figures func(archive.Store) []server.Figure

	// Logger is told of what an operator should know; nobody when nil.
	Logger *slog.Logger
}

// Defaults of Config.
const (
	DefaultRetainEvery  = 10 * time.Minute
	DefaultCompactEvery = 24 * time.Hour
	DefaultCacheBytes   = 1 << 30
)

func (c Config) withDefaults() Config {
	if c.RetainEvery == 0 {
		c.RetainEvery = DefaultRetainEvery
	}
	if c.CompactEvery == 0 {
		c.CompactEvery = DefaultCompactEvery
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = DefaultCacheBytes
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.Open == nil:
		return &leat.InvalidError{Field: "archive", Limit: "set", Got: "nothing"}
	case c.Key == nil:
		return &leat.InvalidError{Field: "archive key", Limit: "a key, see archive.LoadKey", Got: "none"}
	case c.Dir == "":
		return &leat.InvalidError{Field: "directory of the archive's cache", Limit: "a path", Got: "nothing"}
	case c.RetainAge < 0 || c.RetainBytes < 0:
		return &leat.InvalidError{Field: "retention", Limit: "an age and a number of bytes, not negative", Got: fmt.Sprintf("%s, %d bytes", c.RetainAge, c.RetainBytes)}
	case c.RetainEvery < 0 || c.CompactEvery < 0:
		return &leat.InvalidError{Field: "intervals of retention and compaction", Limit: "durations above 0"}
	}
	return nil
}

// An Archive is the [server.Archive] of a Config. It is safe for concurrent use.
type Archive struct {
	config Config
	store  *store
	memory archive.Store  // store, with a memory of the archives that are in it
	cache  *archive.Cache // reads through memory

	retaining, compacting chan struct{} // hold a token each: who takes it may do that

	mu   sync.Mutex
	kept []*kept // those that are open
}

// New returns an archive. It does not open the store yet.
func New(c Config) (*Archive, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	s := newStore(c.URL, c.Open)
	memory := archive.Remembered(s, filepath.Join(c.Dir, "archives"))
	cache, err := archive.Cached(memory, filepath.Join(c.Dir, "archive-cache"), c.CacheBytes)
	if err != nil {
		return nil, err
	}
	a := &Archive{config: c, store: s, memory: memory, cache: cache, retaining: make(chan struct{}, 1), compacting: make(chan struct{}, 1)}
	a.retaining <- struct{}{}
	a.compacting <- struct{}{}
	return a, nil
}

// Keep implements [server.Archive].
func (a *Archive) Keep(ctx context.Context, name string, log server.Log) (server.Kept, error) {
	info, err := log.Info(ctx)
	if err != nil {
		return nil, err
	}
	archiver, err := archive.NewArchiver(log, a.memory, archive.Config{
		Key: a.config.Key, NewKey: a.config.NewKey, SegmentBytes: a.config.SegmentBytes, MaxAge: a.config.MaxAge,
	})
	if err != nil {
		return nil, err
	}
	k := &kept{
		archive: a, name: name, id: info.ID, log: log, archiver: archiver, logger: a.config.Logger.With("log", name),
		retention: chore{name: "retention"}, compaction: chore{name: "compaction"},
	}
	k.reader = archive.LazyTier(log, func(ctx context.Context) (*archive.Archive, error) {
		return archive.Open(ctx, a.cache, info.ID, a.config.Key.Public())
	})
	k.running, k.stop = context.WithCancel(context.Background())
	a.mu.Lock()
	defer a.mu.Unlock()
	a.kept = append(a.kept, k)
	return k, nil
}

// namesake returns the name of another log with the same ID, "" when there is
// none.
func (a *Archive) namesake(of *kept) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range a.kept {
		if k != of && k.id == of.id {
			return k.name
		}
	}
	return ""
}

// forget takes a log out that is closed.
func (a *Archive) forget(k *kept) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.kept = slices.DeleteFunc(a.kept, func(other *kept) bool { return other == k })
}

package engine

import (
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/leathq/leat"
)

// Options of a log. The zero Options are good; every field is optional.
type Options struct {
	// FS is the file system; the operating system's when nil.
	FS vfs.FS

	// Clock tells the time for Recorded.At; time.Now when nil. It is safe for
	// concurrent use.
	Clock func() time.Time

	// CacheBytes bounds the cache of what was read from disk; 64 MiB when 0.
	// Half of it holds decoded blocks. A filter of stream names takes an eighth
	// as much again.
	CacheBytes int64

	// GenerationEvents is of how many events the index is kept in memory before
	// it is sorted into files; 262,144 when 0. An event takes about 180 bytes
	// there, and up to four generations are in memory. After a crash, Open reads
	// their events again.
	GenerationEvents int

	// ReserveBytes is the free space below which Append returns leat.ErrFull.
	// When 0 it is 256 MiB or a twentieth of the disk, what is less. Negative
	// turns the check off.
	ReserveBytes int64

	// fileBytes is the size at which a file of blocks takes no further group; 128
	// MiB when 0.
	fileBytes int64

	// Logger is told of what an operator should know; nobody when nil.
	Logger *slog.Logger
}

const (
	defaultCacheBytes   = 64 << 20
	defaultGeneration   = 256 << 10
	defaultReserveBytes = 256 << 20
	defaultFileBytes    = 128 << 20
)

// withDefaults returns o with every documented zero replaced.
func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = defaultCacheBytes
	}
	if o.GenerationEvents <= 0 {
		o.GenerationEvents = defaultGeneration
	}
	if o.fileBytes <= 0 {
		o.fileBytes = defaultFileBytes
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// limits of an Append.
var limits = leat.Limits{EventBytes: 10 << 20, AppendEvents: 10_000, AppendBytes: 32 << 20}

// Limits implements leat.Limiter: 10 MiB an event, 10,000 events and 32 MiB an
// Append.
func (*Log) Limits() leat.Limits { return limits }

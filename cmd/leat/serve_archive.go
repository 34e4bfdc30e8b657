package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/archive/s3"
	"github.com/leathq/leat/server"
	"github.com/leathq/leat/server/keep"
)

// serveArchiveFlags say how a server keeps its logs in an archive.
type serveArchiveFlags struct {
	Archive      string        `env:"LEAT_ARCHIVE" placeholder:"URL" help:"Archive all logs there, each in a folder named after its ID: file://PATH is a directory, s3://BUCKET/PREFIX object storage (?endpoint=URL, ?region=NAME, ?profile=NAME)."`
	KeyFile      string        `name:"archive-key" env:"LEAT_ARCHIVE_KEY" placeholder:"FILE" help:"The key to sign archives with; made when there is no such file. DATA/archive.key when left out."`
	NewKey       bool          `name:"archive-new-key" help:"Go on with a key that the archives do not know, because the one they began with is lost."`
	SegmentBytes byteSize      `name:"archive-segment-size" default:"64MiB" placeholder:"SIZE" help:"Cut a segment at so many bytes of events. So much is held in memory, compressed, for each open shard."`
	MaxAge       time.Duration `name:"archive-max-age" default:"1m" help:"Cut a segment when its first event is so old: what can be lost with this machine."`
	CacheBytes   byteSize      `name:"archive-cache" default:"1GiB" placeholder:"SIZE" help:"How much of the archive to keep in DATA/archive-cache, for those who read old events."`
	RetainDays   int           `placeholder:"N" help:"Keep the events of so many days in the log; older ones are read from the archive. All are kept when neither this nor --retain-bytes is given."`
	RetainBytes  byteSize      `placeholder:"SIZE" help:"Keep so many bytes of events in each log, the newest."`
}

// storePatience is how long the start of a server waits to learn what is wrong
// with an archive.
const storePatience = 10 * time.Second

// validate returns an error when the flags do not go together.
func (f serveArchiveFlags) validate() error {
	if f.Archive == "" && (f.RetainDays != 0 || f.RetainBytes != 0) {
		return &leat.InvalidError{Field: "--retain-days, --retain-bytes", Limit: "together with --archive: only what is archived is removed"}
	}
	_, err := f.retainAge()
	return err
}

// retainAge returns how long events are kept, 0 when that does not matter.
func (f serveArchiveFlags) retainAge() (time.Duration, error) {
	return daysOf("--retain-days", f.RetainDays)
}

// open returns what keeps the logs of a data directory in the archive.
func (f serveArchiveFlags) open(ctx context.Context, c console, data string, logger *slog.Logger) (server.Archive, error) {
	if err := f.check(ctx, logger); err != nil {
		return nil, err
	}
	file := f.KeyFile
	if file == "" {
		file = filepath.Join(data, "archive.key")
	}
	key, err := archive.LoadKey(file)
	if err != nil {
		return nil, err
	}
	age, err := f.retainAge()
	if err != nil {
		return nil, err
	}
	a, err := keep.New(keep.Config{
		URL: f.Archive, Open: func(ctx context.Context) (archive.Store, error) { return openStore(ctx, f.Archive) },
		Key: key, NewKey: f.NewKey, SegmentBytes: int64(f.SegmentBytes), MaxAge: f.MaxAge,
		RetainAge: age, RetainBytes: int64(f.RetainBytes),
		Dir: data, CacheBytes: int64(f.CacheBytes), Figures: storeFigures, Logger: logger,
	})
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(c.out, "archiving to %s, signed with %s\n", f.Archive, key.Public())
	return a, err
}

// check returns an error when the archive can never work as it is named. One
// that cannot be reached now is no reason not to serve.
func (f serveArchiveFlags) check(ctx context.Context, logger *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	_, err := openStore(ctx, f.Archive)
	if errors.Is(err, leat.ErrInvalid) || errors.Is(err, leat.ErrUnsupported) {
		return err
	}
	if err != nil {
		logger.Warn("the archive cannot be reached; the logs are served, and it is tried again", "archive", f.Archive, "error", err)
	}
	return nil
}

// storeFigures are those that only the client of object storage has.
func storeFigures(store archive.Store) []server.Figure {
	s, ok := store.(*s3.Store)
	if !ok {
		return nil
	}
	st := s.Stats()
	return []server.Figure{
		{Name: "leat_archive_store_requests_total", Help: "Requests to object storage, of which a call may need several.", Total: true, Value: float64(st.Requests)},
		{Name: "leat_archive_store_requests_failed_total", Help: "Requests to object storage that failed and were repeated.", Total: true, Value: float64(st.Failed)},
	}
}

package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/durable"
)

// Remembered returns a store that remembers, in a file for each log in a local
// directory, which logs have an archive in it. Where such an archive is missing,
// opening it and archiving the log are a [leat.ErrUnavailable], and no other
// archive is begun in its place: the disk may not be mounted, or the address be
// wrong. A log would be archived anew there, and trimmed, and the archive that it
// has would be left with a hole. The error names the file, which is to be removed
// by whoever does want a new archive.
//
// The directory is made when there is something to remember. It belongs to the
// machine that has the logs, so keep it with them.
func Remembered(store Store, dir string) Store { return &remembered{store, dir} }

type remembered struct {
	Store
	dir string
}

// String returns what the store says of itself.
func (r *remembered) String() string {
	if s, ok := r.Store.(fmt.Stringer); ok {
		return s.String()
	}
	return "the store"
}

// described returns the log that an object describes, which is the first of its
// archive.
func described(name string) (log string, ok bool) {
	log, ok = strings.CutSuffix(name, "/"+descriptionName)
	return log, ok && CheckName(name) == nil && !strings.Contains(log, "/")
}

// Create implements [Store].
func (r *remembered) Create(ctx context.Context, name string, data []byte) error {
	err := r.Store.Create(ctx, name, data)
	log, ok := described(name)
	if ok && (err == nil || errors.Is(err, fs.ErrExist)) {
		return errors.Join(err, r.remember(log))
	}
	return err
}

// Get implements [Store].
func (r *remembered) Get(ctx context.Context, name string) ([]byte, error) {
	data, err := r.Store.Get(ctx, name)
	log, ok := described(name)
	switch {
	case !ok:
		return data, err
	case err == nil: // it may be older than the file, or its maker was killed before that
		err = r.remember(log)
	case errors.Is(err, fs.ErrNotExist):
		if missing := r.missing(log); missing != nil {
			return nil, missing
		}
	}
	return data, err
}

// memory is the content of a file. That it is there is what counts; the content
// is for people.
type memory struct {
	Format  int    `json:"format"` // 1
	Log     string `json:"log"`
	Archive string `json:"archive"` // the store when it was written
}

func (r *remembered) file(log string) string { return filepath.Join(r.dir, log+".json") }

// remember keeps durably that a log has an archive.
func (r *remembered) remember(log string) error {
	if _, err := os.Lstat(r.file(log)); err == nil {
		return nil
	}
	data, err := json.Marshal(memory{Format: 1, Log: log, Archive: r.String()})
	if err == nil {
		err = makeDir(r.dir)
	}
	if err == nil {
		err = durable.WriteFile(r.file(log), append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("remember that log %s has an archive: %w", log, classify(err))
	}
	return nil
}

// missing returns why the archive of a log has to be there; nil when it was never
// heard of.
func (r *remembered) missing(log string) error {
	data, err := os.ReadFile(r.file(log))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var m memory
	if json.Unmarshal(data, &m) != nil || m.Archive == "" {
		m.Archive = "another place" // also when the file cannot be read
	}
	return fmt.Errorf("%w: log %s has an archive in %s, and in %s there is none: is the disk mounted, is that the right place? "+
		"To begin a new archive, without what only the old one holds, remove %s", leat.ErrUnavailable, log, m.Archive, r, r.file(log))
}

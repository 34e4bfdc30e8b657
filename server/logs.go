package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"

	"github.com/leathq/leat"
	"github.com/leathq/leat/server/apps"
	"github.com/leathq/leat/server/lease"
)

// logName is strict because a log's name is its directory's, also on systems
// that do not tell files apart by case.
var logName = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

// CheckName returns an [*leat.InvalidError] unless a log may have this name.
func CheckName(name string) error {
	return checkName("log", name)
}

func checkName(field, name string) error {
	if logName.MatchString(name) {
		return nil
	}
	if len(name) > 64 {
		name = name[:64] + "…"
	}
	return &leat.InvalidError{Field: field, Limit: `a name of 1 to 64 characters a-z, 0-9, "-" or "_"`, Got: fmt.Sprintf("%q", name)}
}

// logs are the logs of a data directory. Safe for concurrent use.
type logs struct {
	dir     string // of the logs
	leases  string // directory of the leases' tokens
	apps    string // directory of what is known of applications
	backups string // directory of copies
	engine  Engine
	archive Archive // nil when there is none

	making sync.Mutex // held by who makes a log

	mu     sync.RWMutex
	open   map[string]*openLog
	broken map[string]error // logs that cannot be opened, and why
	closed bool
}

// An openLog is a log and what belongs to it.
type openLog struct {
	Log
	leases *lease.Keeper
	apps   *apps.Keeper
	kept   Kept // nil when it is not archived
}

// reader returns the log to read from.
func (l *openLog) reader() leat.Log {
	if l.kept != nil {
		return l.kept.Reader()
	}
	return l.Log
}

// trimmer returns the log to trim, nil when it cannot be.
func (l *openLog) trimmer() leat.Trimmer {
	if l.kept != nil {
		return l.kept
	}
	t, _ := l.Log.(leat.Trimmer)
	return t
}

// start begins to archive the log.
func (l *openLog) start() {
	if l.kept != nil {
		l.kept.Start()
	}
}

func (l *openLog) Close() error {
	var err error
	if l.kept != nil {
		err = l.kept.Close()
	}
	return errors.Join(err, l.apps.Close(), l.Log.Close())
}

// openLogs opens every log in a data directory.
func openLogs(data string, engine Engine, archive Archive) (*logs, error) {
	l := &logs{
		dir: filepath.Join(data, "logs"), leases: filepath.Join(data, "leases"),
		apps: filepath.Join(data, "apps"), backups: filepath.Join(data, "backups"),
		engine: engine, archive: archive,
		open: make(map[string]*openLog), broken: make(map[string]error),
	}
	for _, dir := range []string{l.dir, l.leases, l.apps} {
		if err := makeDir(dir); err != nil {
			return nil, err
		}
	}
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name := e.Name()
		if !e.IsDir() || CheckName(name) != nil {
			continue
		}
		log, err := l.openOne(name)
		switch {
		case err == nil:
			l.open[name] = log
		case !errors.Is(err, leat.ErrNotFound): // then its making was interrupted
			l.broken[name] = err
		}
	}
	for _, log := range l.open {
		log.start()
	}
	return l, nil
}

func (l *logs) openOne(name string) (*openLog, error) {
	log, err := l.engine.Open(filepath.Join(l.dir, name))
	if err != nil {
		return nil, err
	}
	return l.equip(context.Background(), name, log)
}

// equip opens what belongs to a log. It closes the log when it fails.
func (l *logs) equip(ctx context.Context, name string, log Log) (*openLog, error) {
	keeper, err := lease.Open(filepath.Join(l.leases, name+".json"), nil)
	var known *apps.Keeper
	if err == nil {
		known, err = apps.Open(filepath.Join(l.apps, name+".json"), log, nil)
	}
	var kept Kept
	if err == nil && l.archive != nil {
		kept, err = l.archive.Keep(ctx, name, log)
	}
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return &openLog{log, keeper, known, kept}, nil
}

// names returns the logs that there are, sorted, those that cannot be opened
// included.
func (l *logs) names() []string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	names := slices.AppendSeq(slices.Collect(maps.Keys(l.open)), maps.Keys(l.broken))
	slices.Sort(names)
	return names
}

func (l *logs) get(name string) (*openLog, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if log, ok := l.open[name]; ok {
		return log, nil
	}
	if l.closed {
		return nil, fmt.Errorf("log %q: %w", name, leat.ErrClosed)
	}
	if err, ok := l.broken[name]; ok {
		return nil, fmt.Errorf("log %q cannot be served: %w", name, err)
	}
	return nil, fmt.Errorf("log %q: %w", name, leat.ErrNotFound)
}

// create makes a log. The error is fs.ErrExist when there is one of that name,
// leat.ErrInvalid when there is one of that ID.
func (l *logs) create(ctx context.Context, name string, c leat.Config) (*openLog, error) {
	l.making.Lock()
	defer l.making.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	_, err := l.get(name)
	if err == nil {
		return nil, fmt.Errorf("create log %q: there is one of that name: %w", name, fs.ErrExist)
	}
	if !errors.Is(err, leat.ErrNotFound) {
		return nil, err
	}
	if err := l.unused(ctx, c.ID); err != nil {
		return nil, fmt.Errorf("create log %q: %w", name, err)
	}
	made, err := l.engine.Create(filepath.Join(l.dir, name), c)
	if err != nil {
		return nil, err
	}
	log, err := l.equip(ctx, name, made)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errors.Join(fmt.Errorf("create log %q: %w", name, leat.ErrClosed), log.Close())
	}
	l.open[name] = log
	log.start()
	return log, nil
}

// unused returns an error when a log of the server has an ID: the two would be
// copies of one another to everybody, and neither would be archived. An empty ID
// stands for one that nobody has.
func (l *logs) unused(ctx context.Context, id string) error {
	if id == "" {
		return nil
	}
	for other, log := range l.all() {
		info, err := log.Info(ctx)
		if err != nil {
			return fmt.Errorf("look which ID log %q has: %w", other, err)
		}
		if info.ID == id {
			return &leat.InvalidError{Field: "id", Limit: "one that no other log of this server has", Got: fmt.Sprintf("%q, which is that of log %q", id, other)}
		}
	}
	return nil
}

// backup makes a copy of a log, in a directory of that name among the backups.
// The error is fs.ErrExist when there is one, leat.ErrUnsupported when the log
// cannot be copied.
func (l *logs) backup(ctx context.Context, name, directory string) error {
	log, err := l.get(name)
	if err != nil {
		return err
	}
	if err := checkName("directory", directory); err != nil {
		return err
	}
	b, ok := log.Log.(Backuper)
	if !ok {
		return fmt.Errorf("back up log %q: %w", name, leat.ErrUnsupported)
	}
	if err := makeDir(l.backups); err != nil {
		return err
	}
	err = b.Backup(ctx, filepath.Join(l.backups, directory))
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("back up log %q: there is a backup %q already: %w", name, directory, fs.ErrExist)
	}
	return err
}

// all returns the open logs by name.
func (l *logs) all() map[string]*openLog {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return maps.Clone(l.open)
}

// failed returns the logs that cannot be opened, and why.
func (l *logs) failed() map[string]error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return maps.Clone(l.broken)
}

// close closes all logs, together, since each may take a while.
func (l *logs) close() error {
	l.mu.Lock()
	open := l.open
	l.open, l.closed = nil, true
	l.mu.Unlock()

	var wg sync.WaitGroup
	errs := make(chan error, len(open))
	for name, log := range open {
		wg.Go(func() {
			if err := log.Close(); err != nil {
				errs <- fmt.Errorf("log %q: %w", name, err)
			}
		})
	}
	wg.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}

package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/engine"
)

type restoreCmd struct {
	archiveFlags
	LogURL string `name:"log" env:"LEAT_LOG" required:"" placeholder:"URL" help:"Where to make the log: dir:PATH, a directory that is empty or does not exist. For a server, while it is stopped: dir:DATA/logs/NAME."`
	JSON   bool   `help:"Print one JSON object."`
}

func (restoreCmd) Help() string {
	return `
Makes a log from its archive alone: the same events with their sequences, versions, IDs and times. All of it is checked:
signatures and hashes while it is read, and what is imported is read from the log again and the root of its Merkle tree
compared with the signed one.

	$ leat restore --archive file:///backup/leat --log dir:mylog
	$ leat restore --archive s3://backups/leat --id orders --log dir:data/logs/orders

Interrupted or killed, it goes on when it is given again. Until it is whole the log is in PATH.restoring, where nothing
serves it or appends to it; remove that directory to begin anew.

What was recorded after the last archived event is lost. The log goes on in a new epoch, so that applications which had
got further than the archive are told so (diverged) instead of missing events: rebuild those. All others go on where
they were. Give --public-key to trust no other key than yours.
`
}

// restoring is what the name of the directory ends with in which a log is
// restored. The log is in a folder of it, so that nobody finds one there.
const restoring = ".restoring"

// restoredJSON is the form in which restore prints what it did as JSON.
type restoredJSON struct {
	Log        string              `json:"log"`
	Directory  string              `json:"directory"`
	Epoch      uint64              `json:"epoch"`
	Events     uint64              `json:"events"`
	Imported   uint64              `json:"imported"`
	Seconds    float64             `json:"seconds"`
	Checkpoint string              `json:"checkpoint"` // what the restore kept
	Shards     []restoredShardJSON `json:"shards"`
}

type restoredShardJSON struct {
	ID     leat.ShardID `json:"id"`
	Events uint64       `json:"events"`
	Root   string       `json:"root"` // of the archive and the log
}

func (cmd restoreCmd) Run(ctx context.Context, c console) error {
	if served(cmd.LogURL) {
		return &leat.InvalidError{Field: "log URL", Got: fmt.Sprintf("%q", cmd.LogURL),
			Limit: "dir:PATH: stop the server and restore into DATA/logs/LOG"}
	}
	dir, err := directory(cmd.LogURL)
	if err != nil {
		return err
	}
	dir = filepath.Clean(dir)
	a, err := cmd.open(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	done, err := cmd.restore(ctx, c, a, dir)
	if err != nil {
		return err
	}
	done.Seconds = time.Since(began).Seconds()
	if cmd.JSON {
		return json.NewEncoder(c.out).Encode(done)
	}
	return printRestored(c.out, done)
}

// restore makes the log beside the directory and moves it there when it is
// whole.
func (cmd restoreCmd) restore(ctx context.Context, c console, a *archive.Archive, dir string) (restoredJSON, error) {
	if err := vacant(dir); err != nil {
		return restoredJSON{}, err
	}
	work := dir + restoring
	done, err := cmd.fill(ctx, c, a, filepath.Join(work, "log"))
	if err != nil {
		return restoredJSON{}, fmt.Errorf("%w\nwhat is restored so far is in %s: the same command goes on with it, and removing it begins anew", err, work)
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) { // it is empty
		return restoredJSON{}, err
	}
	if err := os.Rename(filepath.Join(work, "log"), dir); err != nil {
		return restoredJSON{}, err
	}
	done.Directory = dir
	return done, errors.Join(syncDir(filepath.Dir(dir)), os.Remove(work))
}

// fill restores the archive into a directory that may hold a part of it.
func (cmd restoreCmd) fill(ctx context.Context, c console, a *archive.Archive, dir string) (done restoredJSON, err error) {
	log, err := engine.Open(dir, engine.Options{})
	if errors.Is(err, leat.ErrNotFound) {
		log, err = createRestored(ctx, a, dir)
	}
	if err != nil {
		return restoredJSON{}, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	bar := newBar(c.err, "restoring", "events, imported and read again")
	restored, err := a.Restore(ctx, log, bar.show)
	bar.clear()
	if err != nil {
		return restoredJSON{}, err
	}
	info, err := log.Info(ctx)
	if err != nil {
		return restoredJSON{}, err
	}
	kept := leat.Checkpoint{Log: info.ID, Epoch: info.Epoch}
	done = restoredJSON{Log: info.ID, Epoch: info.Epoch, Events: restored.Events, Imported: restored.Imported}
	for _, s := range restored.Checkpoints {
		kept.Set(s.Shard, s.Size)
		root := base64.StdEncoding.EncodeToString(s.Root[:])
		done.Shards = append(done.Shards, restoredShardJSON{s.Shard, s.Size, root})
	}
	done.Checkpoint = kept.String()
	return done, nil
}

func createRestored(ctx context.Context, a *archive.Archive, dir string) (*engine.Log, error) {
	config, err := a.Config(ctx)
	if err != nil {
		return nil, err
	}
	return engine.Create(dir, config, engine.Options{})
}

// vacant returns an error unless a directory is empty or not there.
func vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(entries) > 0:
		return fmt.Errorf("restore to %s: %w: it holds files; if that is the log, nothing is to be restored, else name another directory", dir, fs.ErrExist)
	}
	return nil
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func printRestored(w io.Writer, r restoredJSON) error {
	fmt.Fprintf(w, "restored log %s to %s: %d events in %.1f s\n", r.Log, r.Directory, r.Events, r.Seconds)
	fmt.Fprintf(w, "epoch %d, kept up to %s\n\n", r.Epoch, r.Checkpoint)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "SHARD\tEVENTS\tTREE ROOT, AS SIGNED\n")
	for _, s := range r.Shards {
		fmt.Fprintf(t, "%s\t%d\t%s\n", s.ID, s.Events, s.Root)
	}
	return t.Flush()
}

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

type archiveRunCmd struct {
	logFlag
	storeFlag
	KeyFile      string        `name:"key" env:"LEAT_ARCHIVE_KEY" required:"" placeholder:"FILE" help:"The key to sign with; made when there is no such file."`
	NewKey       bool          `help:"Go on with a key that the archive does not know, because the one it began with is lost."`
	SegmentBytes byteSize      `name:"segment-size" default:"64MiB" placeholder:"SIZE" help:"Cut a segment at so many bytes of events, such as 16MiB."`
	MaxAge       time.Duration `default:"1m" help:"Cut a segment when its first event is so old."`
	Once         bool          `help:"Archive what the log holds now, and end."`
}

func (archiveRunCmd) Help() string {
	return `
Copies all events of a log to an archive, exactly once and in order, and goes on with those to come until Ctrl-C. When
the log or the store fails, it tries again. It can be killed at any time, and several may run at once by mistake.

	$ leat archive run --log leat://127.0.0.1:7070/orders --archive s3://backup/leat --key archive.key
	$ leat archive run --log dir:mylog --archive file:///backup/leat --key archive.key --once

Keep a copy of the key file elsewhere than the archive. Its second line is the public key, with which others check
what is archived: see leat archive verify and leat archive prove.
`
}

func (cmd archiveRunCmd) Run(ctx context.Context, c console) error {
	return cmd.with(ctx, func(log leat.Log) error {
		store, err := openStore(ctx, cmd.Archive)
		if err != nil {
			return err
		}
		key, err := archive.LoadKey(cmd.KeyFile)
		if err != nil {
			return err
		}
		if dir, err := directory(cmd.LogURL); err == nil {
			store = archive.Remembered(store, filepath.Join(dir, "archives"))
		}
		a, err := archive.NewArchiver(log, store, archive.Config{
			Key: key, NewKey: cmd.NewKey, SegmentBytes: int64(cmd.SegmentBytes), MaxAge: cmd.MaxAge,
		})
		if err != nil {
			return err
		}
		if cmd.Once {
			return cmd.once(ctx, c, log, a)
		}
		fmt.Fprintf(c.out, "archiving %s to %s, signed with %s\n", cmd.LogURL, cmd.Archive, key.Public())
		return cmd.run(ctx, c, a)
	})
}

// once archives up to the heads as they are.
func (cmd archiveRunCmd) once(ctx context.Context, c console, log leat.Log, a *archive.Archiver) error {
	head, err := leat.Start(ctx, log, leat.Now)
	if err != nil {
		return err
	}
	if err := a.Flush(ctx, head); err != nil {
		return err
	}
	s, err := a.Status(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "log %s: %d events are archived in %d segments, %.1f MB of %.1f MB, up to %s\n",
		s.Archived.Log, s.Events, s.Segments, float64(s.Bytes)/1e6, float64(s.EventBytes)/1e6, s.Archived)
	return err
}

// complainEvery is how often run looks whether the archiver is in trouble.
const complainEvery = time.Second

// run archives until ctx ends, and tells what keeps the archiver from it.
func (cmd archiveRunCmd) run(ctx context.Context, c console, a *archive.Archiver) error {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		ticker := time.NewTicker(complainEvery)
		defer ticker.Stop()
		last := ""
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			text := ""
			if err := a.Err(); err != nil {
				text = err.Error()
			}
			if text != last && text != "" {
				fmt.Fprintf(c.err, "leat: %s; it is tried again\n", text)
			}
			last = text
		}
	})
	err := a.Run(ctx)
	cancel()
	watching.Wait()
	return err
}

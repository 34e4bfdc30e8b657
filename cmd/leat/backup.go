package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
)

type backupCmd struct {
	LogURL string `name:"log" env:"LEAT_LOG" required:"" placeholder:"URL" help:"The log: dir:PATH. No other process may have it open."`
	Target string `arg:"" placeholder:"DIR" help:"Where to make the copy: a directory that is empty or does not exist."`
	JSON   bool   `help:"Print one JSON object."`
}

func (backupCmd) Help() string {
	return `
Copies a log into a directory. On the same disk files are shared with the copy, so that it is made at once and takes
little space at first; to outlive the disk, make it on another one or copy it there. A copy is a log like any other:

	$ leat backup --log dir:mylog backups/monday
	$ leat doctor dir:backups/monday
	$ leat read --log dir:backups/monday

Opening the copy raises its epoch: readers that got further than it does are told so, and stop. Use the log or its copy,
not both. A log that a server has open is backed up by the server, while it serves:

	$ curl http://127.0.0.1:7071/v1/logs/orders/backups --json '{"directory": "monday"}'
`
}

func (cmd backupCmd) Run(ctx context.Context, c console) (err error) {
	if served(cmd.LogURL) {
		return &leat.InvalidError{Field: "log URL", Got: fmt.Sprintf("%q", cmd.LogURL),
			Limit: "dir:PATH: a server backs up its logs itself, see POST /v1/logs/LOG/backups in leat backup --help"}
	}
	dir, err := directory(cmd.LogURL)
	if err != nil {
		return err
	}
	log, err := engine.Open(dir, engine.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	info, err := log.Info(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := log.Backup(ctx, cmd.Target); err != nil {
		return err
	}
	made := backupJSON{Log: info.ID, Directory: cmd.Target, Events: log.Stats().Events, Seconds: time.Since(began).Seconds()}
	if made.Bytes, err = fileBytes(cmd.Target); err != nil {
		return err
	}
	if cmd.JSON {
		return json.NewEncoder(c.out).Encode(made)
	}
	fmt.Fprintf(c.out, "backed up log %s to %s: %d events, %.1f MB in %.2f s\n",
		made.Log, made.Directory, made.Events, float64(made.Bytes)/1e6, made.Seconds)
	return nil
}

// backupJSON is the form in which backup prints what it did as JSON.
type backupJSON struct {
	Log       string  `json:"log"`
	Directory string  `json:"directory"`
	Events    uint64  `json:"events"`
	Bytes     int64   `json:"bytes"` // of the copy's files, shared ones included
	Seconds   float64 `json:"seconds"`
}

// fileBytes returns the lengths of the files in a directory.
func fileBytes(dir string) (bytes int64, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		info, err := os.Stat(filepath.Join(dir, e.Name()))
		if err != nil {
			return 0, err
		}
		bytes += info.Size()
	}
	return bytes, nil
}

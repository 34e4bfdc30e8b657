package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/archive/s3"
)

type archiveCmd struct {
	Run     archiveRunCmd     `cmd:"" help:"Copy a log to an archive, and go on with what comes."`
	Status  archiveStatusCmd  `cmd:"" help:"Show what an archive holds."`
	Verify  archiveVerifyCmd  `cmd:"" help:"Check everything that an archive holds."`
	Prove   archiveProveCmd   `cmd:"" help:"Prove that an event was recorded, or check such a proof."`
	Compact archiveCompactCmd `cmd:"" help:"Sort what is archived by stream, so that streams load fast."`
}

// storeFlag is how commands name where archives are.
type storeFlag struct {
	Archive string `name:"archive" env:"LEAT_ARCHIVE" required:"" placeholder:"URL" help:"Where the archive is: file://PATH is a directory, s3://BUCKET/PREFIX object storage (?endpoint=URL, ?region=NAME, ?profile=NAME)."`
}

// archiveFlags are how commands name the archive of a log.
type archiveFlags struct {
	storeFlag
	LogID string   `name:"id" env:"LEAT_LOG_ID" placeholder:"ID" help:"The ID of the archived log; may be left out when the archives of no other logs are there."`
	Key   []string `name:"public-key" env:"LEAT_PUBLIC_KEY" placeholder:"KEY" help:"Trust what is signed with this public key and no other (or, of several, any). Left out, the archive's own word is taken for its keys."`
}

// open opens the archive.
func (f archiveFlags) open(ctx context.Context) (*archive.Archive, error) {
	store, id, err := f.find(ctx)
	if err != nil {
		return nil, err
	}
	return archive.Open(ctx, store, id, f.Key...)
}

// find opens the store and returns the ID of the archived log.
func (f archiveFlags) find(ctx context.Context) (archive.Store, string, error) {
	store, err := openStore(ctx, f.Archive)
	if err != nil || f.LogID != "" {
		return store, f.LogID, err
	}
	id, err := onlyLog(ctx, store, f.Archive)
	return store, id, err
}

// openStore opens the store that a URL names. Package archive knows no object
// storage, so that only this command has to be compiled with its client.
func openStore(ctx context.Context, url string) (archive.Store, error) {
	if strings.HasPrefix(url, "s3://") {
		return s3.Open(ctx, url, s3.Limits{})
	}
	return archive.OpenStore(url)
}

// onlyLog returns the ID of the one log that a store archives.
func onlyLog(ctx context.Context, store archive.Store, url string) (string, error) {
	logs, err := archive.Logs(ctx, store)
	switch {
	case err != nil:
		return "", err
	case len(logs) == 0:
		return "", fmt.Errorf("%s: %w: no archive is there", url, leat.ErrNotFound)
	case len(logs) > 1:
		return "", &leat.InvalidError{Field: "--id", Limit: fmt.Sprintf("one of the logs archived there: %q", logs), Got: "nothing"}
	}
	return logs[0], nil
}

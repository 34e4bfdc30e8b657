package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/eventjson"
)

type archiveProveCmd struct {
	Archive string   `env:"LEAT_ARCHIVE" placeholder:"URL" help:"Where the archive is: file://PATH is a directory, s3://BUCKET/PREFIX object storage (?endpoint=URL, ?region=NAME, ?profile=NAME)."`
	LogID   string   `name:"id" env:"LEAT_LOG_ID" placeholder:"ID" help:"The ID of the archived log; may be left out when the archives of no other logs are there."`
	Key     []string `name:"public-key" env:"LEAT_PUBLIC_KEY" placeholder:"KEY" help:"Trust what is signed with this public key and no other (or, of several, any)."`

	Stream  string `placeholder:"STREAM" help:"Prove an event by its stream and version."`
	Version uint64 `placeholder:"N" help:"The event's version."`
	Shard   string `placeholder:"SHARD" help:"Prove an event by its shard and sequence."`
	Seq     uint64 `placeholder:"N" help:"The event's sequence."`
	Size    uint64 `placeholder:"N" help:"Prove it for the checkpoint that covers so many events of the shard, not for the newest."`
	Bare    bool   `help:"Leave the event out of the proof: who checks it has to have it."`
	Since   string `placeholder:"FILE" type:"existingfile" help:"An earlier signed checkpoint. Prove, or with --check learn, that the newest one goes on from it."`

	Check string `placeholder:"FILE" type:"existingfile" help:"Check a proof; needs neither the archive nor a log."`
	Event string `placeholder:"FILE" type:"existingfile" help:"With --check: the event as JSON, as leat read --json prints it."`
	JSON  bool   `help:"With --check: print one JSON object."`
}

func (archiveProveCmd) Help() string {
	return `
Prints a proof that an event is part of what the archive has signed, byte for byte. Whoever gets it needs the public key
besides, and no access to the archive. The proof holds the event, unless --bare leaves it out.

	$ leat archive prove --archive file:///backup/leat --stream order-536365 --version 1 > order.tlog-proof
	$ leat archive prove --check order.tlog-proof --public-key leat+8f5c1d2e+A…
	$ leat archive prove --check order.tlog-proof --public-key leat+8f5c1d2e+A… --event order.json

With --since it proves that everything an earlier checkpoint spoke for is still there, unchanged. A file with the
checkpoints of several shards needs --shard too.

	$ leat archive status --archive file:///backup/leat --checkpoints > november
	$ leat archive prove --archive file:///backup/leat --since november > december.proof
	$ leat archive prove --check december.proof --since november --public-key leat+8f5c1d2e+A…
`
}

func (cmd archiveProveCmd) Validate() error {
	byStream, bySeq := cmd.Stream != "" || cmd.Version > 0, cmd.Seq > 0
	switch {
	case cmd.Check != "" && (byStream || bySeq || cmd.Size > 0 || cmd.Bare):
		return errors.New("--check reads which event it is about from the proof: leave out --stream, --version, --seq, --size and --bare")
	case cmd.Check != "" && len(cmd.Key) == 0:
		return errors.New("--check needs --public-key: a proof says nothing to those who do not know whose word to take")
	case cmd.Check != "":
		return nil
	case cmd.Event != "" || cmd.JSON:
		return errors.New("--event and --json are for --check")
	case cmd.Archive == "":
		return errors.New("give the archive with --archive, or a proof with --check")
	case cmd.Since != "" && (byStream || bySeq || cmd.Bare):
		return errors.New("--since is about checkpoints: leave out --stream, --version, --seq and --bare")
	case cmd.Since != "":
		return nil
	case byStream == bySeq, byStream && (cmd.Stream == "" || cmd.Version == 0), bySeq && cmd.Shard == "":
		return errors.New("name the event with --stream and --version, or with --shard and --seq")
	}
	return nil
}

func (cmd archiveProveCmd) Run(ctx context.Context, c console) error {
	if cmd.Check != "" {
		return cmd.check(c)
	}
	a, err := archiveFlags{storeFlag{cmd.Archive}, cmd.LogID, cmd.Key}.open(ctx)
	if err != nil {
		return err
	}
	var proof fmt.Stringer
	if cmd.Since != "" {
		proof, err = cmd.consistency(ctx, a)
	} else {
		proof, err = cmd.inclusion(ctx, a)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(c.out, proof)
	return err
}

func (cmd archiveProveCmd) inclusion(ctx context.Context, a *archive.Archive) (fmt.Stringer, error) {
	shard, seq := leat.ShardID(cmd.Shard), cmd.Seq
	if cmd.Stream != "" {
		var err error
		if shard, seq, err = findVersion(ctx, a, cmd.Stream, cmd.Version); err != nil {
			return nil, err
		}
	}
	p, _, err := a.Prove(ctx, shard, seq, cmd.Size)
	if err != nil {
		return nil, err
	}
	if cmd.Bare {
		p.Leaf = nil
	}
	return p, nil
}

// findVersion returns where an event is archived.
func findVersion(ctx context.Context, a *archive.Archive, stream string, version uint64) (leat.ShardID, uint64, error) {
	for e, err := range a.Stream(ctx, stream, leat.Range{After: version - 1, Through: version}) {
		return e.Shard, e.Seq, err
	}
	return "", 0, fmt.Errorf("version %d of stream %s in the archive of log %s: %w", version, stream, a.Log(), leat.ErrNotFound)
}

func (cmd archiveProveCmd) consistency(ctx context.Context, a *archive.Archive) (fmt.Stringer, error) {
	old, err := earlier(cmd.Since, leat.ShardID(cmd.Shard), a.ParseCheckpoints)
	if err != nil {
		return nil, err
	}
	p, err := a.ProveConsistency(ctx, old, cmd.Size)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// earlier returns the checkpoint in the file that --since names: the one about a
// shard when a shard is wanted.
func earlier(file string, shard leat.ShardID, parse func([]byte) ([]*archive.Checkpoint, error)) (*archive.Checkpoint, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	all, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var found []*archive.Checkpoint
	for _, c := range all {
		if shard == "" || c.Shard == shard {
			found = append(found, c)
		}
	}
	if len(found) != 1 {
		return nil, &leat.InvalidError{
			Field: "--since " + file, Limit: "one checkpoint, or one of the shard given with --shard", Got: fmt.Sprintf("%d", len(found)),
		}
	}
	return found[0], nil
}

// A checked proof is what --check prints as JSON.
type checked struct {
	Log      string           `json:"log"`
	Shard    leat.ShardID     `json:"shard"`
	Size     uint64           `json:"size"` // events that the checkpoint covers
	Root     string           `json:"root"`
	Manifest string           `json:"manifest"`        // SHA-256
	Old      *uint64          `json:"old,omitempty"`   // events that the earlier checkpoint covers
	Event    *eventjson.Event `json:"event,omitempty"` // what is proven
}

func (cmd archiveProveCmd) check(c console) error {
	text, err := os.ReadFile(cmd.Check)
	if err != nil {
		return err
	}
	if strings.HasPrefix(string(text), "old ") {
		return cmd.checkConsistency(c, string(text))
	}
	return cmd.checkInclusion(c, string(text))
}

func (cmd archiveProveCmd) checkInclusion(c console, text string) error {
	p, err := archive.ParseProof(text)
	if err != nil {
		return fmt.Errorf("%s: %w", cmd.Check, err)
	}
	e, err := cmd.event(p)
	if err != nil {
		return err
	}
	checkpoint, err := archive.VerifyProof(p, &e, cmd.Key...)
	if err == nil {
		err = cmd.ofLog(checkpoint)
	}
	if err != nil {
		return err
	}
	e.Shard, e.Seq = checkpoint.Shard, p.Index+1
	if cmd.JSON {
		out := describeCheckpoint(checkpoint)
		event := eventjson.FromRecorded(&e)
		out.Event = &event
		return cmd.print(c, out)
	}
	fmt.Fprintf(c.out, "✓ event %s, %s version %d, was recorded as sequence %d of %s of log %s\n",
		printable([]byte(e.ID)), printable([]byte(e.Stream)), e.Version, e.Seq, e.Shard, checkpoint.Log)
	_, err = fmt.Fprintf(c.out, "  committed at %s; signed as one of %d events with the tree root %s\n", e.At.Format("2006-01-02T15:04:05.999999999Z07:00"), checkpoint.Size, checkpoint.Root)
	return err
}

// event returns the event that a proof is to be about.
func (cmd archiveProveCmd) event(p *archive.Proof) (leat.Recorded, error) {
	if cmd.Event == "" {
		e, err := p.Event()
		if errors.Is(err, leat.ErrNotFound) {
			err = fmt.Errorf("%w: give it with --event", err)
		}
		return e, err
	}
	line, err := os.ReadFile(cmd.Event)
	if err != nil {
		return leat.Recorded{}, err
	}
	e, err := eventjson.ParseRecorded(line)
	if err != nil {
		return leat.Recorded{}, fmt.Errorf("%s: %w", cmd.Event, err)
	}
	return e, nil
}

func (cmd archiveProveCmd) checkConsistency(c console, text string) error {
	if cmd.Since == "" {
		return &leat.InvalidError{Field: "--since", Limit: "the earlier checkpoint, which a consistency proof begins at", Got: "nothing"}
	}
	p, err := archive.ParseConsistencyProof(text)
	if err != nil {
		return fmt.Errorf("%s: %w", cmd.Check, err)
	}
	// Of several checkpoints, the one about the shard of the proof.
	later, err := archive.ParseCheckpoint(p.Checkpoint, cmd.Key...)
	if err != nil {
		return fmt.Errorf("%s: %w", cmd.Check, err)
	}
	old, err := earlier(cmd.Since, later.Shard, func(text []byte) ([]*archive.Checkpoint, error) {
		return archive.ParseCheckpoints(text, cmd.Key...)
	})
	if err != nil {
		return err
	}
	checkpoint, err := archive.VerifyConsistency(p, old, cmd.Key...)
	if err == nil {
		err = cmd.ofLog(checkpoint)
	}
	if err != nil {
		return err
	}
	if cmd.JSON {
		out := describeCheckpoint(checkpoint)
		out.Old = &old.Size
		return cmd.print(c, out)
	}
	_, err = fmt.Fprintf(c.out, "✓ the %d events of %s of log %s begin with the %d of the earlier checkpoint, none changed or removed\n",
		checkpoint.Size, checkpoint.Shard, checkpoint.Log, old.Size)
	return err
}

// ofLog checks that a proof is about the log that was asked for.
func (cmd archiveProveCmd) ofLog(c *archive.Checkpoint) error {
	if cmd.LogID != "" && c.Log != cmd.LogID {
		return fmt.Errorf("%w: the proof is about log %s, not %s", leat.ErrCorrupt, c.Log, cmd.LogID)
	}
	return nil
}

func describeCheckpoint(c *archive.Checkpoint) checked {
	return checked{Log: c.Log, Shard: c.Shard, Size: c.Size, Root: c.Root.String(), Manifest: c.Manifest}
}

func (archiveProveCmd) print(c console, out checked) error {
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	return e.Encode(out)
}

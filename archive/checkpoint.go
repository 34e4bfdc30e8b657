package archive

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/leathq/leat"
)

// A Checkpoint is the signed statement of an archive about one of its shards: so
// many events, with this root of their Merkle tree. Its text form is that of
// C2SP tlog-checkpoint, a signed note.
type Checkpoint struct {
	Log   string
	Shard leat.ShardID
	Size  uint64    // events, which is also the last sequence
	Root  tlog.Hash // of the tree as RFC 6962 has it

	Number   uint64 // of the manifest that holds it
	Manifest string // SHA-256 of that manifest without the checkpoint, in hexadecimal

	Note string // as signed
}

// text returns what is signed.
func (c *Checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\nmanifest %d %s\n", origin(c.Log, c.Shard), c.Size, encodeHash(c.Root), c.Number, c.Manifest)
}

func origin(log string, shard leat.ShardID) string { return "leat/" + log + "/" + string(shard) }

// sign sets Note.
func (c *Checkpoint) sign(k *Key) error {
	signed, err := note.Sign(&note.Note{Text: c.text()}, k.signer)
	c.Note = string(signed)
	return err
}

// ParseCheckpoint reads a signed checkpoint, and verifies that it was signed with
// one of the given public keys (see Key.Public).
func ParseCheckpoint(signed string, public ...string) (*Checkpoint, error) {
	keys, err := verifiers(public)
	if err != nil {
		return nil, err
	}
	return parseCheckpoint(signed, keys)
}

// verifiers parses public keys.
func verifiers(public []string) ([]note.Verifier, error) {
	var keys []note.Verifier
	for _, p := range public {
		v, err := note.NewVerifier(strings.TrimSpace(p))
		if err != nil {
			return nil, &leat.InvalidError{Field: "public key", Limit: `a line such as "leat+8f5c…+A…"`, Got: p}
		}
		keys = append(keys, v)
	}
	return keys, nil
}

// openNote returns the text of a signed note once one of its signatures is known
// to be of one of the keys.
func openNote(signed string, keys []note.Verifier) (string, error) {
	n, err := note.Open([]byte(signed), note.VerifierList(keys...))
	var unknown *note.UnverifiedNoteError
	if errors.As(err, &unknown) {
		return "", fmt.Errorf("%w: it is not signed with a key that is trusted", leat.ErrCorrupt)
	}
	if err != nil {
		return "", fmt.Errorf("%w: its signature: %w", leat.ErrCorrupt, err)
	}
	for _, s := range slices.Concat(n.Sigs, n.UnverifiedSigs) {
		// Package base64 reads several texts as the same bytes. One is enough, so
		// that no byte of a note can change without being noticed.
		if b, err := base64.StdEncoding.DecodeString(s.Base64); err != nil || base64.StdEncoding.EncodeToString(b) != s.Base64 {
			return "", fmt.Errorf("%w: its signature is written in another form than signatures are", leat.ErrCorrupt)
		}
	}
	return n.Text, nil
}

func parseCheckpoint(signed string, keys []note.Verifier) (*Checkpoint, error) {
	text, err := openNote(signed, keys)
	if err != nil {
		return nil, fmt.Errorf("the checkpoint: %w", err)
	}
	c := &Checkpoint{Note: signed}
	lines := strings.Split(text, "\n")
	if len(lines) == 5 {
		if at := strings.LastIndexByte(lines[0], '/'); at >= 0 {
			c.Log, c.Shard = strings.TrimPrefix(lines[0][:at], "leat/"), leat.ShardID(lines[0][at+1:])
		}
		c.Size, _ = strconv.ParseUint(lines[1], 10, 64)
		c.Root, _ = decodeHash(lines[2])
		_, _ = fmt.Sscanf(lines[3], "manifest %d %s", &c.Number, &c.Manifest)
	}
	if c.text() != text {
		return nil, fmt.Errorf("%w: the checkpoint is of another kind: %q", leat.ErrCorrupt, text)
	}
	return c, nil
}

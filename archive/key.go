package archive

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/leathq/leat"
)

// keyName is the name of keys in signatures.
const keyName = "leat"

// A Key signs the checkpoints of an archive: an Ed25519 key in the text form of
// golang.org/x/mod/sumdb/note. Who has the public part can tell that nobody but
// the owner of the key made the archive.
type Key struct {
	signer note.Signer
	text   string
	public string
}

// NewKey makes a key.
func NewKey() (*Key, error) {
	text, public, err := note.GenerateKey(rand.Reader, keyName)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return newKey(text, public)
}

func newKey(text, public string) (*Key, error) {
	signer, err := note.NewSigner(text)
	var verifier note.Verifier
	if err == nil {
		verifier, err = note.NewVerifier(public)
	}
	if err == nil && (signer.Name() != verifier.Name() || signer.KeyHash() != verifier.KeyHash()) {
		err = errors.New("the second line is not the public part of the first")
	}
	if err != nil {
		return nil, &leat.InvalidError{Field: "archive key", Limit: "the two lines of a key file", Got: err.Error()}
	}
	return &Key{signer, text, public}, nil
}

// Public returns the part of the key that others need: a verifier key of
// golang.org/x/mod/sumdb/note, one line such as "leat+8f5c…+A…".
func (k *Key) Public() string { return k.public }

// LoadKey reads the key in a file, and makes one first when there is no file.
// The file has two lines, of which the first is secret and the second Public.
// Keep a copy in another place than the archive: without it a new server can
// restore the log, but not go on under the same key.
func LoadKey(path string) (*Key, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = makeKey(path)
		if err == nil || errors.Is(err, fs.ErrExist) {
			data, err = os.ReadFile(path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("load the archive key: %w", err)
	}
	lines := strings.Fields(string(data))
	if len(lines) != 2 {
		return nil, &leat.InvalidError{Field: "archive key " + path, Limit: "two lines", Got: fmt.Sprint(len(lines))}
	}
	return newKey(lines[0], lines[1])
}

// makeKey makes a key and writes its file durably, unless it exists.
func makeKey(path string) error {
	k, err := NewKey()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"-*") // nobody else may read it
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = fmt.Fprintf(f, "%s\n%s\n", k.text, k.public)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(os.Link(f.Name(), path), syncDir(filepath.Dir(path)))
}

package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/leathq/leat"
)

// formatVersion is the version of the whole archive, log.json, manifests and
// segments alike.
const formatVersion = 1

// A description is log.json: what never changes about a log.
type description struct {
	Format int    `json:"format"`
	Log    string `json:"log"`
	Single bool   `json:"single"`
	Key    string `json:"key"` // public, of the first archiver

	// Signature is a signed note about the rest: see statement.
	Signature string `json:"signature"`
}

// sign sets the signature of a description that is complete but for it.
func (d *description) sign(k *Key) error {
	signed, err := note.Sign(&note.Note{Text: d.statement()}, k.signer)
	d.Signature = string(signed)
	return err
}

// statement returns what is signed of a description.
func (d *description) statement() string {
	unsigned := *d
	unsigned.Signature = ""
	return fmt.Sprintf("leat/%s\n%s %s\n", d.Log, descriptionName, hexSum(encodeJSON(unsigned)))
}

// verify checks that a description is signed with one of the keys.
func (d *description) verify(object string, keys []note.Verifier) error {
	text, err := openNote(d.Signature, keys)
	if err != nil {
		return corrupt(object, "holds what does not count, and names the key %s: %v", d.Key, err)
	}
	if text != d.statement() || strings.Count(d.Signature, "\n") != strings.Count(text, "\n")+2 {
		return corrupt(object, "holds a signature that is not its own")
	}
	return nil
}

// What a manifest says happened to a shard's part of the archive.
type manifestKind string

const (
	// kindOpen begins a chain, and each epoch of the log in a chain.
	kindOpen manifestKind = "open"
	// kindSegment adds a segment.
	kindSegment manifestKind = "segment"
	// kindClose ends the chain of a shard that is closed: all of it is archived.
	kindClose manifestKind = "close"
)

// A manifest is one link of a shard's chain. The order of its fields is that of
// the file.
type manifest struct {
	Format   int          `json:"format"`
	Kind     manifestKind `json:"kind"`
	Log      string       `json:"log"`
	Shard    leat.ShardID `json:"shard"`
	Number   uint64       `json:"number"`
	Previous string       `json:"previous"` // SHA-256 of the manifest before, in hexadecimal; empty in the first
	Epoch    uint64       `json:"epoch"`

	Lineage *lineage     `json:"lineage,omitempty"` // kindOpen
	Ended   []endedEpoch `json:"ended,omitempty"`   // kindOpen: the log's epochs before this one, oldest first
	Segment *segment     `json:"segment,omitempty"` // kindSegment

	Total total `json:"total"` // after this manifest
	Tree  tree  `json:"tree"`  // after this manifest, of Total.Events leaves

	// Checkpoint is what the archiver signed: see Checkpoint.
	Checkpoint string `json:"checkpoint"`
}

// A lineage is a shard's place among the others.
type lineage struct {
	From    leat.HashKey   `json:"from"`
	To      leat.HashKey   `json:"to"`
	Parents []leat.ShardID `json:"parents"`
}

// A segment describes a Parquet file.
type segment struct {
	Object     string    `json:"object"` // name below the log's folder
	SHA256     string    `json:"sha256"`
	Size       int64     `json:"size"` // bytes of the object
	First      uint64    `json:"first"`
	Last       uint64    `json:"last"`
	Events     uint64    `json:"events"`
	EventBytes int64     `json:"event_bytes"` // sum of Event.Size
	MinAt      time.Time `json:"min_at"`
	MaxAt      time.Time `json:"max_at"`
	MinTime    time.Time `json:"min_time"`
	MaxTime    time.Time `json:"max_time"`

	// Filter is where the Bloom filter of its streams lies.
	Filter extent `json:"filter"`
}

// An extent is a part of an object.
type extent struct {
	Offset int64  `json:"offset"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// extentOf describes a part of a file.
func extentOf(file []byte, offset, size int64) extent {
	return extent{offset, size, hexSum(file[offset : offset+size])}
}

// A total sums up a chain. Sequences begin at 1 and have no holes, so Events is
// also the last sequence archived.
type total struct {
	Events     uint64 `json:"events"`
	EventBytes int64  `json:"event_bytes"`
	Segments   uint64 `json:"segments"`
	Size       int64  `json:"size"` // bytes of the segments
}

// A link is a manifest and the SHA-256 of its file. The zero link comes before
// a chain.
type link struct {
	manifest
	sum string
}

// next returns a manifest that continues the chain, of a kind and yet without
// what that kind holds.
func (l link) next(kind manifestKind, log string, shard leat.ShardID, epoch uint64) manifest {
	return manifest{
		Format: formatVersion, Kind: kind, Log: log, Shard: shard,
		Number: l.Number + 1, Previous: l.sum, Epoch: epoch, Total: l.Total, Tree: l.Tree,
	}
}

// edge returns the edge of the tree after the manifest.
func (l link) edge() (edge, error) {
	if l.Number == 0 {
		return edge{}, nil
	}
	return l.Tree.edge(l.Total.Events)
}

// sign sets the checkpoint of a manifest that is complete but for it.
func (m *manifest) sign(k *Key) error {
	c, err := m.statement()
	if err != nil {
		return err
	}
	if err := c.sign(k); err != nil {
		return err
	}
	m.Checkpoint = c.Note
	return nil
}

// statement returns the checkpoint that a manifest must hold, not signed.
func (m *manifest) statement() (*Checkpoint, error) {
	unsigned := *m
	unsigned.Checkpoint = ""
	c := &Checkpoint{Log: m.Log, Shard: m.Shard, Size: m.Total.Events, Number: m.Number, Manifest: hexSum(encodeJSON(unsigned))}
	var err error
	c.Root, err = decodeHash(m.Tree.Root)
	return c, err
}

// verify returns the checkpoint of a manifest, which is signed with one of the
// keys and says what the manifest does.
func (m *manifest) verify(object string, keys []note.Verifier) (*Checkpoint, error) {
	c, err := parseCheckpoint(m.Checkpoint, keys)
	if err != nil {
		return nil, corrupt(object, "holds what does not count: %v", err)
	}
	want, err := m.statement()
	if err != nil {
		return nil, corrupt(object, "has a tree with the root %q", m.Tree.Root)
	}
	if c.text() != want.text() {
		return nil, corrupt(object, "holds a signed checkpoint that is not its own")
	}
	if strings.Count(c.Note, "\n") != strings.Count(c.text(), "\n")+2 {
		return nil, corrupt(object, "holds a checkpoint with other signatures beside its own")
	}
	return c, nil
}

// add records a segment in a manifest of kindSegment.
func (m *manifest) add(s segment) {
	m.Segment = &s
	m.Total.Events += s.Events
	m.Total.EventBytes += s.EventBytes
	m.Total.Segments++
	m.Total.Size += s.Size
}

// encodeJSON returns the file of a description or manifest: always the same
// bytes for the same value.
func encodeJSON(v any) []byte {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic("archive: " + err.Error()) // only on a time after the year 9999, which no log holds
	}
	return append(data, '\n')
}

// decodeJSON reads a file that encodeJSON wrote. It refuses every version but
// its own, and anything it does not know.
func decodeJSON(object string, data []byte, v any) error {
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return corrupt(object, "is no JSON object with a format: %v", err)
	}
	if version.Format != formatVersion {
		return fmt.Errorf("archive object %s has format %d: %w: this program reads format %d; read it with a newer one",
			object, version.Format, leat.ErrUnsupported, formatVersion)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return corrupt(object, "%v", err)
	}
	if !bytes.Equal(encodeJSON(v), data) {
		return corrupt(object, "is not written as format %d is", formatVersion)
	}
	return nil
}

// decodeManifest reads the manifest that follows another in the chain of a
// shard and checks that it does.
func decodeManifest(object string, data []byte, log string, shard leat.ShardID, prev link) (link, error) {
	l, err := decodeLink(object, data, log, shard, prev.Number+1)
	if err == nil {
		err = l.follows(object, prev)
	}
	if err != nil {
		return link{}, err
	}
	return l, nil
}

// follows checks that a link is the one after another.
func (l link) follows(object string, prev link) error {
	want := prev.next(l.Kind, l.Log, l.Shard, l.Epoch)
	if l.Segment != nil {
		want.add(*l.Segment)
	}
	sameTree := l.Tree.Root == prev.Tree.Root || prev.Number == 0
	switch {
	case l.Previous != prev.sum:
		return corrupt(object, "follows a manifest with SHA-256 %q, but that of %s is %q",
			l.Previous, manifestName(l.Shard, prev.Number), prev.sum)
	case l.Segment == nil && !sameTree:
		return corrupt(object, "adds no events, and its tree has another root")
	case l.Total != want.Total:
		return corrupt(object, "says the chain holds %+v, the manifests say %+v", l.Total, want.Total)
	case l.Segment != nil && l.Segment.First != prev.Total.Events+1:
		return corrupt(object, "holds events from %d on, the one before ends at %d", l.Segment.First, prev.Total.Events)
	case prev.Kind == kindClose:
		return corrupt(object, "follows the end of the chain")
	case l.Epoch < prev.Epoch, (l.Epoch > prev.Epoch) != (l.Kind == kindOpen):
		return corrupt(object, "is of kind %q and epoch %d, after epoch %d", l.Kind, l.Epoch, prev.Epoch)
	}
	return nil
}

// decodeLink reads a manifest and checks what can be checked without the one
// before it.
func decodeLink(object string, data []byte, log string, shard leat.ShardID, number uint64) (link, error) {
	var m manifest
	if err := decodeJSON(object, data, &m); err != nil {
		return link{}, err
	}
	switch {
	case m.Log != log:
		return link{}, corrupt(object, "belongs to log %q", m.Log)
	case m.Shard != shard:
		return link{}, corrupt(object, "belongs to %q", m.Shard)
	case m.Number != number:
		return link{}, corrupt(object, "has number %d", m.Number)
	case (m.Lineage != nil) != (m.Kind == kindOpen), (m.Segment != nil) != (m.Kind == kindSegment):
		return link{}, corrupt(object, "does not hold what a manifest of kind %q does", m.Kind)
	case m.Epoch == 0:
		return link{}, corrupt(object, "is of epoch 0")
	case m.Lineage != nil && m.Lineage.Parents == nil:
		return link{}, corrupt(object, "does not tell the parents of its shard")
	case m.Kind != kindOpen && m.Kind != kindSegment && m.Kind != kindClose:
		return link{}, corrupt(object, "is of an unknown kind, %q", m.Kind)
	}
	if err := m.checkEnded(object); err != nil {
		return link{}, err
	}
	if _, err := m.Tree.edge(m.Total.Events); err != nil {
		return link{}, corrupt(object, "has a wrong tree: %v", err)
	}
	if s := m.Segment; s != nil {
		if s.First == 0 || s.Last < s.First || s.Events != s.Last-s.First+1 {
			return link{}, corrupt(object, "says %d events are %d to %d", s.Events, s.First, s.Last)
		}
		if s.Object != segmentName(shard, s.First, s.Last) && s.Object != segmentNameOf(shard, s.First, s.Last, s.SHA256) {
			return link{}, corrupt(object, "names its segment %q", s.Object)
		}
	}
	return link{m, hexSum(data)}, nil
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// corrupt says what is wrong with an object.
func corrupt(object, format string, args ...any) error {
	return &objectError{object, fmt.Sprintf(format, args...)}
}

// An objectError is a [leat.ErrCorrupt] that names the object at fault.
type objectError struct {
	object string // full name
	what   string // is wrong, with "it" before it
}

func (e *objectError) Error() string {
	return fmt.Sprintf("archive object %s is %v: it %s", e.object, leat.ErrCorrupt, e.what)
}

func (e *objectError) Unwrap() error { return leat.ErrCorrupt }

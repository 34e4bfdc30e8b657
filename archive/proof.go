package archive

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/leathq/leat"
)

// Proofs are text that stands for itself: whoever has one needs the public key
// besides, and neither the archive nor this program.

// A Proof shows that an event is one of those a signed checkpoint speaks for.
// Its text form is that of C2SP tlog-proof.
type Proof struct {
	Index  uint64      // of the leaf: the event's sequence less one
	Hashes []tlog.Hash // from the leaf's sibling up, as RFC 6962 has them

	// Checkpoint is the signed checkpoint, see ParseCheckpoint.
	Checkpoint string

	// Leaf is the event as it was hashed, so that the proof holds what it proves;
	// docs/format-archive.md has the encoding. Without it the proof is for those
	// who have the event already. See Event.
	Leaf []byte
}

const proofHeader = "c2sp.org/tlog-proof@v1"

// String returns the text form.
func (p *Proof) String() string {
	var b strings.Builder
	b.WriteString(proofHeader + "\n")
	if p.Leaf != nil {
		fmt.Fprintf(&b, "extra %s\n", base64.StdEncoding.EncodeToString(p.Leaf))
	}
	fmt.Fprintf(&b, "index %d\n", p.Index)
	writeHashes(&b, p.Hashes)
	b.WriteString("\n" + p.Checkpoint)
	return b.String()
}

// ParseProof reads the text form. It proves nothing before VerifyProof.
func ParseProof(text string) (*Proof, error) {
	p := &Proof{}
	head, checkpoint, _ := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	if lines[0] != proofHeader {
		return nil, notAProof("proof", "the first line "+proofHeader, lines[0])
	}
	lines = lines[1:]
	if len(lines) > 0 && strings.HasPrefix(lines[0], "extra ") {
		leaf, err := base64.StdEncoding.DecodeString(lines[0][len("extra "):])
		if err != nil {
			return nil, notAProof("proof", "base64 after extra", err.Error())
		}
		p.Leaf, lines = leaf, lines[1:]
	}
	var err error
	if p.Index, p.Hashes, err = parseHashes("proof", "index", lines); err != nil {
		return nil, err
	}
	p.Checkpoint = checkpoint
	if p.String() != text {
		return nil, notAProof("proof", "as "+proofHeader+" is written", "another form")
	}
	return p, nil
}

// Event returns the event that the proof holds. It has no Seq or Commit yet.
// Unless VerifyProof accepts it, anybody may have written it.
func (p *Proof) Event() (leat.Recorded, error) {
	if p.Leaf == nil {
		return leat.Recorded{}, fmt.Errorf("the proof: %w: it does not hold the event, which has to be given", leat.ErrNotFound)
	}
	return decodeLeaf(p.Leaf)
}

// VerifyProof returns the checkpoint that speaks for an event when the proof
// holds: the checkpoint is signed with one of the public keys (see Key.Public),
// and the event, to the last byte, is where the proof says among those that it
// covers. The event's Shard and Seq are compared when they are given; look at
// Log and Shard of the checkpoint to learn where the event was recorded. A proof
// that does not hold is [leat.ErrCorrupt].
func VerifyProof(p *Proof, e *leat.Recorded, public ...string) (*Checkpoint, error) {
	c, err := ParseCheckpoint(p.Checkpoint, public...)
	if err != nil {
		return nil, fmt.Errorf("verify the proof: %w", err)
	}
	var leaves leafHasher
	switch hash := leaves.hash(e); {
	case p.Index >= c.Size || c.Size > maxTree:
		return nil, refuted("its index is %d, and the checkpoint covers %d events", p.Index, c.Size)
	case e.Shard != "" && e.Shard != c.Shard:
		return nil, refuted("it is about %s, the event is of %s", c.Shard, e.Shard)
	case e.Seq != 0 && e.Seq != p.Index+1:
		return nil, refuted("it is about sequence %d, the event has %d", p.Index+1, e.Seq)
	case tlog.CheckRecord(p.Hashes, int64(c.Size), c.Root, int64(p.Index), hash) != nil:
		return nil, refuted("event %s of stream %s, as it was given, is not what was recorded as sequence %d of %s",
			e.ID, e.Stream, p.Index+1, c.Shard)
	}
	return c, nil
}

// A ConsistencyProof shows that what a checkpoint speaks for begins with all that
// an earlier one spoke for. Its text form is what C2SP tlog-witness has a log
// send to a witness.
type ConsistencyProof struct {
	Old    uint64      // size that the earlier checkpoint has
	Hashes []tlog.Hash // as RFC 6962 has them

	// Checkpoint is the later signed checkpoint, see ParseCheckpoint.
	Checkpoint string
}

// String returns the text form.
func (p *ConsistencyProof) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "old %d\n", p.Old)
	writeHashes(&b, p.Hashes)
	b.WriteString("\n" + p.Checkpoint)
	return b.String()
}

// ParseConsistencyProof reads the text form. It proves nothing before
// VerifyConsistency.
func ParseConsistencyProof(text string) (*ConsistencyProof, error) {
	p := &ConsistencyProof{}
	head, checkpoint, _ := strings.Cut(text, "\n\n")
	var err error
	if p.Old, p.Hashes, err = parseHashes("consistency proof", "old", strings.Split(head, "\n")); err != nil {
		return nil, err
	}
	p.Checkpoint = checkpoint
	if p.String() != text {
		return nil, notAProof("consistency proof", "as docs/format-archive.md has it", "another form")
	}
	return p, nil
}

// VerifyConsistency returns the later checkpoint when the proof holds: it is
// signed with one of the public keys, is of the same log and shard as the earlier
// one, and the events of that are the first of its own. Whether the earlier one
// is signed its reader has checked, see ParseCheckpoint. A proof that does not
// hold is [leat.ErrCorrupt].
func VerifyConsistency(p *ConsistencyProof, old *Checkpoint, public ...string) (*Checkpoint, error) {
	c, err := ParseCheckpoint(p.Checkpoint, public...)
	if err != nil {
		return nil, fmt.Errorf("verify the consistency proof: %w", err)
	}
	switch {
	case c.Log != old.Log || c.Shard != old.Shard:
		return nil, refuted("it is about %s of log %s, the earlier checkpoint about %s of log %s", c.Shard, c.Log, old.Shard, old.Log)
	case p.Old != old.Size:
		return nil, refuted("it begins at %d events, the earlier checkpoint has %d", p.Old, old.Size)
	case c.Size < old.Size || c.Size > maxTree:
		return nil, refuted("its checkpoint covers %d events, the earlier one %d", c.Size, old.Size)
	case checkTree(p.Hashes, c, old) != nil:
		return nil, refuted("the %d events of the later checkpoint do not begin with the %d of the earlier one", c.Size, old.Size)
	}
	return c, nil
}

// checkTree is tlog.CheckTree, and knows that every tree begins with the empty
// one.
func checkTree(hashes []tlog.Hash, c, old *Checkpoint) error {
	if old.Size == 0 {
		empty := edge{}
		if len(hashes) > 0 || old.Root != empty.root() {
			return fmt.Errorf("%w: not the empty tree", leat.ErrCorrupt)
		}
		return nil
	}
	return tlog.CheckTree(hashes, int64(c.Size), c.Root, int64(old.Size), old.Root)
}

// maxTree bounds the size of a tree, far beyond what any shard holds, so that it
// is a number for package tlog.
const maxTree = 1 << 60

// maxHashes is more than any proof about a tree of maxTree leaves has.
const maxHashes = 128

func writeHashes(b *strings.Builder, hashes []tlog.Hash) {
	for _, h := range hashes {
		b.WriteString(encodeHash(h) + "\n")
	}
}

// parseHashes reads the line "WORD NUMBER" and those of hashes after it.
func parseHashes(field, word string, lines []string) (n uint64, hashes []tlog.Hash, err error) {
	if len(lines) == 0 {
		lines = []string{""}
	}
	number, ok := strings.CutPrefix(lines[0], word+" ")
	if n, err = strconv.ParseUint(number, 10, 64); err != nil || !ok {
		return 0, nil, notAProof(field, "the line "+word+" and a number", lines[0])
	}
	if len(lines) > maxHashes {
		return 0, nil, notAProof(field, fmt.Sprintf("up to %d hashes", maxHashes), strconv.Itoa(len(lines)-1))
	}
	for _, line := range lines[1:] {
		h, err := decodeHash(line)
		if err != nil {
			return 0, nil, notAProof(field, "hashes in base64", line)
		}
		hashes = append(hashes, h)
	}
	return n, hashes, nil
}

func notAProof(field, limit, got string) error {
	const brief = 100
	if len(got) > brief {
		got = got[:brief] + "…"
	}
	return &leat.InvalidError{Field: field, Limit: limit, Got: fmt.Sprintf("%q", got)}
}

func refuted(format string, args ...any) error {
	return fmt.Errorf("%w: the proof does not hold: %s", leat.ErrCorrupt, fmt.Sprintf(format, args...))
}

// ParseCheckpoints reads signed checkpoints that follow each other in a text,
// and verifies each as ParseCheckpoint does.
func ParseCheckpoints(text []byte, public ...string) ([]*Checkpoint, error) {
	keys, err := verifiers(public)
	if err != nil {
		return nil, err
	}
	return parseCheckpoints(text, keys)
}

func parseCheckpoints(text []byte, keys []note.Verifier) ([]*Checkpoint, error) {
	var all []*Checkpoint
	for _, signed := range splitNotes(text) {
		c, err := parseCheckpoint(signed, keys)
		if err != nil {
			return nil, fmt.Errorf("checkpoint %d: %w", len(all)+1, err)
		}
		all = append(all, c)
	}
	return all, nil
}

// splitNotes divides a text into signed notes. A note is lines of text, an empty
// line, and the lines of signatures; more empty lines may stand between notes.
func splitNotes(text []byte) []string {
	var notes []string
	for {
		text = bytes.TrimLeft(text, "\n")
		if len(text) == 0 {
			return notes
		}
		end := len(text)
		if signed := bytes.Index(text, []byte("\n\n")); signed >= 0 {
			if next := bytes.Index(text[signed+2:], []byte("\n\n")); next >= 0 {
				end = signed + 2 + next + 1
			}
		}
		notes = append(notes, string(text[:end]))
		text = text[end:]
	}
}

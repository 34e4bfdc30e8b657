package archive

import (
	"encoding/base64"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// The events of a shard are the leaves of a Merkle tree as RFC 6962 has it: that
// of sequence n is leaf n-1. Each manifest holds the tree's edge after its events,
// the roots of the greatest complete subtrees from left to right. Together with
// the leaf hashes in the segments that is all a proof needs: docs/format-archive.md
// tells how.

// An edge is the edge of a tree: as many hashes as size has bits set.
type edge struct {
	size   uint64
	hashes []tlog.Hash // of the greatest complete subtrees, from left to right
}

// add adds a leaf.
func (e *edge) add(leaf tlog.Hash) {
	for range bits.TrailingZeros64(^e.size) {
		last := len(e.hashes) - 1
		leaf = tlog.NodeHash(e.hashes[last], leaf)
		e.hashes = e.hashes[:last]
	}
	e.hashes = append(e.hashes, leaf)
	e.size++
}

// root returns the hash of the whole tree.
func (e *edge) root() tlog.Hash {
	if e.size == 0 {
		h, _ := tlog.TreeHash(0, nil) // cannot fail
		return h
	}
	h := e.hashes[len(e.hashes)-1]
	for i := len(e.hashes) - 2; i >= 0; i-- {
		h = tlog.NodeHash(e.hashes[i], h)
	}
	return h
}

func (e *edge) clone() edge { return edge{e.size, append([]tlog.Hash(nil), e.hashes...)} }

// A tree is what a manifest says of the tree after its events.
type tree struct {
	Root string   `json:"root"` // hashes in base64
	Edge []string `json:"edge"`
}

func newTree(e *edge) tree {
	t := tree{Root: encodeHash(e.root()), Edge: make([]string, len(e.hashes))}
	for i, h := range e.hashes {
		t.Edge[i] = encodeHash(h)
	}
	return t
}

// edge returns the edge of the tree of so many leaves.
func (t *tree) edge(size uint64) (edge, error) {
	if len(t.Edge) != bits.OnesCount64(size) {
		return edge{}, fmt.Errorf("the edge of a tree of %d leaves has %d hashes, not %d", size, bits.OnesCount64(size), len(t.Edge))
	}
	e := edge{size: size}
	for _, text := range t.Edge {
		h, err := decodeHash(text)
		if err != nil {
			return edge{}, err
		}
		e.hashes = append(e.hashes, h)
	}
	if root := encodeHash(e.root()); root != t.Root {
		return edge{}, fmt.Errorf("the root of the edge is %s, not %s", root, t.Root)
	}
	return e, nil
}

func encodeHash(h tlog.Hash) string { return base64.StdEncoding.EncodeToString(h[:]) }

func decodeHash(text string) (h tlog.Hash, err error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err == nil && len(b) != tlog.HashSize {
		err = fmt.Errorf("a hash of %d bytes", len(b))
	}
	copy(h[:], b)
	return h, err
}

// Package lease keeps the leases of a log for a server: see leat.Leases.
//
// Leases and members live in memory and are forgotten when the keeper ends.
// What may never be forgotten is which tokens were given out, because a token
// that came twice would fence nobody. So tokens are counted across all
// applications and shards, and a file says up to which number some may have
// been given out: it is written and synced before the first of a block of them
// is. A keeper that starts again begins above that number, and skips what is
// left of the block.
//
// The file is JSON, replaced atomically: {"format": 1, "tokens": 2000}.
package lease

// Package engine keeps a log in a directory of its own, on Pebble.
//
// Blocks are the truth: about 16 KiB of consecutive events of a shard, each
// with a checksum. docs/format-block.md describes them and all other keys.
// Beside them, and written with them, is an index: the version of each stream,
// where its events are, and every event ID ever recorded.
//
// # The way of an Append
//
// The caller's goroutine checks bounds, computes digests and encodes the
// events. It then joins the group that is gathering and waits. The committer,
// one goroutine, takes a group at a time: for each Append it looks up IDs,
// checks conditions, gives sequences, versions and times, and writes blocks and
// index into one Pebble batch. It hands the batch to Pebble and turns to the
// next group. The syncer, another goroutine, waits until the batch is synced,
// then publishes the new heads and answers the whole group at once.
//
// Two rules make this safe. Readers are bounded by the published heads, because
// Pebble shows a batch before it is synced. And every answer, also a conflict
// or a duplicate, waits until all groups before it are synced, because it may
// rest on what they wrote.
//
// # When storage fails
//
// An Append that would leave less than the reserve free on the disk is refused
// with [leat.ErrFull], so that Pebble does not run out of space in the middle. A
// write that finds the disk full all the same waits for space. Appends that are
// cancelled while they wait behind it are taken out of their group again.
//
// When a write or sync fails in any other way, nothing can be said about what is on
// the disk: the groups under way get [leat.ErrUncertain], the log takes no more
// ([ErrStopped]), and not a byte in its directory changes any more, whatever
// Pebble tries. Readers go on with what is durable. Closing and opening the log
// recovers it.
package engine

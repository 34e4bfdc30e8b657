// Package engine keeps a log in a directory of its own.
//
// Blocks are the truth: about 16 KiB of consecutive events of a shard, each
// with a checksum. They are in files of their own, to which groups of blocks are
// only added. Everything else is an index of them, derived later and kept in
// Pebble: where each block is, the version of each stream, where its events are,
// and every event ID ever recorded. docs/format-block.md describes files and
// keys.
//
// # The way of an Append
//
// The caller's goroutine checks bounds, computes digests, encodes the events and
// asks the store what it has to be asked. It then joins the group that is
// gathering, which grows to half of what waits and is under way, and waits. The
// committer, one goroutine, takes a group at a time: for each Append it looks up
// IDs, checks conditions, gives sequences, versions and times, notes them in
// memory, and makes blocks. It writes the blocks of the group to the end of a
// file, with one write, and turns to the next group. The syncer, another
// goroutine, syncs the file, with one fdatasync a group, then publishes the new
// heads and answers the whole group at once.
//
// # The index
//
// What the committer noted is a generation of the index, in memory. When it is
// full, a new one begins, and the indexer, a third goroutine, waits until its
// blocks are durable, sorts it into tables and has the store take them over,
// together with a note of how far the index goes now. Open reads again what lies
// above that note. A generation is full after [Options.GenerationEvents]; that
// bounds memory and the time to open after a crash, whatever the number of
// streams.
//
// Most appends need nothing of the store. A filter knows most streams that are
// new. A UUIDv7 above all those that left memory is new, or in memory; the
// greatest of them stay there, so that clocks which are a little ahead do no
// harm. What is looked up in the store is looked up by the caller, before it
// joins a group. The committer repeats that only when a generation has left
// memory in between.
//
// Readers look at the published heads first, then at memory, then at the store:
// what is missing in memory by then is in the store. Either says where a block
// is; decoded blocks are cached.
//
// # Durability
//
// Two rules make this safe. Readers are bounded by the published heads, because
// the index in memory has events before they are synced. And every answer, also
// a conflict or a duplicate, waits until all groups before it are synced, because
// it may rest on what they wrote.
//
// Each group says how far all before it was durable when it was written. So Open
// can tell a group that a crash left half written, which it drops, from one that
// is damaged, which is [leat.ErrCorrupt]. Groups that are whole but of which
// nothing says that they are durable are written again, into a new file: a sync
// may have failed, and what is read may be in memory only.
//
// Whoever waits for the disk counts as a running goroutine until Go's scheduler
// notices. A program that appends all the time gains about a tenth from one
// processor to spare (runtime.GOMAXPROCS), as the command leat has it.
//
// # When storage fails
//
// An Append that would leave less than the reserve free on the disk is refused
// with [leat.ErrFull], so that neither a group nor the index runs out of space in
// the middle. A write that finds the disk full all the same waits for space.
// Appends that are cancelled while they wait behind it are taken out of their
// group again.
//
// When a write or sync fails in any other way, nothing can be said about what is on
// the disk: the groups under way get [leat.ErrUncertain], the log takes no more
// ([ErrStopped]), and not a byte in its directory changes any more, whatever
// Pebble tries. Readers go on with what is durable. Closing and opening the log
// recovers it.
package engine

// Package archive keeps a log for good: its events in Parquet files, described
// by a chain of manifests, in a directory or in object storage (package
// [github.com/leathq/leat/archive/s3]).
//
// The log is for speed, the archive is for keeps. An [Archiver] copies every
// event of a [leat.Log], those of "$" streams included, exactly once and in
// order. [Open] reads an archive back and checks what it reads, so that what it
// yields is what the log held, or an error that names the object at fault.
//
// # How an event gets there
//
// The archiver reads each shard on from its last manifest and packs the events
// into a segment, a Parquet file that anyone can read. A segment is cut by size
// or by age, and never inside an Append. First the segment is created, then the
// manifest that names it. Creating the manifest is the commit: a segment
// without one does not exist.
//
// Every object is written once, under a name that is its own, and never
// changed: [Store.Create] fails when the object exists. Two archivers at work on
// one log can therefore do no harm. One of them creates manifest n, the other is
// told that it exists, reads the chain again and goes on from there. A killed
// archiver leaves at most a segment that no manifest names.
//
// The manifests of a shard form a chain: each holds the SHA-256 of the one
// before it and of the segment it describes, the edge of the Merkle tree over
// all events so far, and a signed [Checkpoint] about all of that.
//
// # What it proves
//
// [Verify] checks all of an archive and names each object at fault. A [Proof]
// shows to somebody who has nothing but the public key that an event was
// recorded, a [ConsistencyProof] that nothing was removed since a checkpoint
// that they kept.
//
// # How a stream is loaded
//
// Segments are in the order of the log. [Archive.Compact] writes each day, and
// then each month, again by stream, and signs a catalog of these files;
// [Archive.Stream] reads a few small parts of them, and the segments above.
//
// # One log of the two
//
// A [Tier] is a [leat.Log] over a log and its archive: what the log has trimmed is
// read from the archive, and readers never notice. With a [Cached] store it reads
// each object once.
//
// docs/format-archive.md describes every object byte for byte, how to query the
// segments with DuckDB, Athena or Spark, and what a third party can check.
package archive

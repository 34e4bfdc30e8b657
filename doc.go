// Package leat holds the contract of an event log: the types every part of
// Leat speaks in, the twelve promises every log keeps, and the two ways to
// read one, [Read] and [Follow].
//
// A leat is the channel that carries one stream past many mills. This package
// imports only the standard library and no adapter. A log that keeps its
// events in a directory is package engine; a log on which every implementation
// is measured is package leattest, which also tests the promises below.
//
// # Words
//
// An [Event] is an immutable record of one change. It belongs to a stream, the
// history of one entity such as "order-536365", whose category is what stands
// before the first "-". A log is a named, append-only record that holds many
// streams. It is divided into shards, each with a total order. The place of an
// event in its stream is its version (1, 2, 3 …), its place in its shard is its
// sequence (1, 2, 3 …). Shard and sequence together are a position. How far a
// reader has got in the whole log is a [Checkpoint].
//
// The workers of one application share the shards of a log through [Leases],
// which are kept beside it: each [Lease] carries a token that fences who had the
// shard before.
//
// # What every log promises
//
//  1. Durable before acknowledged. When Append returns nil, the events survive
//     a process kill and a power cut.
//
//  2. All or nothing. The events of one Append are recorded together,
//     contiguous in their shard, or not at all, also across a crash. A [Batch]
//     never ends inside an Append. All streams that an Append writes or names
//     in a condition have one route key (see [RouteKey]), else [ErrCrossKey].
//     A log created as single has one shard for good and lifts that rule.
//
//  3. Conditions are linearizable. Of two Appends racing for the same version
//     of a stream exactly one wins; the other gets a [*ConflictError] with the
//     stream's real version.
//
//  4. Idempotent for good. An ID is unique within its stream, and IDs are looked
//     up before conditions. See [Log] for the cases. IDs and stream heads
//     outlive trimming, splits, backup and restore.
//
//  5. Stable prefix, durable only. Once a reader has seen sequence n of a shard,
//     nothing ever appears at or below n there that it was not shown. Readers
//     see only what is durable.
//
//  6. Order. Within a shard by sequence and within a stream by version, both
//     without a hole. [Recorded.At] is max(clock, last + 1 ns), strictly
//     increasing within a shard, whatever the clock does. Across shards it is a
//     hint, not causality.
//
//  7. Exact bytes. Data and Meta come back as they went in, as do any stream
//     name, any UTF-8, empty data and zero bytes.
//
//  8. Bounds are told. Every log takes at least [MinLimits]; a [Limiter] tells
//     more. What is out of bounds is an [*InvalidError] that names the field
//     and the limit, and nothing is written. A full disk is [ErrFull]: readers
//     go on, and Append works again when space returns.
//
//  9. Splits lose no order. A stream is written to exactly one open shard, and
//     its history continues from that shard's ancestors. A closed shard ends
//     with Batch.Closed. Read and Follow yield a child only after its parents
//     are finished. A child's first At exceeds its parents' last.
//
//  10. Trimmed is told. A read that would begin below what is kept returns a
//     [*TrimmedError]. Trimming keeps stream heads and IDs, so versions go on
//     and conditions hold.
//
//  11. Restored is told. Restoring a log raises its epoch. A checkpoint that
//     lies beyond what its epoch kept is a [*DivergedError]; a reader never
//     waits in silence for sequences to come round again.
//
//  12. Nothing is thrown away quietly. Only trimming (retention after archiving)
//     and erasure remove data, and both are recorded as events of the log
//     itself, in the stream [SystemStream].
//
// Package leattest proves them for any implementation. The doc comments of
// [Log], [Submitter], [Trimmer], [Splitter] and [Importer] say the rest that an
// implementation has to know.
package leat

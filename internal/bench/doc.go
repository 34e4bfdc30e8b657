// Package bench drives a log and measures it, for the command leat bench.
//
// [Producers] append events, and [Follow] lets followers read along; [Replay]
// reads shards from the start, [Load] reads streams at random. Each returns
// [Figures] of the part that was measured. [WriteCeiling] and [ReadCeiling]
// measure what the machine could do at best with the same bytes, at about the
// same time: what counts of a rate is its ratio to that, because it survives a
// slow disk and a busy machine.
//
// The driver is part of the program it measures, so what it does itself is kept
// small (data and attributes are made beforehand) and is told:
// [Producers.Generation].
//
// docs/bench.md says what each figure means.
package bench

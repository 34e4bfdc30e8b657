// Package tolog forwards events into another log.
//
// A copy has the ID, type, source, time, content type and data of the event, and
// its Meta with where it was recorded first: leat.MetaOriginLog,
// leat.MetaOriginShard, leat.MetaOriginSeq. Its stream is the event's, unless
// [Destination.Stream] says otherwise. Version, sequence and At are the other
// log's own.
//
// The other log knows an event by its stream and ID, so one that is sent again,
// or comes another way, is not recorded again: each is there once.
//
// An event is not forwarded to the log in which it was recorded first. So logs
// may forward to each other, also in circles. A log does not forward to itself.
//
// Where that was is what Meta says, and Meta is the producer's: an event that was
// appended with the ID of the other log as leat.MetaOriginLog is not forwarded to
// it, and counted as skipped. A Transform that empties that attribute keeps
// producers from it, where nothing is forwarded into their log.
package tolog

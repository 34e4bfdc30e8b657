// Package client is a [leat.Log] at the other end of a network: [Dial] returns
// the log that a URL such as leat://localhost:7070/shop names.
//
// A Log keeps one connection and opens it again whenever it is lost. Calls wait
// for that and are sent again, for as long as their context and Options.Retry
// let them; readers go on where they stopped. Concurrent Appends ride together
// on one pipelined stream; Submit has many of them under way from one goroutine.
//
// # When an Append is cut off
//
// A connection that is lost after events were sent leaves their outcome
// unknown. Append then sends the same events again: their IDs, which it wrote
// before it sent anything, make that safe. Only when it has to give up, because
// its context or Options.Retry ends, does it return an error that is
// [leat.ErrUncertain]. So is one that says that nothing was written while an
// earlier sending may still arrive and be recorded: a full disk, or a condition
// that does not hold yet.
//
// A log that is sent the same events twice by this retrying says that they are
// duplicates. Append does not pass that on when they were recorded by its own
// call: if they stand, whole, above the highest place in their shard that this
// client had seen before, they are taken for its own, and Receipt.Duplicate is
// false. (Another program that sends the same events at the same moment, while
// connections are lost, can be told the same.)
package client

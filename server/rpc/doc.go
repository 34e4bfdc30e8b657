// Package rpc is the door for programs: it serves the logs of a server, and
// their leases, over gRPC. proto/leat/v1 is the contract, docs/wire.md says what
// keeps it compatible; package client is the other end.
//
// The door is careful with its memory. Messages are bounded by what a log takes
// at most, connections by the streams they may have open, each pipelined append
// stream by a window, all pipelined appends and all batches of shards at work by
// a budget of bytes each, and a client that does not read what it asked for is
// cut off. What it cannot bound is how many connections there are, each of which
// may hold a message of 40 MiB for each of its streams: that is for the listener
// it is given, and for who may reach it.
package rpc

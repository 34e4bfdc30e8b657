// Package rpc is the door for programs: it serves the logs of a server, and
// their leases, over gRPC. proto/leat/v1 is the contract, docs/wire.md says what
// keeps it compatible; package client is the other end.
//
// The door trusts nobody with its memory. Messages are bounded by what a log
// takes at most, connections by the streams they may have open, each pipelined
// append stream by a window, all appends and all batches at work by one budget
// of bytes each, and a client that does not read what it asked for is cut off.
package rpc

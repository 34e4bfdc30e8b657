// Package eventjson is the one JSON form of events, receipts, shards and logs:
// the command line prints and reads it, the HTTP API speaks it.
//
// The data of an event is embedded as JSON where that keeps its exact bytes,
// and in base64 otherwise; so every event survives the way there and back byte
// for byte.
package eventjson

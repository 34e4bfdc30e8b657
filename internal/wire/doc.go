// Package wire turns the contract of package leat into the messages of
// proto/leat/v1 and back, for both ends of the gRPC door.
package wire

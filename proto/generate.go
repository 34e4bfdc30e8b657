// Package proto holds the wire contract: leat/v1/*.proto and, beside them, the
// code that is generated from them and committed. After a change of a .proto
// file run
//
//	go generate ./proto
//
// with protoc on the path (Debian: protobuf-compiler). What generates Go is
// pinned in tools/proto/go.mod. docs/wire.md says which changes are allowed.
package proto

//go:generate ./generate.sh

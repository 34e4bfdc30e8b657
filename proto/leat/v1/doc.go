// Package leatv1 is the wire contract of Leat's gRPC door, as protoc generates
// it from the .proto files beside it, which document it. Programs in Go use
// package client instead.
package leatv1

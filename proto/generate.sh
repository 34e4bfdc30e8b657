#!/bin/sh
# Generates the Go code of leat/v1/*.proto beside them. See generate.go.
set -eu
cd "$(dirname "$0")"
plugins=$(mktemp -d)
trap 'rm -r "$plugins"' EXIT
go build -modfile=../tools/proto/go.mod -o "$plugins" \
	google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
PATH="$plugins:$PATH" protoc -I . \
	--go_out=. --go_opt=paths=source_relative \
	--go-grpc_out=. --go-grpc_opt=paths=source_relative \
	leat/v1/*.proto

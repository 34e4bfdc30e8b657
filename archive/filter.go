package archive

import (
	"context"
	"fmt"
	"slices"

	"github.com/parquet-go/parquet-go/bloom"
	"github.com/parquet-go/parquet-go/bloom/xxhash"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// A filter is a Bloom filter as Parquet has them: it tells that a value is not
// there, or that it may be.
type filter bloom.SplitBlockFilter

// parseFilter reads the header and the bits of a filter.
func parseFilter(data []byte) (filter, error) {
	var header format.BloomFilterHeader
	protocol := thrift.CompactProtocol{}
	r := protocol.NewReaderFromBytes(data)
	if err := thrift.NewDecoder(r).Decode(&header); err != nil {
		return nil, err
	}
	bits := slices.Clone(data[r.BytesRead():]) // words have to be aligned
	if len(bits) != int(header.NumBytes) || len(bits) == 0 || len(bits)%bloom.BlockSize != 0 {
		return nil, fmt.Errorf("a filter of %d bytes, not %d", len(bits), header.NumBytes)
	}
	return filter(bloom.MakeSplitBlockFilter(bits)), nil
}

// mayHold reports whether a value may be there.
func (f filter) mayHold(value string) bool {
	return bloom.SplitBlockFilter(f).Check(xxhash.Sum64([]byte(value)))
}

// filter returns the Bloom filter that is a part of an object.
func (a *Archive) filter(ctx context.Context, object string, s extent) (filter, error) {
	key := object + "#" + s.SHA256
	if v, ok := a.parts.get(key); ok {
		return v.(filter), nil
	}
	data, err := a.part(ctx, object, s)
	if err != nil {
		return nil, err
	}
	f, err := parseFilter(data)
	if err != nil {
		return nil, corrupt(object, "has no Bloom filter at %d: %v", s.Offset, err)
	}
	a.parts.put(key, f, s.Size)
	return f, nil
}

// part reads a part of an object, which has to be what its description says.
func (a *Archive) part(ctx context.Context, object string, s extent) ([]byte, error) {
	data, err := a.store.GetRange(ctx, object, s.Offset, s.Size)
	if err != nil {
		return nil, missing(object, err)
	}
	if sum := hexSum(data); sum != s.SHA256 {
		return nil, corrupt(object, "has SHA-256 %s in the %d bytes at %d, not %s", sum, s.Size, s.Offset, s.SHA256)
	}
	return data, nil
}

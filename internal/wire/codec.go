package wire

import (
	"sync"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that Codec extends
	"google.golang.org/grpc/mem"
)

// Codec is gRPC's codec for protobuf. It takes also messages that are encoded
// already, [*Outgoing], and leaves those for a [*Incoming] encoded.
var Codec encoding.CodecV2 = codec{encoding.GetCodecV2("proto")}

type codec struct{ encoding.CodecV2 }

// An Outgoing is an encoded message to be sent. Make one with NewOutgoing. Its
// memory is gRPC's once it was given to be sent.
type Outgoing struct{ Bytes *[]byte }

// NewOutgoing returns an empty message with room for so many bytes.
func NewOutgoing(size int) Outgoing {
	b := outgoing.Get(size)
	*b = (*b)[:0]
	return Outgoing{b}
}

// outgoing is the memory of messages. gRPC's own pool fills each buffer with
// zeros, up to a MiB, before it hands it out.
var outgoing pool

type pool struct{ buffers sync.Pool }

// mostPooled bounds the buffers that are kept.
const mostPooled = 2 << 20

func (p *pool) Get(size int) *[]byte {
	if b, ok := p.buffers.Get().(*[]byte); ok && cap(*b) >= size {
		*b = (*b)[:size]
		return b
	}
	b := make([]byte, size, max(size, 64<<10))
	return &b
}

func (p *pool) Put(b *[]byte) {
	if cap(*b) <= mostPooled {
		p.buffers.Put(b)
	}
}

// An Incoming is an encoded message that was received.
type Incoming struct{ Bytes []byte }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if m, ok := v.(*Outgoing); ok {
		return mem.BufferSlice{mem.NewBuffer(m.Bytes, &outgoing)}, nil
	}
	return c.CodecV2.Marshal(v)
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if m, ok := v.(*Incoming); ok {
		m.Bytes = data.Materialize()
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

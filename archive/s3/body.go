package s3

import (
	"errors"
	"io"
	"sync"
)

// A body sends the bytes that a caller gave to Create. The HTTP client may still
// be reading them when a request has been given up, and the caller may then use
// its memory again; so nothing is read after end.
type body struct {
	mu     sync.Mutex
	data   []byte
	offset int64
	ended  bool
}

var errEnded = errors.New("the request was given up")

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return 0, errEnded
	}
	if b.offset >= int64(len(b.data)) {
		return 0, io.EOF
	}
	n := copy(p, b.data[b.offset:])
	b.offset += int64(n)
	return n, nil
}

func (b *body) Seek(offset int64, whence int) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += b.offset
	case io.SeekEnd:
		offset += int64(len(b.data))
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning")
	}
	b.offset = offset
	return offset, nil
}

func (b *body) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended, b.data = true, nil
}

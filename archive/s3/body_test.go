package s3

import (
	"errors"
	"io"
	"testing"
)

// The HTTP client may go on reading after it has given a request up, which no
// test can make it do. From end on the memory is the caller's again.
func TestBodyIsNotReadAfterItsEnd(t *testing.T) {
	data := make([]byte, 1<<20)
	b := &body{data: data}
	begun, ended := make(chan struct{}), make(chan error)
	go func() {
		close(begun)
		for {
			if _, err := b.Read(make([]byte, 1)); err != nil {
				ended <- err
				return
			}
			if _, err := b.Seek(0, io.SeekStart); err != nil {
				ended <- err
				return
			}
		}
	}()
	<-begun
	b.end()
	data[0] = 1 // the race detector tells
	if err := <-ended; !errors.Is(err, errEnded) {
		t.Errorf("Read after the end: %v, want %v", err, errEnded)
	}
}

package bench

import (
	"errors"
	"os"
	"syscall"
)

// syncData makes what was written to f durable, as cheaply as the system can:
// with the file's size, without its times.
func syncData(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

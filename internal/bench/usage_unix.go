//go:build unix

package bench

import (
	"runtime"
	"syscall"
	"time"
)

func processCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakEver returns the most memory the process ever had resident.
func peakEver() int64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	most := int64(u.Maxrss) //nolint:unconvert // an int32 on some machines
	if runtime.GOOS == "darwin" || runtime.GOOS == "ios" {
		return most // bytes there, KiB elsewhere
	}
	return most << 10
}

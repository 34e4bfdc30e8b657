//go:build unix

package main

import (
	"runtime"
	"syscall"
)

// peakMemory returns the most memory the process ever had, in bytes.
func peakMemory() int64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	most := int64(u.Maxrss) //nolint:unconvert // an int32 on some machines
	if runtime.GOOS == "darwin" {
		return most
	}
	return most << 10 // KiB elsewhere
}

//go:build !linux

package bench

func forgetPeak() {}

func peakSinceForgotten() int64 { return 0 }

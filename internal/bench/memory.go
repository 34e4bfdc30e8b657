package bench

import "runtime/debug"

// ForgetMemory gives memory that is not used back to the system, and lets
// PeakBytes begin anew where the system can.
func ForgetMemory() {
	debug.FreeOSMemory()
	forgetPeak()
}

// PeakBytes returns the most memory the process had resident since ForgetMemory;
// since it began where the system cannot tell that, and 0 where it tells
// nothing.
func PeakBytes() int64 {
	if n := peakSinceForgotten(); n > 0 {
		return n
	}
	return peakEver()
}

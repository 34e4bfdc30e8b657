//go:build !unix

package bench

import "time"

func processCPU() time.Duration { return 0 }

// PeakBytes returns the most memory the process ever had resident, 0 where the
// system does not tell.
func PeakBytes() int64 { return 0 }

package bench

import (
	"runtime/metrics"
	"time"
)

// A Usage is what the process has used so far.
type Usage struct {
	CPU    time.Duration // in user and system mode; 0 where the system does not tell
	Allocs uint64        // objects allocated on the heap
}

// used returns what the process has used.
func used() Usage {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}, {Name: "/gc/heap/tiny/allocs:objects"}}
	metrics.Read(s)
	return Usage{CPU: processCPU(), Allocs: s[0].Value.Uint64() + s[1].Value.Uint64()}
}

// since returns what was used since an earlier moment.
func (u Usage) since(earlier Usage) Usage {
	return Usage{CPU: u.CPU - earlier.CPU, Allocs: u.Allocs - earlier.Allocs}
}

// HeapBytes returns the bytes of objects on the heap, dead ones that are not yet
// swept included.
func HeapBytes() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

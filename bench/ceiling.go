package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// A grouping says how much went to the disk at once.
type grouping struct {
	events float64 // of a group, on average
	bytes  int     // of a group
}

// writeCeiling writes groups to one file, each with one write and one
// fdatasync, for so long or until there are so many events. It is what the disk
// can do with nothing above it.
func writeCeiling(ctx context.Context, dir string, g grouping, b bounds) (measured, error) {
	f, err := os.Create(filepath.Join(dir, "ceiling"))
	if err != nil {
		return measured{}, err
	}
	defer func() { _ = f.Close() }() // each group is synced
	group := newData(g.bytes)
	var m measured
	start := time.Now()
	for float64(len(m.latencies))*g.events < float64(b.events) && time.Since(start) < b.time {
		if err := ctx.Err(); err != nil {
			return m, err
		}
		began := time.Now()
		if _, err := f.Write(group); err != nil {
			return m, err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return m, fmt.Errorf("fdatasync %s: %w", f.Name(), err)
		}
		m.latencies = append(m.latencies, time.Since(began))
	}
	m.elapsed = time.Since(start)
	slices.Sort(m.latencies)
	m.events = uint64(float64(len(m.latencies)) * g.events)
	return m, nil
}

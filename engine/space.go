package engine

import (
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/leathq/leat"
)

const (
	// Every byte appended needs an index, which may be sorted into other files
	// before those it was in are removed.
	spacePerByte = 2

	// spaceCheckEvery is how long an answer of the file system is trusted.
	spaceCheckEvery = 100 * time.Millisecond
)

// A space refuses what would leave less than a reserve free on the disk. It
// belongs to the committer.
type space struct {
	fs      vfs.FS
	dir     string
	reserve int64 // see Options.ReserveBytes

	checked time.Time
	budget  int64 // bytes that may be written before asking again
}

// take returns leat.ErrFull when n bytes of events are too many.
func (s *space) take(n int) error {
	if s.reserve < 0 {
		return nil
	}
	need := int64(n) * spacePerByte
	if need > s.budget || time.Since(s.checked) > spaceCheckEvery {
		if err := s.ask(need); err != nil {
			return err
		}
	}
	s.budget -= need
	return nil
}

func (s *space) ask(need int64) error {
	s.budget = 0
	room, err := askRoom(s.fs, s.dir, s.reserve, need)
	if err != nil {
		return fmt.Errorf("append %d bytes in %s: %w", need/spacePerByte, s.dir, err)
	}
	s.checked, s.budget = time.Now(), room
	return nil
}

// askRoom returns how many bytes may be written before the reserve is touched,
// leat.ErrFull when they are fewer than are needed.
func askRoom(fs vfs.FS, dir string, reserve, need int64) (int64, error) {
	usage, err := fs.GetDiskUsage(dir)
	if err != nil { // memory has no such thing, and not knowing is no reason to refuse
		usage = vfs.DiskUsage{AvailBytes: 1 << 62}
	}
	if reserve == 0 {
		reserve = min(defaultReserveBytes, int64(usage.TotalBytes/20))
	}
	free := int64(min(usage.AvailBytes, 1<<62))
	if free-need < reserve {
		return 0, fmt.Errorf("%w: %d bytes are free, of which %d are a reserve", leat.ErrFull, free, reserve)
	}
	return free - reserve, nil
}

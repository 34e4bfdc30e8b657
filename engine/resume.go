package engine

import (
	"errors"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// first returns where the first group begins.
func (f *blockFiles) first() blockEnd {
	files := f.list()
	if len(files) == 0 {
		return blockEnd{group: 1}
	}
	return blockEnd{files[0].number, files[0].start(), files[0].first}
}

// haveAll returns an error when a file is missing at the beginning.
func (f *blockFiles) haveAll(shards []*tail) error {
	files := f.list()
	if len(files) == 0 {
		return nil
	}
	for i, head := range files[0].heads {
		if i < len(shards) && head >= shards[i].Oldest {
			return f.missing(files[0].number - 1)
		}
	}
	return nil
}

// resume makes the files ready for further groups after what a scan found, and
// all that they hold durable. Groups that nothing proves to be so are written
// again, into a new file: a sync that failed may have left them in memory alone,
// where they look as if they were written. It returns where they begin now.
func (f *blockFiles) resume(s scan, shards []*tail) (blockEnd, error) {
	f.durable.Store(s.proven.group - 1)
	f.end, f.proven = s.proven, true
	if err := syncDir(f.fs, f.dir); err != nil { // a file may have got its name just now
		return blockEnd{}, err
	}
	if !s.empty {
		return f.carryOver(s, shards)
	}
	if s.end.file == 0 || s.end.at < s.size || s.end.at >= f.limit {
		return s.proven, nil // the next group begins a new file
	}
	return s.proven, f.reuse(s)
}

// reuse goes on in the last file, which ends with a group that is empty, and
// writes that again for the same reason.
func (f *blockFiles) reuse(s scan) error {
	file, err := f.fs.OpenReadWrite(f.path(s.end.file), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	proof := make([]byte, s.end.at-s.proven.at)
	if len(proof) > 0 {
		if _, err = file.ReadAt(proof, s.proven.at); err == nil {
			_, err = file.WriteAt(proof, s.proven.at)
		}
		if err == nil {
			err = file.Sync()
		}
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	files := f.list()
	f.writer, f.salt, f.end = newHandle(file), files[len(files)-1].salt, s.end
	f.durable.Store(s.end.group - 1)
	return nil
}

// carryOver begins a new file with the groups that are not proven.
func (f *blockFiles) carryOver(s scan, shards []*tail) (blockEnd, error) {
	b := f.next(shards)
	var groups []byte
	err := f.each(s.proven, s.end, func(g *storedGroup) error {
		at := len(groups)
		groups = append(groups, g.raw...)
		sealGroup(groups[at:], b.salt, g.number, g.durable)
		return nil
	})
	if err != nil {
		return blockEnd{}, err
	}
	at := len(groups)
	groups = append(groups, make([]byte, groupHeaderSize)...)
	sealGroup(groups[at:], b.salt, s.end.group, s.end.group-1)
	if err := f.add(b, groups); err != nil {
		return blockEnd{}, err
	}
	f.end.group = s.end.group + 1
	f.durable.Store(s.end.group)
	f.proven = true
	return blockEnd{b.number, b.start(), b.first}, nil
}

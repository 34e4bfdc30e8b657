package apps

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/durable"
)

// saveEvery is how often it is saved how far applications are. It is what a
// server that was killed may have forgotten.
const saveEvery = 30 * time.Second

// records is the content of the file.
type records struct {
	Format int      `json:"format"` // 1
	Paused []string `json:"paused"` // names of applications, sorted
	Apps   []record `json:"apps,omitempty"`
}

// A record is how far an application was.
type record struct {
	Name   string        `json:"name"`
	Owner  string        `json:"owner"` // worker that was heard last
	At     time.Time     `json:"at"`    // when that was
	Ended  bool          `json:"ended,omitempty"`
	Shards []shardRecord `json:"shards,omitempty"`
}

type shardRecord struct {
	ID     leat.ShardID `json:"id"`
	Next   uint64       `json:"next"`
	Head   uint64       `json:"head"`
	Oldest time.Time    `json:"oldest,omitzero"`
	Replay uint64       `json:"replay,omitempty"`
	Closed bool         `json:"closed,omitempty"`
}

func (w *worker) record() record {
	r := record{Name: w.Name, Owner: w.Owner, At: w.at, Ended: w.Ended}
	for _, s := range w.Shards {
		r.Shards = append(r.Shards, shardRecord{s.ID, s.Next, s.Head, s.Oldest, s.Replay, s.Closed})
	}
	return r
}

func (r record) worker() *worker {
	w := &worker{AppStatus: leat.AppStatus{Name: r.Name, Owner: r.Owner, Ended: r.Ended}, first: r.At, at: r.At, expires: r.At}
	for _, s := range r.Shards {
		w.Shards = append(w.Shards, leat.ShardStatus{ID: s.ID, Next: s.Next, Head: s.Head, Oldest: s.Oldest, Replay: s.Replay, Closed: s.Closed})
	}
	w.Sum()
	return w
}

// records returns what is to be saved. The caller holds mu.
func (k *Keeper) records() records {
	r := records{Format: 1, Paused: []string{}}
	for name, a := range k.apps {
		if a.paused {
			r.Paused = append(r.Paused, name)
		}
		if last := a.record(); last != nil {
			r.Apps = append(r.Apps, last.record())
		}
	}
	slices.Sort(r.Paused)
	slices.SortFunc(r.Apps, func(a, b record) int { return cmp.Compare(a.Name, b.Name) })
	return r
}

// saveSometimes saves how far applications are when it is time. That it fails is
// no fault of who reports, and is tried again; a full disk is told elsewhere.
func (k *Keeper) saveSometimes() {
	if !k.saving.TryLock() {
		return
	}
	defer k.saving.Unlock()
	k.mu.Lock()
	now := k.clock()
	due := k.path != "" && (now.Sub(k.saved) >= saveEvery || now.Before(k.saved))
	var r records
	if due {
		k.saved, r = now, k.records()
	}
	k.mu.Unlock()
	if due {
		_ = k.write(r)
	}
}

// Close saves how far applications are. Reports after that are taken in as before.
func (k *Keeper) Close() error {
	k.saving.Lock()
	defer k.saving.Unlock()
	k.mu.Lock()
	r := k.records()
	k.mu.Unlock()
	return k.write(r)
}

// write replaces the file. The caller holds saving.
func (k *Keeper) write(r records) error {
	if k.path == "" {
		return nil
	}
	data, err := json.Marshal(r)
	if err == nil {
		err = durable.WriteFile(k.path, append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("keep how applications fare: %w", err)
	}
	return nil
}

func readRecords(path string) (records, error) {
	const reading = "read which applications are paused, and how far they are, from"
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return records{}, nil
	}
	if err != nil {
		return records{}, fmt.Errorf("%s %s: %w", reading, path, err)
	}
	var r records
	if err := json.Unmarshal(data, &r); err != nil {
		return records{}, fmt.Errorf("%s %s: %w: %w; to go on, remove the file and pause again what has to be", reading, path, leat.ErrCorrupt, err)
	}
	if r.Format != 1 {
		return records{}, fmt.Errorf("%s %s: format %d is %w: a newer version of Leat wrote it", reading, path, r.Format, leat.ErrUnsupported)
	}
	return r, nil
}

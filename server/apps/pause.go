package apps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/durable"
)

// Pause implements leat.Reporter.
func (k *Keeper) Pause(ctx context.Context, name string) error { return k.set(ctx, name, true) }

// Resume implements leat.Reporter.
func (k *Keeper) Resume(ctx context.Context, name string) error { return k.set(ctx, name, false) }

// set pauses an application or resumes it: durably first, so that what workers
// are told is never taken back by a crash.
func (k *Keeper) set(ctx context.Context, name string, paused bool) error {
	if err := leat.CheckMember(name, "any", leat.MinTTL); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	k.saving.Lock()
	defer k.saving.Unlock()
	k.mu.Lock()
	var all []string
	for other, a := range k.apps {
		if a.paused && other != name {
			all = append(all, other)
		}
	}
	was := k.apps[name] != nil && k.apps[name].paused
	var err error
	if paused && k.apps[name] == nil {
		err = k.room(k.clock(), true, 0)
	}
	k.mu.Unlock()
	if err != nil || was == paused {
		return err
	}
	if paused {
		all = append(all, name)
	}
	slices.Sort(all)
	if err := k.save(all); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	a := k.apps[name]
	if a == nil {
		a = &app{workers: make(map[string]*worker)}
		k.apps[name] = a
	}
	a.paused = paused
	return nil
}

// pauses is the content of the file.
type pauses struct {
	Format int      `json:"format"` // 1
	Paused []string `json:"paused"` // names of applications, sorted
}

func (k *Keeper) save(paused []string) error {
	if k.path == "" {
		return nil
	}
	data, err := json.Marshal(pauses{Format: 1, Paused: paused})
	if err == nil {
		err = durable.WriteFile(k.path, append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("keep which applications are paused: %w", err)
	}
	return nil
}

func readPaused(path string) ([]string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read which applications are paused: %w", err)
	}
	var p pauses
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("read which applications are paused from %s: %w: %w; "+
			"to go on, remove the file and pause again what has to be", path, leat.ErrCorrupt, err)
	}
	if p.Format != 1 {
		return nil, fmt.Errorf("read which applications are paused from %s: format %d is %w: a newer version of Leat wrote it", path, p.Format, leat.ErrUnsupported)
	}
	return p.Paused, nil
}

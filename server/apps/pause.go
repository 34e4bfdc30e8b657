package apps

import (
	"context"
	"fmt"
	"slices"

	"github.com/leathq/leat"
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
	r, was := k.records(), k.apps[name] != nil && k.apps[name].paused
	k.mu.Unlock()
	if was == paused {
		return nil
	}
	if paused {
		if len(r.Paused) >= maxPaused {
			return fmt.Errorf("pause %q: %w for more than %d paused applications: leat apps lists them, leat apps resume NAME ends a pause that nobody needs",
				name, leat.ErrFull, maxPaused)
		}
		r.Paused = append(r.Paused, name)
		slices.Sort(r.Paused)
	} else {
		r.Paused = slices.DeleteFunc(r.Paused, func(other string) bool { return other == name })
	}
	if err := k.write(r); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	a := k.apps[name]
	if a == nil {
		a = newApp()
		k.apps[name] = a
	}
	a.paused = paused
	return nil
}

// Forget forgets an application that nobody runs any more. The error is
// leat.ErrHeld while a worker reports it, and leat.ErrNotFound when it is not
// known. A pause stays.
func (k *Keeper) Forget(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	k.saving.Lock()
	defer k.saving.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	a := k.apps[name]
	if a == nil || !a.heard() {
		return fmt.Errorf("forget application %q: %w among those of which workers told", name, leat.ErrNotFound)
	}
	now := k.clock()
	for _, w := range a.workers {
		if w.alive(now) {
			return fmt.Errorf("forget application %q: %w: worker %q still reports; stop it first", name, leat.ErrHeld, w.Owner)
		}
	}
	k.drop(a)
	k.tidy(now)
	return k.write(k.records())
}

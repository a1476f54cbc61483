package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cofferdb/coffer/deployments/host/sandbox"
)

// trial is of a guest binary that has taken another's place in a sandbox. A guest that ends by itself meanwhile, or does not start,
// does not stay: the former one comes back, and the new one is not tried again there. What a guest thinks of its gateway does not
// count, which may be away.
type trial struct {
	since time.Time // when it was first looked at; zero: not yet
	pid   int       // of the guest; 0: none was seen
}

const (
	trialPeriod = 20 * time.Second
	trialStart  = 10 * time.Second // until a guest must have been seen
)

// give has the sandbox run a guest of the store, unless that did not stay there, and reports whether that is another than before.
func (h *sandboxes) give(inst *instance, box *sandbox.Sandbox, kept string) (replaced bool, err error) {
	link := filepath.Join(box.Etc(), guestBinary("", inst.rec.Launch.Manager))
	target, err := os.Readlink(link)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	former := strings.TrimPrefix(target, sandbox.GuestsPath+"/")
	if kept == former || former != "" && kept == inst.rec.Refused {
		return false, nil
	}
	if former != "" && box.Running() && inst.rec.Former == "" {
		inst.rec.Former = former
	}
	inst.rec.Refused, inst.trial = "", trial{}
	if err := inst.save(); err != nil {
		return false, err
	}
	return relink(link, filepath.Join(sandbox.GuestsPath, kept))
}

// try looks at a guest that is on trial. inst.mu is held.
func (h *sandboxes) try(ctx context.Context, inst *instance) error {
	if inst.rec.Former == "" {
		return nil
	}
	box, now := h.sandbox(inst), time.Now()
	guests := box.Guests()
	if inst.trial.since.IsZero() {
		inst.trial.since = now
	}
	if inst.trial.pid == 0 && len(guests) == 1 {
		inst.trial.pid = guests[0]
	}
	took := now.Sub(inst.trial.since)
	gone := inst.trial.pid != 0 && !slices.Contains(guests, inst.trial.pid)
	switch {
	case gone || inst.trial.pid == 0 && took > trialStart:
		return h.takeBack(ctx, inst, box)
	case inst.trial.pid != 0 && took > trialPeriod:
		inst.rec.Former = ""
		return inst.save()
	}
	return nil
}

// takeBack has the former guest run again.
func (h *sandboxes) takeBack(ctx context.Context, inst *instance, box *sandbox.Sandbox) error {
	link := filepath.Join(box.Etc(), guestBinary("", inst.rec.Launch.Manager))
	target, err := os.Readlink(link)
	if err != nil {
		return err
	}
	h.log.Error("the new guest did not stay: the former one comes back", "instance_id", inst.id, "refused", filepath.Dir(strings.TrimPrefix(target, sandbox.GuestsPath+"/")))
	if _, err := relink(link, filepath.Join(sandbox.GuestsPath, inst.rec.Former)); err != nil {
		return err
	}
	inst.rec.Refused, inst.rec.Former, inst.trial = strings.TrimPrefix(target, sandbox.GuestsPath+"/"), "", trial{}
	return errors.Join(inst.save(), box.RestartGuest(ctx))
}

// refusing counts the instances in which the newest guest did not stay.
func (h *sandboxes) refusing() (n int) {
	for _, inst := range h.list() {
		if inst.mu.TryLock() {
			if inst.rec.Refused != "" {
				n++
			}
			inst.mu.Unlock()
		}
	}
	return n
}

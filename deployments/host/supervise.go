package host

import (
	"context"
	"os"
	"time"
)

// supervise brings every instance back at the start, and starts ended guests again until ctx ends.
func (h *Host) supervise(ctx context.Context) {
	h.each(ctx, h.recover)
	tick := time.NewTicker(h.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			h.each(ctx, h.look)
			if err := h.sandboxes.lead(ctx); err != nil {
				h.log.Error("sandboxes are not led to the gateways; trying again later", "err", err)
			}
		}
	}
}

// each calls f for every instance that nobody else works on just now, with its lock held.
func (h *Host) each(ctx context.Context, f func(context.Context, *instance) error) {
	for _, inst := range h.list() {
		if ctx.Err() != nil {
			return
		}
		if !inst.mu.TryLock() {
			continue // a launch, resize or remove sees to it
		}
		if err := f(ctx, inst); err != nil {
			h.log.Error("cannot keep the guest running; trying again later", "instance_id", inst.id, "err", err)
		}
		inst.mu.Unlock()
	}
}

// look starts a guest that has ended, when it is time to, and one whose binary was replaced. It mounts a volume that is not.
func (h *Host) look(ctx context.Context, inst *instance) error {
	if inst.rec.Removing {
		return nil
	}
	if inst.unmet {
		h.limit(inst)
	}
	if h.driver(inst).running(inst) && inst.rec.Growing == 0 && !inst.adrift() {
		if h.outdated(inst) {
			return h.replace(ctx, inst)
		}
		if err := h.sandboxes.try(ctx, inst); err != nil {
			return err
		}
		return boundLog(inst.path(logFile))
	}
	if inst.restarts.Due().After(time.Now()) {
		return nil
	}
	h.log.Warn("the guest has ended, or its volume is not mounted: it is brought back", "instance_id", inst.id)
	return h.recover(ctx, inst)
}

// recover makes everything of an instance again that is not there: after a reboot that is all but its files.
func (h *Host) recover(ctx context.Context, inst *instance) error {
	if _, err := os.Stat(inst.configFile()); inst.rec.Removing || err != nil {
		return nil // half removed, or half launched: the gateway asks again
	}
	inst.restarts.Started(time.Now()) // also counts when it fails
	_, err := h.ensure(ctx, inst, "")
	return err
}

// outdated reports whether the guest was started from another file than the one that its manager has now, and that has
// described itself. A file that has not is of no use, or half written.
func (h *Host) outdated(inst *instance) bool {
	now, ok := h.binaries.stamp(inst.rec.Launch.Manager)
	return ok && !now.equal(inst.rec.Binary)
}

// replace starts the guest anew from its new binary. The database server is not touched.
func (h *Host) replace(ctx context.Context, inst *instance) error {
	h.log.Info("the guest's binary was replaced: the guest is started anew", "instance_id", inst.id, "manager", inst.rec.Launch.Manager)
	if err := h.driver(inst).replace(ctx, inst); err != nil {
		return err
	}
	return h.recover(ctx, inst)
}

// watchBinaries scans the guest directory until ctx ends and calls changed when something is different.
func (h *Host) watchBinaries(ctx context.Context, changed func()) {
	tick := time.NewTicker(h.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		different, err := h.binaries.scan(ctx)
		if err != nil {
			h.log.Error("the guests offered stay as they were", "err", err)
		}
		if different {
			changed()
		}
	}
}

package host

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/deployments/host/sandbox"
)

// processes runs guests and servers as plain processes of the machine: without a wall between instances.
type processes struct{ *Host }

func (h *processes) check() error { return nil }

func (h *processes) notes() []string {
	notes := []string{"-driver process: no wall stands between instances, nor between them and this machine, so all are of one project"}
	if !h.root {
		notes = append(notes, "not root: instances share the host agent's user and have no firewall rules")
	}
	return append(notes, h.cgroups.notes()...)
}

func (h *processes) filters() bool { return h.root && h.filtering() }

func (h *processes) images() (names, notes []string) { return nil, nil }

func (h *processes) claim(inst *instance) error {
	if !h.root {
		return nil
	}
	users := make(map[int]bool)
	for _, other := range h.instances {
		users[other.uid] = true
	}
	ids := sandbox.IDs{First: h.cfg.UIDs.First, Last: h.cfg.UIDs.Last, Each: 1, File: filepath.Join(h.cfg.Dir, "uids")}
	uid, err := ids.Next(func(uid int) bool { return users[uid] || len(processesOf(uid)) > 0 })
	if err != nil {
		return agentpoll.Errorf(agentpoll.Conflict, "no user id: %v", err)
	}
	inst.uid, inst.rec.UID = uid, uid
	return nil
}

func (h *processes) protect(_ context.Context, inst *instance) (notes []string, err error) {
	rules, err := rulesOf(inst.address, inst.rec.Launch.Firewall)
	if err != nil {
		return nil, err
	}
	err = h.firewall.set(inst.id, inst.address, rules)
	switch {
	case err != nil && !inst.rec.Launch.Firewall.Open():
		return nil, fmt.Errorf("access to the instance is restricted, and this host cannot restrict it: %w", err)
	case err != nil:
		notes = append(notes, fmt.Sprintf("the ports are not protected: %v", err))
	}
	return notes, nil
}

func (h *processes) connect(ctx context.Context, inst *instance) error {
	return h.addAddress(ctx, inst.address)
}

func (h *processes) ensure(ctx context.Context, inst *instance, token string) (notes []string, err error) {
	groups, notes := h.limit(inst)
	more, err := h.protect(ctx, inst)
	if err != nil {
		return nil, err
	}
	notes = append(notes, more...)
	cfg := h.guestConfig(inst)
	cfg.Dir, cfg.Root, cfg.UID, cfg.GID, cfg.CgroupDirs = inst.path("guest"), inst.path("root"), inst.uid, inst.uid, groups
	changed, err := configure(inst.dir, cfg, token, -1)
	if err != nil {
		return nil, err
	}
	if changed { // the guest reads it once
		if err := inst.guest.Stop(ctx); err != nil {
			return nil, err
		}
	}
	inst.guest.CgroupDirs = groups // what the guest runs for the instance counts as the instance's, and so does the guest
	if !inst.running() {
		if err := h.binaries.mayStart(inst.rec.Launch.Manager); err != nil {
			return nil, fmt.Errorf("the guest binary must not run: %w", err)
		}
	}
	return notes, inst.startGuest(ctx)
}

func (h *processes) running(inst *instance) bool { return inst.running() }

func (h *processes) replace(ctx context.Context, inst *instance) error { return inst.guest.Stop(ctx) }

func (h *processes) release(context.Context, *instance) error { return nil }

// remove undoes ensure. The guest goes first, since it might start the database again.
func (h *processes) remove(ctx context.Context, inst *instance) error {
	if err := inst.guest.Stop(ctx); err != nil {
		return err
	}
	if err := h.killDatabase(ctx, inst); err != nil {
		return err
	}
	if h.root {
		if err := h.firewall.remove(inst.id, inst.address); err != nil {
			h.log.Warn("firewall rules may be left behind", "instance_id", inst.id, "err", err)
		}
	}
	if err := h.groups().remove(inst.name()); err != nil {
		h.log.Warn("control groups may be left behind", "instance_id", inst.id, "err", err)
	}
	if err := h.removeAddress(ctx, inst.address); err != nil {
		h.log.Warn("the address may be left behind", "instance_id", inst.id, "err", err)
	}
	return nil
}

// last takes the firewall table away: a machine without instances is left as it was found.
func (h *processes) last() error {
	if !h.root {
		return nil
	}
	return h.firewall.clear()
}

// killDatabase ends every process of the instance. Its data goes next, so there is nothing to be gentle for. The
// processes are those of its user, which is nobody else's, those in its control groups, and those that its guest left
// pid files of.
func (h *Host) killDatabase(ctx context.Context, inst *instance) error {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	if h.root && h.cfg.UIDs.contains(inst.uid) {
		if err := service.EndUser(ctx, service.Credential(inst.uid, inst.uid)); err != nil {
			return err
		}
	}
	err := killAll(ctx, func() []int {
		pids := h.groups().processes(inst.name())
		if h.root && h.cfg.UIDs.contains(inst.uid) {
			pids = append(pids, processesOf(inst.uid)...)
		}
		return pids
	})
	if err != nil {
		return err
	}
	files, _ := filepath.Glob(inst.path("guest") + "/*.pid")
	for _, file := range files {
		server := service.Service{
			Name: strings.TrimSuffix(filepath.Base(file), ".pid"), Dir: filepath.Dir(file), StopTimeout: time.Second,
		}
		if err := server.Stop(ctx); err != nil {
			return err
		}
	}
	return nil
}

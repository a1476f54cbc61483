package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/deployments/host/sandbox"
)

// sandboxes runs each instance in a sandbox of its own: see package sandbox.
type sandboxes struct {
	*Host
	led struct { // where sandboxes were last led to
		sync.Mutex
		to ways
		at time.Time
	}
}

// sandboxState is where what is known of running sandboxes is kept. It does not outlive a boot.
const sandboxState = "/run/coffer-sandboxes"

func (h *sandboxes) check() error {
	if !h.root {
		return needs("root", errors.New("the host agent is not root; -driver process runs instances without walls, for development"))
	}
	for _, need := range []struct{ program, pack string }{{h.cfg.Runtime, "runc"}, {"ip", "iproute2"}, {"nft", "nftables"}} {
		if _, err := exec.LookPath(need.program); err != nil {
			return needs(fmt.Sprintf("%s (Debian package %s)", need.program, need.pack), err)
		}
	}
	if info, err := os.Stat(h.self); err != nil || info.Mode()&0o005 != 0o005 {
		return needs("the program coffer-host to be one that everybody may run, as each sandbox's init", errors.Join(fmt.Errorf("chmod o+rx %s", h.self), err))
	}
	if notes := h.cgroups.notes(); len(notes) > 0 {
		return needs("control groups", errors.New(strings.Join(notes, "; ")))
	}
	if h.pool.Gateway().IsLoopback() {
		return needs("another -address-pool", fmt.Errorf("%s is loopback, which no sandbox can have from outside", h.pool))
	}
	if err := sandbox.Forward(); err != nil {
		return needs("the right to forward packets", err)
	}
	return nil
}

// needs says what this machine lacks for sandboxes.
func needs(what string, err error) error {
	return fmt.Errorf("-driver %s needs %s: %w", driverSandbox, what, err)
}

func (h *sandboxes) notes() (notes []string) {
	if open := h.of(driverProcess); open > 0 {
		notes = append(notes, fmt.Sprintf("%d instances were made by -driver process and have no walls: move each by a backup that is restored", open))
	}
	if n := h.refusing(); n > 0 {
		notes = append(notes, fmt.Sprintf("the newest guest did not stay in %d instances, which go on with the former one: their %s says why", n, logFile))
	}
	return notes
}

func (h *sandboxes) filters() bool { return true } // see check

func (h *sandboxes) images() (names, notes []string) { return h.Host.images.names() }

func (h *sandboxes) claim(inst *instance) error {
	ids := sandbox.IDs{First: h.cfg.IDs.First, Last: h.cfg.IDs.Last, File: filepath.Join(h.cfg.Dir, "ids")}
	first, err := ids.Next(func(first int) bool {
		for _, other := range h.instances {
			if other.rec.Driver == driverSandbox && other.rec.UID == first+sandbox.ServerID {
				return true
			}
		}
		return false
	})
	if err != nil {
		return agentpoll.Errorf(agentpoll.Conflict, "no user ids: %v", err)
	}
	inst.uid = first + sandbox.ServerID
	inst.rec.UID = inst.uid
	return nil
}

// connect makes the wire and the wall beside each other: the wall knows the wire by its name, and nothing uses it before both are there.
func (h *sandboxes) connect(ctx context.Context, inst *instance) error {
	walled := make(chan error, 1)
	go func() {
		_, err := h.protect(ctx, inst)
		walled <- err
	}()
	made, err := h.network(inst).Ensure(ctx)
	inst.wired = inst.wired || made
	return errors.Join(err, <-walled)
}

// ensure starts the sandbox when all that it needs is there. What is running goes on: its guest is started anew when its
// configuration or its binary is another.
func (h *sandboxes) ensure(ctx context.Context, inst *instance, token string) (notes []string, err error) {
	launch := inst.rec.Launch
	binary := guestBinary(h.cfg.Guests, launch.Manager)
	now, err := stampOf(binary)
	if err != nil {
		return nil, err
	}
	kept, err := h.store.keep(binary)
	if err != nil {
		return nil, err
	}
	tree, err := h.Host.images.tree(launch.Image)
	if err != nil {
		return nil, err
	}
	to, err := h.ways(ctx)
	if err != nil {
		return nil, err
	}
	box := h.sandbox(inst)
	box.Tree = tree
	if err := box.Prepare(to.hosts); err != nil {
		return nil, fmt.Errorf("cannot prepare the sandbox: %w", err)
	}
	if err := os.Lchown(inst.path("guest"), box.FirstID, box.FirstID); err != nil {
		return nil, err
	}
	cfg := h.guestConfig(inst)
	cfg.Dir, cfg.Root, cfg.UID, cfg.GID = sandbox.GuestPath, "/", sandbox.ServerID, sandbox.ServerID
	cfg.Gateways = h.gatewaysInside()
	configured, err := configure(box.Etc(), cfg, token, box.FirstID)
	if err != nil {
		return nil, err
	}
	replaced, err := h.give(inst, box, kept)
	if err != nil {
		return nil, err
	}
	if inst.wired || inst.rec.Image != launch.Image { // what runs has a wire that leads nowhere, or another system
		if err := box.Remove(ctx); err != nil {
			return nil, err
		}
		inst.wired, inst.rec.Image, inst.rec.Binary = false, launch.Image, now
		if err := inst.save(); err != nil {
			return nil, err
		}
	}
	_, notes = h.limit(inst)
	if err := inst.remember(now); err != nil {
		return nil, err
	}
	if box.Running() && (configured || replaced) {
		return notes, box.RestartGuest(ctx)
	}
	return notes, box.Start(ctx)
}

func (h *sandboxes) running(inst *instance) bool { return h.sandbox(inst).Running() }

// replace has nothing to do: ensure sees that the binary is another.
func (h *sandboxes) replace(context.Context, *instance) error { return nil }

// release ends the sandbox, which holds the volume.
func (h *sandboxes) release(ctx context.Context, inst *instance) error {
	return h.sandbox(inst).Remove(ctx)
}

// remove ends the sandbox first: nothing that it may leave is in use then.
func (h *sandboxes) remove(ctx context.Context, inst *instance) error {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	box := h.sandbox(inst)
	if err := box.Remove(ctx); err != nil {
		return err
	}
	return errors.Join(h.network(inst).Remove(ctx), h.wall().remove(ctx, h.boxed(inst, nil)), box.RemoveGroups(ctx))
}

func (h *sandboxes) last() error { return h.wall().clear(context.Background()) }

func (h *sandboxes) sandbox(inst *instance) *sandbox.Sandbox {
	binary := guestBinary("", inst.rec.Launch.Manager)
	return &sandbox.Sandbox{
		ID: inst.name(), Dir: inst.path("sandbox"), Runtime: h.cfg.Runtime, State: sandboxState, Init: h.self, Log: inst.path(logFile),
		Guest:    []string{filepath.Join(sandbox.EtcPath, binary), "run", "-config", filepath.Join(sandbox.EtcPath, configFile)},
		FirstID:  inst.uid - sandbox.ServerID,
		Hostname: "coffer-" + inst.id[len(inst.id)-12:],
		Network:  h.network(inst).Path(),
		Cgroup:   "/" + groupParent + "/" + inst.name(),
		Binds: []sandbox.Bind{
			{Source: h.store.dir, Target: sandbox.GuestsPath},
			{Source: inst.path("guest"), Target: sandbox.GuestPath, Writable: true},
			{Source: inst.mountPoint(), Target: inst.rec.Launch.MountPoint, Writable: true},
		},
	}
}

// network is the instance's. Interfaces have names of 15 bytes at most: the end of an id is its random part, and with a mark so is a
// digest of both.
func (h *sandboxes) network(inst *instance) sandbox.Network {
	random := inst.id[len(inst.id)-12:]
	if inst.rec.Mark != "" {
		sum := sha256.Sum256([]byte(inst.name()))
		random = hex.EncodeToString(sum[:6])
	}
	n := sandbox.Network{
		Name: "coffer-" + inst.name(), Interface: "cf" + random,
		Address: inst.address, Gateway: h.pool.Gateway(),
	}
	if h.cfg.Interface != "lo" {
		n.Uplink = h.cfg.Interface
	}
	return n
}

func (h *sandboxes) protect(ctx context.Context, inst *instance) (notes []string, err error) {
	to, err := h.ways(ctx)
	if err != nil {
		return nil, err
	}
	return nil, h.enclose(ctx, inst, to)
}

// enclose lets in what the instance's rules let in, and out what every guest needs.
func (h *sandboxes) enclose(ctx context.Context, inst *instance, to ways) error {
	rules, err := rulesOf(inst.address, inst.rec.Launch.Firewall)
	if err != nil {
		return err
	}
	return h.wall().set(ctx, to, h.boxed(inst, rules))
}

func (h *sandboxes) boxed(inst *instance, in []rule) boxed {
	to, _ := peersOf(inst.rec.Launch.Firewall) // rulesOf has read them
	return boxed{id: inst.id, device: h.network(inst).Interface, address: inst.address, in: in, peers: to}
}

func (h *sandboxes) wall() wall {
	return wall{table: h.cfg.FirewallTable + "_sandboxes", pool: h.pool.Prefix(), gateway: h.pool.Gateway()}
}

// relink makes path a symbolic link to target, in one step, and reports whether it was another.
func relink(path, target string) (changed bool, err error) {
	if was, err := os.Readlink(path); err == nil && was == target {
		return false, nil
	}
	next := path + ".new"
	if err := errors.Join(removeIfThere(next), os.Symlink(target, next)); err != nil {
		return false, err
	}
	return true, os.Rename(next, path)
}

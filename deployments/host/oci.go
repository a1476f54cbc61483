package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/deployments/host/sandbox"
)

// sandboxes runs each instance in a sandbox of its own: see package sandbox.
type sandboxes struct{ *Host }

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

func (h *sandboxes) notes() []string { return nil }

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
	box, wire := h.sandbox(inst), h.network(inst)
	if err := box.Prepare(); err != nil {
		return nil, fmt.Errorf("cannot prepare the sandbox: %w", err)
	}
	if err := os.Lchown(inst.path("guest"), box.FirstID, box.FirstID); err != nil {
		return nil, err
	}
	cfg := h.guestConfig(inst)
	cfg.Dir, cfg.Root, cfg.UID, cfg.GID = sandbox.GuestPath, "/", sandbox.ServerID, sandbox.ServerID
	cfg.Gateways, cfg.AllowHTTP = h.gatewaysInside()
	configured, err := configure(box.Etc(), cfg, token, box.FirstID)
	if err != nil {
		return nil, err
	}
	replaced, err := relink(filepath.Join(box.Etc(), filepath.Base(binary)), filepath.Join(sandbox.GuestsPath, kept))
	if err != nil {
		return nil, err
	}
	if made, err := wire.Ensure(ctx); err != nil {
		return nil, err
	} else if made { // a sandbox that runs has one that nobody can reach
		if err := box.Remove(ctx); err != nil {
			return nil, err
		}
	}
	if err := h.protect(ctx, inst); err != nil {
		return nil, err
	}
	_, notes = h.limit(inst)
	if err := inst.remember(now); err != nil {
		return nil, err
	}
	if box.Running() && (configured || replaced) {
		return notes, box.RestartGuest()
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
	if err := h.sandbox(inst).Remove(ctx); err != nil {
		return err
	}
	return errors.Join(h.network(inst).Remove(ctx), h.wall().remove(ctx, h.boxed(inst, nil)), h.cgroups.remove(inst.id))
}

func (h *sandboxes) last() error { return h.wall().clear(context.Background()) }

func (h *sandboxes) sandbox(inst *instance) *sandbox.Sandbox {
	binary := guestBinary("", inst.rec.Launch.Manager)
	return &sandbox.Sandbox{
		ID: inst.id, Dir: inst.path("sandbox"), Runtime: h.cfg.Runtime, State: sandboxState, Init: h.self, Log: inst.path(logFile),
		Guest:    []string{filepath.Join(sandbox.EtcPath, binary), "run", "-config", filepath.Join(sandbox.EtcPath, configFile)},
		FirstID:  inst.uid - sandbox.ServerID,
		Hostname: "coffer-" + inst.id[len(inst.id)-12:],
		Network:  h.network(inst).Path(),
		Cgroup:   "/" + groupParent + "/" + inst.id,
		Binds: []sandbox.Bind{
			{Source: h.store.dir, Target: sandbox.GuestsPath},
			{Source: inst.path("guest"), Target: sandbox.GuestPath, Writable: true},
			{Source: inst.mountPoint(), Target: inst.rec.Launch.MountPoint, Writable: true},
		},
	}
}

// network is the instance's. Interfaces have names of 15 bytes at most: the end of an id is its random part.
func (h *sandboxes) network(inst *instance) sandbox.Network {
	n := sandbox.Network{
		Name: "coffer-" + inst.id, Interface: "cf" + inst.id[len(inst.id)-12:],
		Address: inst.address, Gateway: h.pool.Gateway(),
	}
	if h.cfg.Interface != "lo" {
		n.Uplink = h.cfg.Interface
	}
	return n
}

// protect lets in what the instance's rules let in, and out what every guest needs.
func (h *sandboxes) protect(ctx context.Context, inst *instance) error {
	rules, err := rulesOf(inst.address, inst.rec.Launch.Firewall)
	if err != nil {
		return err
	}
	to, err := h.ways(ctx)
	if err != nil {
		return err
	}
	return h.wall().set(ctx, to, h.boxed(inst, rules))
}

func (h *sandboxes) boxed(inst *instance, in []rule) boxed {
	to, _ := peers(inst.rec.Launch.Firewall.Peers) // rulesOf has read them
	return boxed{id: inst.id, device: h.network(inst).Interface, address: inst.address, in: in, peers: to}
}

func (h *sandboxes) wall() wall {
	return wall{table: h.cfg.FirewallTable + "_sandboxes", pool: h.pool.Prefix(), gateway: h.pool.Gateway()}
}

// ways lead to the gateways, at the addresses that their names have now, and to what -egress lists.
func (h *sandboxes) ways(ctx context.Context) (to ways, err error) {
	for _, text := range h.cfg.Gateways {
		name, port, err := endpoint(text)
		if err != nil {
			return to, err
		}
		if isLoopback(name) {
			to.local = append(to.local, port)
			continue
		}
		addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", name)
		if err != nil {
			return to, fmt.Errorf("cannot find the gateway %s: %w", name, err)
		}
		for _, a := range addresses {
			to.out = append(to.out, egress{netip.PrefixFrom(a.Unmap(), 32), port})
		}
	}
	for _, text := range h.cfg.Egress {
		e, err := parseEgress(text)
		if err != nil {
			return to, err
		}
		to.out = append(to.out, e)
	}
	return to, nil
}

// gatewaysInside are the gateways' URLs for a guest. Those on the machine's loopback are had at its address towards sandboxes,
// from which the packets go no further than that loopback: plain HTTP may be spoken to them.
func (h *sandboxes) gatewaysInside() (urls []string, allowHTTP bool) {
	allowHTTP = h.cfg.AllowHTTP
	for _, text := range h.cfg.Gateways {
		u, err := url.Parse(text)
		if err != nil || !isLoopback(u.Hostname()) {
			urls = append(urls, text)
			continue
		}
		_, port, _ := endpoint(text)
		u.Host = netip.AddrPortFrom(h.pool.Gateway(), port).String()
		urls, allowHTTP = append(urls, u.String()), allowHTTP || u.Scheme == "http"
	}
	return urls, allowHTTP
}

func endpoint(gateway string) (host string, port uint16, err error) {
	u, err := url.Parse(gateway)
	if err != nil {
		return "", 0, err
	}
	text := u.Port()
	if text == "" {
		text = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("gateway %q: want a URL with a port", gateway)
	}
	return u.Hostname(), uint16(n), nil
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
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

package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/datastores/wire"
	"github.com/cofferdb/coffer/deployments"
)

// Host launches, supervises and removes instances. Make it with [New].
type Host struct {
	cfg      Config
	log      *slog.Logger
	pool     deployments.Pool
	binaries *binaries
	images   images
	cgroups  cgroups
	io       *controller // of reading and writing; nil: this machine has none
	firewall firewall
	// filtering reports whether the firewall works. It is asked once: a machine that gets one later has its host started anew.
	filtering func() bool
	root      bool // may have users, volumes, limits and rules

	self      string // this program
	store     store  // of guest binaries, for sandboxes
	processes processes
	sandboxes sandboxes

	mu        sync.Mutex
	instances map[string]*instance
}

// New makes a host of a configuration that is valid, and knows again the instances that its directory holds. It starts
// nothing and changes nothing of them.
func New(cfg Config) (*Host, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	pool, err := deployments.ParsePool(cfg.Pool)
	if err != nil {
		return nil, err
	}
	// The databases' users must be able to reach their data, and nobody to list what is there.
	if err := os.MkdirAll(filepath.Join(cfg.Dir, "instances"), 0o711); err != nil {
		return nil, fmt.Errorf("cannot make the host's directory: %w", err)
	}
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("cannot look for control groups (a host needs Linux): %w", err)
	}
	h := &Host{
		cfg: cfg, log: cfg.Log, pool: pool,
		binaries: &binaries{dir: cfg.Guests, trust: trust{cfg.GuestKeys}}, images: images{cfg.ImageDir},
		cgroups:  detectCgroups(string(mountinfo)),
		firewall: firewall{table: cfg.FirewallTable},
		root:     os.Geteuid() == 0,
	}
	h.filtering = sync.OnceValue(func() bool { return h.firewall.works() == nil })
	h.store.trust = trust{cfg.GuestKeys}
	h.store.dir = filepath.Join(cfg.Dir, "guests")
	if h.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if io := findCgroups(string(mountinfo), []string{ioV1, ioV2}); len(io) > 0 {
		h.io = &io[0]
	}
	if err := h.checkIO(); err != nil {
		return nil, err
	}
	h.processes, h.sandboxes = processes{h}, sandboxes{Host: h}
	if err := h.newcomers().check(); err != nil {
		return nil, err
	}
	// One bad file must not keep the other instances from being served.
	h.instances, err = loadInstances(filepath.Join(cfg.Dir, "instances"), cfg.Guests)
	if err != nil {
		h.log.Error("some instances are left alone", "err", err)
	}
	h.reserve()
	return h, nil
}

// Run polls the gateways and supervises the guests until ctx ends. Guests and databases run on after it.
func (h *Host) Run(ctx context.Context) error {
	if h.root {
		for driver, ids := range map[string]Range{driverSandbox: h.cfg.IDs, driverProcess: h.cfg.UIDs} {
			if h.cfg.Driver != driver && h.of(driver) == 0 {
				continue
			}
			release, err := claim(claimsDir, ids)
			if err != nil {
				return err
			}
			defer func() { _ = release() }()
		}
	}
	if _, err := h.binaries.scan(ctx); err != nil {
		return err
	}
	announcement := h.announce(ctx)
	a, err := agent.New(agent.Config{
		Gateways: h.cfg.Gateways, CA: h.cfg.CA, AllowHTTP: h.cfg.AllowHTTP,
		Dir: filepath.Join(h.cfg.Dir, "agent"), Kind: agentpoll.Host,
		Token: h.cfg.Token, Version: h.cfg.Version, Manifest: announcement,
		Handler: handler{h}, Long: longAtOnce, Status: h.announce, Log: h.log,
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { h.supervise(ctx) })
	wg.Go(func() { h.watchBinaries(ctx, a.StatusChanged) })
	err = a.Run(ctx)
	stop()
	wg.Wait()
	return err
}

// handler is the methods of a host.
type handler struct{ h *Host }

// longAtOnce is how many of the methods that wait for others run at once: a tenant's remove never waits for another's large volume.
// Those of one instance exclude each other by its lock.
const longAtOnce = 4

// methods is the one table of them. A remove may wait for processes to end, a resize for a large volume to be checked, a check
// for lists of packages, so they run beside the queue.
var methods = map[string]struct {
	traits agent.Traits
	run    func(*Host, context.Context, agent.Command) (any, error)
}{
	deployments.MethodLaunch: {agent.Traits{}, func(h *Host, ctx context.Context, cmd agent.Command) (any, error) {
		var args deployments.LaunchArgs
		if err := decode(cmd.Args, &args); err != nil {
			return nil, err
		}
		return h.launch(ctx, args, cmd.ID, func(message string) { cmd.Progress(agentpoll.Progress{Message: message}) })
	}},
	deployments.MethodProtect: {agent.Traits{}, func(h *Host, ctx context.Context, cmd agent.Command) (any, error) {
		var args deployments.ProtectArgs
		if err := decode(cmd.Args, &args); err != nil {
			return nil, err
		}
		return h.Protect(ctx, args)
	}},
	deployments.MethodResize: {agent.Traits{Long: true}, func(h *Host, ctx context.Context, cmd agent.Command) (any, error) {
		var args deployments.ResizeArgs
		if err := decode(cmd.Args, &args); err != nil {
			return nil, err
		}
		return h.Resize(ctx, args)
	}},
	deployments.MethodCheck: {agent.Traits{Long: true, Reads: true}, func(h *Host, ctx context.Context, cmd agent.Command) (any, error) {
		var args deployments.CheckArgs
		if err := decode(cmd.Args, &args); err != nil {
			return nil, err
		}
		return h.Check(ctx, args)
	}},
	deployments.MethodRemove: {agent.Traits{Long: true}, func(h *Host, ctx context.Context, cmd agent.Command) (any, error) {
		var args deployments.RemoveArgs
		if err := decode(cmd.Args, &args); err != nil {
			return nil, err
		}
		return nil, h.endLife(ctx, args, cmd.ID)
	}},
}

func (handler) Method(name string) (agent.Traits, bool) {
	m, ok := methods[name]
	return m.traits, ok
}

func (m handler) Run(ctx context.Context, cmd agent.Command) (json.RawMessage, error) {
	value, err := methods[cmd.Method].run(m.h, ctx, cmd)
	if err != nil || value == nil {
		return nil, wire.Error(err)
	}
	return json.Marshal(value)
}

func decode(raw json.RawMessage, args any) error {
	if err := json.Unmarshal(raw, args); err != nil {
		return agentpoll.Errorf(agentpoll.Invalid, "cannot read the arguments: %v", err)
	}
	return nil
}

func (h *Host) list() []*instance {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Values(h.instances))
}

func (h *Host) find(id string) *instance {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.instances[id]
}

// mark tells the hosts of one machine apart, by their directories.
func (h *Host) mark() string {
	sum := sha256.Sum256([]byte(h.cfg.Dir))
	return hex.EncodeToString(sum[:2])
}

func (h *Host) dir(id string) string { return filepath.Join(h.cfg.Dir, "instances", id) }

// claim finds the instance, or gives a new one its address and user. Nothing is on disk yet then. life is the id of the command that
// asks: ids grow, so one that was removed comes back by what was asked for later than that, and by nothing else.
func (h *Host) claim(args deployments.LaunchArgs, life string) (*instance, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if inst := h.instances[args.InstanceID]; inst != nil {
		return inst, nil
	}
	mark := filepath.Join(h.ended(), args.InstanceID)
	if ended, err := os.ReadFile(mark); err == nil && life > string(ended) && len(ended) > 0 {
		_ = os.Remove(mark) // it was elsewhere, and comes back
	} else if err == nil {
		return nil, agentpoll.Errorf(agentpoll.Conflict, "instance %s was removed", args.InstanceID)
	}
	rec := record{Launch: args, UID: -1, Driver: h.cfg.Driver, Mark: h.mark()}
	rec.Launch.Token = ""
	inst, err := newInstance(h.dir(args.InstanceID), h.cfg.Guests, rec)
	if err != nil {
		return nil, agentpoll.Errorf(agentpoll.Invalid, "address: %v", err)
	}
	for _, other := range h.instances {
		if other.address == inst.address {
			return nil, agentpoll.Errorf(agentpoll.Conflict, "address %s is taken by instance %s", inst.address, other.id)
		}
	}
	if err := h.driver(inst).claim(inst); err != nil {
		return nil, err
	}
	h.instances[inst.id] = inst
	return inst, nil
}

// forget lets an instance go that was removed. What instances share goes with the last one: a machine without instances is
// left as it was found. Whoever launches the next waits for the lock, and makes it anew.
func (h *Host) forget(inst *instance) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.instances, inst.id)
	for _, other := range h.instances {
		if other.rec.Driver == inst.rec.Driver {
			return
		}
	}
	if err := h.driver(inst).last(); err != nil {
		h.log.Warn("the firewall table may be left behind", "err", err)
	}
}

// Range is the user ids that instances get.
type Range struct{ First, Last int }

func (r Range) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

func (r Range) contains(uid int) bool { return r.First <= uid && uid <= r.Last }

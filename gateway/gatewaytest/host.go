package gatewaytest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest/inmemory"
	"github.com/cofferdb/coffer/datastores/guest"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
)

// Define puts the datastore "memory" with its versions 1, the default, and 2, never without a volume, and the flavors "1" and
// "2".
func Define(t testing.TB, store *etcdschema.Store) {
	t.Helper()
	offers := new(inmemory.Datastore).Plugin().Manifest().Offers
	ops := []etcdschema.Op{
		etcdschema.Put(etcdschema.DatastoreKey(offers[0].Datastore), etcdschema.Datastore{DefaultVersion: offers[0].Version}),
		etcdschema.Put(etcdschema.FlavorKey("1"), etcdschema.Flavor{Name: "small", RAM: 512, VCPUs: 1, Disk: 1}),
		etcdschema.Put(etcdschema.FlavorKey("2"), etcdschema.Flavor{Name: "large", RAM: 2048, VCPUs: 2, Disk: 1}),
	}
	for _, offer := range offers {
		offer.Server.VolumeSupport = true
		ops = append(ops, etcdschema.Put(etcdschema.VersionKey(offer.Datastore, offer.Version), offer.Server),
			etcdschema.Put(etcdschema.GuestOptionsKey(offer.Datastore, offer.Version), offer.Guest))
	}
	_, err := store.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) { return ops, nil })
	if err != nil {
		t.Fatal(err)
	}
}

// Host is a host in process whose guests run in process too, over the datastore "memory". Everything between them and
// the gateway is real.
type Host struct {
	Memory   *inmemory.Datastore
	ID       string
	gateways []string
	dir      string
	agent    *agent.Agent
	lacks    map[string]string // by colour: why

	says       func(*deployments.Announcement)
	unable     error            // why instances cannot be launched
	unfiltered error            // why rules cannot be changed
	stays      map[string]error // by instance: why it cannot be removed

	launching sync.RWMutex // read-locked by each launch

	mu     sync.Mutex
	guests map[string]func() // ends one and waits for it
	args   map[string]deployments.LaunchArgs
}

// StartHost enrols a host with g and runs it until the test ends. It polls g, then the others when g fails.
func StartHost(t testing.TB, g *Gateway, others ...string) *Host {
	t.Helper()
	return StartHostSaying(t, nil, g, others...)
}

// StartHostSaying is StartHost for one that announces what says makes of its announcement, see [Host.Says].
func StartHostSaying(t testing.TB, says func(*deployments.Announcement), g *Gateway, others ...string) *Host {
	t.Helper()
	h := &Host{says: says, Memory: new(inmemory.Datastore), gateways: append([]string{g.URL}, others...), dir: t.TempDir(), guests: map[string]func(){}, args: map[string]deployments.LaunchArgs{}}
	enrolment := g.Client(Admin).Want(t, http.StatusOK, http.MethodPost, "/mgmt/enrolments", `{"enrolment":{}}`)
	h.ID = enrolment.Text("enrolment", "agent_id")
	var err error
	h.agent, err = agent.New(agent.Config{
		Gateways: h.gateways, AllowHTTP: true, Dir: filepath.Join(h.dir, "host"), Kind: agentpoll.Host, Handler: h,
		Token: enrolment.Text("enrolment", "token"), Manifest: h.announce(t.Context()), Status: h.announce,
	})
	if err != nil {
		t.Fatal(err)
	}
	stop := run(func(ctx context.Context) error { return h.agent.Run(ctx) })
	t.Cleanup(func() {
		stop()
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, end := range h.guests {
			end()
		}
	})
	g.Client(Admin).AwaitHost(t, h.ID)
	return h
}

// run starts f and returns what ends it and waits for it.
func run(f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// Method implements agent.Handler.
func (h *Host) Method(name string) (agent.Traits, bool) {
	switch name {
	case deployments.MethodCheck:
		return agent.Traits{Reads: true, Long: true}, true
	case deployments.MethodLaunch, deployments.MethodProtect, deployments.MethodResize, deployments.MethodRemove:
		return agent.Traits{}, true
	}
	return agent.Traits{}, false
}

// Run implements agent.Handler.
func (h *Host) Run(_ context.Context, cmd agent.Command) (json.RawMessage, error) {
	switch cmd.Method {
	case deployments.MethodCheck:
		var args deployments.CheckArgs
		if err := json.Unmarshal(cmd.Args, &args); err != nil {
			return nil, err
		}
		return json.Marshal(h.check(args))
	case deployments.MethodRemove:
		var args deployments.RemoveArgs
		if err := json.Unmarshal(cmd.Args, &args); err != nil {
			return nil, err
		}
		h.mu.Lock()
		why := h.stays[args.InstanceID]
		h.mu.Unlock()
		if why != nil {
			return nil, why
		}
		h.StopGuest(args.InstanceID)
		return nil, os.RemoveAll(filepath.Join(h.dir, args.InstanceID))
	case deployments.MethodResize:
		var args deployments.ResizeArgs
		if err := json.Unmarshal(cmd.Args, &args); err != nil {
			return nil, err
		}
		return h.resize(args)
	case deployments.MethodProtect:
		var args deployments.ProtectArgs
		if err := json.Unmarshal(cmd.Args, &args); err != nil {
			return nil, err
		}
		return h.protect(args)
	}
	var args deployments.LaunchArgs
	if err := json.Unmarshal(cmd.Args, &args); err != nil {
		return nil, err
	}
	if args.Token != "" { // without: what another version needs, which is there
		h.launching.RLock()
		defer h.launching.RUnlock()
		if err := h.launch(args); err != nil {
			return nil, err
		}
	}
	return json.Marshal(deployments.LaunchReply{Volume: "directory"})
}

func (h *Host) protect(args deployments.ProtectArgs) (json.RawMessage, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.unfiltered != nil {
		return nil, h.unfiltered
	}
	was := h.args[args.InstanceID]
	was.Firewall = args.Firewall
	h.args[args.InstanceID] = was
	return json.Marshal(deployments.ProtectReply{})
}

// check judges options as the guest does, and the machine by the option "colour" of the datastore "memory", when Lacks says
// so.
func (h *Host) check(args deployments.CheckArgs) deployments.CheckReply {
	h.mu.Lock()
	defer h.mu.Unlock()
	reply := deployments.CheckReply{Verdicts: map[string]datastores.Verdict{}}
	for _, d := range args.Definitions {
		var v datastores.Verdict
		for _, problem := range h.Memory.Plugin().Problems(d.Guest) {
			v.Problems = append(v.Problems, problem.Error())
		}
		var options struct{ Colour string }
		if json.Unmarshal(d.Guest, &options) == nil {
			v.Unable = h.lacks[options.Colour]
		}
		reply.Verdicts[d.ID()] = v
	}
	return reply
}

// Lacks has the host unable to serve definitions with an option "colour" of that value, and says why; "" takes that back.
// The host announces it with its next status.
func (h *Host) Lacks(colour, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lacks == nil {
		h.lacks = map[string]string{}
	}
	h.lacks[colour] = why
	h.agent.StatusChanged()
}

// CannotLaunch has the host fail to launch instances.
func (h *Host) CannotLaunch(why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unable = why
}

// CannotRemove has the host fail to remove an instance.
func (h *Host) CannotRemove(id string, why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stays == nil {
		h.stays = map[string]error{}
	}
	h.stays[id] = why
}

// CannotFilter has the host fail to change who may reach an instance.
func (h *Host) CannotFilter(why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unfiltered = why
}

// announce is the host's status.
func (h *Host) announce(context.Context) json.RawMessage {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := deployments.Announcement{
		Machine: deployments.Machine{
			Name: "test", Driver: "memory", Capacity: deployments.Capacity{MemoryMB: 1 << 20, VCPUs: 64, DiskGB: 1 << 20}, Pool: Pool("127.99.0.0/16"),
		},
		Offer: deployments.Offer{Managers: []string{h.Memory.Plugin().Manifest().Manager}, Inventory: fmt.Sprint(h.lacks)},
	}
	if h.says != nil {
		h.says(&a)
	}
	b, _ := json.Marshal(a)
	return b
}

// Pool is a pool that a test knows to be one.
func Pool(cidr string) deployments.Pool {
	p, err := deployments.ParsePool(cidr)
	if err != nil {
		panic(err)
	}
	return p
}

// Prefixes are networks that a test knows to be some.
func Prefixes(cidrs ...string) (all []netip.Prefix) {
	for _, cidr := range cidrs {
		all = append(all, netip.MustParsePrefix(cidr))
	}
	return all
}

// Says has the host announce what f makes of its announcement, with its next status. f must not change what it was given.
func (h *Host) Says(f func(*deployments.Announcement)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.says = f
	h.agent.StatusChanged()
}

// resize is a host's whose volumes grow only while the server is stopped.
func (h *Host) resize(args deployments.ResizeArgs) (json.RawMessage, error) {
	if args.VolumeGB > 0 && !args.Stopped {
		return json.Marshal(deployments.ResizeReply{StopFirst: true})
	}
	h.mu.Lock()
	was := h.args[args.InstanceID]
	h.mu.Unlock()
	was.VolumeGB, was.MemoryMB = cmp.Or(args.VolumeGB, was.VolumeGB), cmp.Or(args.MemoryMB, was.MemoryMB)
	h.StopGuest(args.InstanceID)
	if err := h.launch(was); err != nil {
		return nil, err
	}
	return json.Marshal(deployments.ResizeReply{})
}

// HoldLaunches has every launch wait until it is released.
func (h *Host) HoldLaunches() (release func()) {
	h.launching.Lock()
	return sync.OnceFunc(h.launching.Unlock)
}

// Launched is how an instance was launched, and changed since.
func (h *Host) Launched(id string) deployments.LaunchArgs {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.args[id]
}

// DataDir is where the data of an instance would be, if its datastore kept any there: a volume can be mounted on it.
func (h *Host) DataDir(t testing.TB, id string) string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(h.dir, id, "root", "var/lib/*"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("the data directories of %s: %q, %v", id, dirs, err)
	}
	return dirs[0]
}

func (h *Host) launch(args deployments.LaunchArgs) error {
	dir := filepath.Join(h.dir, args.InstanceID)
	if err := os.MkdirAll(filepath.Join(dir, "root"), 0o700); err != nil {
		return err
	}
	g, err := guest.New(guest.Config{Plugin: h.Memory.Plugin(), Version: "test", Guest: datastores.GuestConfig{
		InstanceID: args.InstanceID, Gateways: h.gateways, AllowHTTP: true, Token: datastores.NewSecret(args.Token), MemoryMB: args.MemoryMB,
		Dir: filepath.Join(dir, "guest"), Root: filepath.Join(dir, "root"), Address: args.Address, UID: -1, GID: -1,
	}})
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.unable != nil {
		return h.unable
	}
	if _, running := h.guests[args.InstanceID]; running {
		return fmt.Errorf("instance %s is there already", args.InstanceID)
	}
	h.guests[args.InstanceID], h.args[args.InstanceID] = run(g.Run), args
	return nil
}

// StartGuest starts the guest of an instance that was stopped, with what it knew.
func (h *Host) StartGuest(t testing.TB, id string) {
	t.Helper()
	h.mu.Lock()
	args := h.args[id]
	h.mu.Unlock()
	if err := h.launch(args); err != nil {
		t.Fatal(err)
	}
}

// StopGuest ends an instance's guest; its database goes on.
func (h *Host) StopGuest(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if end, ok := h.guests[id]; ok {
		end()
		delete(h.guests, id)
	}
}

package guest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/wire"
)

// Config says what a guest is made of.
type Config struct {
	Plugin    datastores.Plugin
	Guest     datastores.GuestConfig
	Version   string       // of the binary
	AllowHTTP bool         // see agent.Config
	Log       *slog.Logger // nil: nothing is logged
}

// Guest manages one database server for the gateways that it polls. A command finds its method in the table, and the method
// finds the manager in one of these ways:
//
//	agent ─► handler.Run ─► table ─┬─► tenant, prepared ─► in turn: one call at a time ──────────────┬─► manager ─► server
//	                               ├─► operate, upgrade ─► in turn, alone: what runs aside is ended ─┤
//	                               └─► backup ─► begins in turn ─► aside: beside tenants' calls ─────┤
//	supervise ─► observe: Status, at any time ───────────────────────────────────────────────────────┤
//	          └► revive a server that has crashed: in turn, alone ───────────────────────────────────┤
//	keepShipping ─► the log, a part in turn ─────────────────────────────────────────────────────────┘
//
// What must outlive the guest is stored before it is done: what the server should be in the stateFile, what was published of
// its logs in the logbook, how far its log was shipped in the shipper.
type Guest struct {
	plugin datastores.Plugin
	config datastores.GuestConfig
	log    *slog.Logger
	agent  *agent.Agent
	blobs  blobs  // the agent; tests bring another
	signer signer // the agent, too
	table  map[string]method

	// Set by open, before the first command, status or check.
	opened  chan struct{}
	broken  error                  // why there is no manager; then nothing of what follows is set
	served  atomic.Pointer[served] // changed by upgrade
	state   *stateFile
	logbook *logbook
	volume  *space
	shipper *shipper

	certificates *certificates
	tlsNext      time.Time                   // of supervise alone: not before then it asks for a certificate
	tlsTold      atomic.Pointer[certificate] // what the running server was told of by this process

	turn       chan struct{}          // full while somebody calls the manager, other than for its status
	aside      aside                  // the backup that runs without the turn
	operations atomic.Int64           // begun and ended by commands that start or stop the server: odd during one
	trouble    atomic.Pointer[string] // why the server could not be started again
	followed   followed
}

// served is the server as one version's options describe it. It does not change.
type served struct {
	raw      json.RawMessage // the options as they came
	options  datastores.GuestOptions
	env      datastores.Env
	reserved reserved
	manager  datastores.Manager
}

// New makes a guest; it touches neither disk nor network. The error lists everything that is wrong with c.
func New(c Config) (*Guest, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if err := validate(c.Guest); err != nil {
		return nil, err
	}
	manifest, err := json.Marshal(c.Plugin.Manifest())
	if err != nil {
		return nil, err
	}
	g := &Guest{
		plugin: c.Plugin,
		config: c.Guest,
		log:    c.Log,
		opened: make(chan struct{}),
		turn:   make(chan struct{}, 1),
	}
	g.table = g.methods()
	g.agent, err = agent.New(agent.Config{
		Gateways:   c.Guest.Gateways,
		CA:         c.Guest.CA,
		AllowHTTP:  c.AllowHTTP || c.Guest.AllowHTTP,
		Dir:        filepath.Join(c.Guest.Dir, "agent"),
		Kind:       agentpoll.Guest,
		Token:      c.Guest.Token.Reveal(),
		Version:    c.Version,
		Manifest:   manifest,
		OnEnrolled: g.open,
		Handler:    handler{g},
		Status:     g.status,
		Log:        c.Log,
	})
	if err != nil {
		return nil, err
	}
	g.blobs, g.signer = g.agent, g.agent
	return g, nil
}

// Run enrols, polls and runs commands until ctx ends; then it returns nil. The database server stays as it is.
func (g *Guest) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var supervising sync.WaitGroup
	supervising.Go(func() {
		select {
		case <-g.opened:
			if g.broken == nil {
				supervising.Go(func() { g.keepShipping(ctx) })
				g.supervise(ctx)
			}
		case <-ctx.Done():
		}
	})
	err := g.agent.Run(ctx)
	cancel()
	supervising.Wait()
	return err
}

// open makes the manager, with the options that the gateway gave at enrolment or with the last upgrade. When it cannot be
// made the guest works all the same: it has enrolled, and every command is answered with the reason.
func (g *Guest) open(reply agentpoll.EnrollReply) (err error) {
	if reply.AgentID != g.config.InstanceID {
		return fmt.Errorf("the token is of instance %s, the configuration of %s", reply.AgentID, g.config.InstanceID)
	}
	if g.state, err = openState(g.config.Dir); err != nil {
		return err
	}
	if g.certificates, err = openCertificates(g.config.Dir); err != nil {
		return err
	}
	options := reply.Options
	if upgraded := g.state.get().Options; upgraded != nil {
		options = upgraded
	}
	s, err := g.serve(options)
	if err != nil {
		g.log.Error("the options are not good: there is nothing to manage", "err", err)
		g.broken = datastores.Errorf(datastores.Conflict, "the options of this datastore version are not good, and an operator has to mend its definition: %v", err)
		close(g.opened)
		return nil
	}
	if g.logbook, err = openLogbook(g.config.Dir); err != nil {
		return err
	}
	if g.shipper, err = openShipper(g.config.Dir); err != nil {
		return err
	}
	g.volume = &space{path: s.env.DataDir}
	g.served.Store(s)
	close(g.opened)
	return nil
}

// serve makes the manager with a definition's guest half. It touches nothing.
func (g *Guest) serve(options json.RawMessage) (*served, error) {
	common, err := g.plugin.Common(options)
	if err != nil {
		return nil, err
	}
	s := &served{
		raw:      options,
		options:  common,
		reserved: reserved{users: common.IgnoreUsers, databases: common.IgnoreDBs},
		env: datastores.Env{
			InstanceID: g.config.InstanceID,
			Dir:        g.config.Dir,
			DataDir:    filepath.Join(g.config.Root, common.MountPoint),
			Address:    g.config.Address,
			UID:        g.config.UID,
			GID:        g.config.GID,
			MemoryMB:   g.config.MemoryMB,
			CgroupDirs: g.config.CgroupDirs,
			Log:        g.log,
		},
	}
	s.env.TLS = func() datastores.ServerTLS { return g.serverTLS(s) }
	s.manager, err = g.plugin.Open(s.env, options)
	return s, err
}

// take waits for the caller's turn to call the manager. release ends it.
func (g *Guest) take(ctx context.Context) (release func(), err error) {
	select {
	case g.turn <- struct{}{}:
		return func() { <-g.turn }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("another operation on the server has not ended: %w", ctx.Err())
	}
}

// takeAlone waits for the caller's turn to start or stop the server, or to replace what it holds: a backup that runs is
// ended first, for that reason.
func (g *Guest) takeAlone(ctx context.Context, reason string) (release func(), err error) {
	release, err = g.take(ctx)
	if err != nil {
		return nil, err
	}
	if err := g.aside.end(ctx, reason); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// handler is what the agent sees of a guest.
type handler struct{ *Guest }

// Method implements [agent.Handler] from the table of datastores.
func (h handler) Method(name string) (agent.Traits, bool) {
	row, ok := datastores.LookupMethod(name)
	if !ok || h.table[name] == nil {
		return agent.Traits{}, false
	}
	if row.Needs != "" && !slices.Contains(h.plugin.Manifest().Capabilities, row.Needs) {
		return agent.Traits{}, false
	}
	return agent.Traits{Long: row.Long, Reads: row.Reads}, true
}

// Run implements [agent.Handler].
func (h handler) Run(ctx context.Context, cmd agent.Command) (json.RawMessage, error) {
	run := h.table[cmd.Method]
	if run == nil {
		return nil, agentpoll.Errorf(agentpoll.Unsupported, "there is no method %q", cmd.Method)
	}
	if h.broken != nil {
		return nil, wire.Error(h.broken)
	}
	value, err := run(ctx, cmd)
	return value, wire.Error(err)
}

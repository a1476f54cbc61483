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

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/datastores"
)

// Config says what a guest is made of.
type Config struct {
	Plugin    datastores.Plugin
	Guest     datastores.GuestConfig
	Version   string       // of the binary
	AllowHTTP bool         // see agent.Config
	Log       *slog.Logger // nil: nothing is logged
}

// Guest manages one database server for the gateways that it polls.
type Guest struct {
	plugin datastores.Plugin
	config datastores.GuestConfig
	log    *slog.Logger
	agent  *agent.Agent
	table  map[string]method

	// Set by open, before the first command, status or check; never changed after.
	opened   chan struct{}
	manager  datastores.Manager
	options  datastores.GuestOptions
	env      datastores.Env
	reserved reserved
	state    *stateFile
	volume   *volume

	turn       chan struct{}          // full while somebody calls the manager, other than for its status
	operations atomic.Int64           // begun and ended by commands that start or stop the server: odd during one
	trouble    atomic.Pointer[string] // why the server could not be started again
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
	return g, nil
}

// Run enrols, polls and runs commands until ctx ends; then it returns nil. The database server stays as it is.
func (g *Guest) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var supervising sync.WaitGroup
	supervising.Go(func() {
		select {
		case <-g.opened:
			g.supervise(ctx)
		case <-ctx.Done():
		}
	})
	err := g.agent.Run(ctx)
	cancel()
	supervising.Wait()
	return err
}

// open makes the manager, with the options that the gateway gave at enrolment.
func (g *Guest) open(reply agentpoll.EnrollReply) (err error) {
	if reply.AgentID != g.config.InstanceID {
		return fmt.Errorf("the token is of instance %s, the configuration of %s", reply.AgentID, g.config.InstanceID)
	}
	if g.options, err = g.plugin.Common(reply.Options); err != nil {
		return err
	}
	g.reserved = reserved{users: g.options.IgnoreUsers, databases: g.options.IgnoreDBs}
	g.env = datastores.Env{
		InstanceID: g.config.InstanceID,
		Dir:        g.config.Dir,
		DataDir:    filepath.Join(g.config.Root, g.options.MountPoint),
		Address:    g.config.Address,
		UID:        g.config.UID,
		GID:        g.config.GID,
		MemoryMB:   g.config.MemoryMB,
		CgroupDirs: g.config.CgroupDirs,
		Log:        g.log,
	}
	g.volume = &volume{path: g.env.DataDir}
	if g.state, err = openState(g.config.Dir); err != nil {
		return err
	}
	if g.manager, err = g.plugin.Open(g.env, reply.Options); err != nil {
		return err
	}
	close(g.opened)
	return nil
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
	if !cmd.Deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, cmd.Deadline)
		defer cancel()
	}
	value, err := run(ctx, cmd)
	return value, wireError(err)
}

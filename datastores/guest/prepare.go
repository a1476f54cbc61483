package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// prepare makes the server and everything that the tenant has asked for at create. It may be run again at any time.
func (g *Guest) prepare(ctx context.Context, cmd agent.Command, args datastores.PrepareArgs) (reply datastores.PrepareReply, err error) {
	release, err := g.takeAlone(ctx, "the server is prepared anew")
	if err != nil {
		return reply, err
	}
	defer release()
	defer g.agent.StatusChanged()
	err = g.state.change(func(s *state) {
		s.Phase, s.Running, s.Attaching = phaseBuilding, true, false
		s.Modules, s.Overrides = nil, overrides{}
		if speaksTLS(g.served.Load().manager) {
			s.TLS = asked(args.TLS)
		}
	})
	if err != nil {
		return reply, err
	}
	g.agent.StatusChanged()
	if err = g.build(ctx, cmd.Progress, args); err == nil {
		reply, err = replyOf(ctx, g.served.Load().manager)
		reply.TLS, reply.Modules = g.reportedTLS(), g.state.get().Modules
	}
	switch {
	case err == nil:
		return reply, g.state.change(func(s *state) { s.Phase = phasePrepared })
	case errors.Is(ctx.Err(), context.Canceled):
		return reply, err // the guest is ending, and the command comes again; or nobody wants the server any more
	}
	return reply, errors.Join(err, g.state.change(func(s *state) { s.Phase, s.Running = phaseFailed, false }))
}

// build runs the steps of prepare in their order.
func (g *Guest) build(ctx context.Context, progress func(agentpoll.Progress), args datastores.PrepareArgs) error {
	s := g.served.Load()
	origin, err := g.originOf(s, args)
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	defer debug.FreeOSMemory() // enrolment, TLS and a restore took more than an idle guest may
	// As if repeated, always: whatever is there was made by an earlier try.
	c := call{s.reserved, s.manager, true}
	steps := []struct {
		name string
		do   func(say func(message string)) error
	}{
		{"packages", func(func(string)) error { return service.System("").Demand(ctx, s.options.Packages) }},
		{"data directory", func(func(string)) error { return g.makeDataDir(ctx, s) }},
		{"certificate", func(func(string)) error {
			if err := g.followByTLS(ctx, s, args.Replicate != nil && args.Replicate.TLS); err != nil {
				return err
			}
			return g.bringTLS(ctx, s, signAsked)
		}},
		{"server", func(say func(string)) error { return g.makeServer(ctx, s, origin, args.Modules, say) }},
		{"databases", func(func(string)) error {
			return optional(ctx, c, s.manager, len(args.Databases) > 0, createDatabases, datastores.CreateDatabaseArgs{Databases: args.Databases})
		}},
		{"users", func(func(string)) error {
			return optional(ctx, c, s.manager, len(args.Users) > 0, createUsers, datastores.CreateUserArgs{Users: args.Users})
		}},
		{"root", func(func(string)) error {
			return optional(ctx, c, s.manager, !args.RootPassword.IsZero(), enableRoot, datastores.RootArgs{Password: args.RootPassword})
		}},
		{"modules", func(func(string)) error {
			return optional(ctx, c, s.manager, len(args.Modules) > 0, g.changeModules, datastores.ModulesArgs{Apply: args.Modules})
		}},
	}
	for i, step := range steps {
		say := func(message string) {
			progress(agentpoll.Progress{Done: int64(i), Total: int64(len(steps)), Unit: "steps", Message: message})
		}
		say(step.name)
		if err := step.do(say); err != nil {
			return fmt.Errorf("prepare, step %s: %w", step.name, err)
		}
	}
	return nil
}

// makeServer has the manager make the server, with the parameters of the tenant's and those of modules.
func (g *Guest) makeServer(ctx context.Context, s *served, o origin, list []datastores.ModuleArgs, say func(string)) error {
	if c, ok := s.manager.(datastores.Configuration); ok {
		if err := g.tryOverrides(ctx, c, o.overrides); err != nil {
			return err
		}
	}
	group := o.overrides
	modules := g.firstModules(ctx, s.manager, o, list)
	if len(modules) > 0 {
		o.overrides = below(group, modules)
	}
	if err := s.manager.Prepare(ctx, o.request(say)); err != nil {
		return err
	}
	return g.state.change(func(now *state) {
		now.Overrides = firstOverrides(s.manager, o.overrides)
		now.Overrides.Group, now.Overrides.Modules = group, modules
	})
}

// replyOf asks a server that is ready for what the gateway cannot know.
func replyOf(ctx context.Context, m datastores.Manager) (reply datastores.PrepareReply, err error) {
	if c, ok := m.(datastores.Configuration); ok {
		reply.Configuration = c.DefaultConfiguration()
	}
	root, ok := m.(datastores.Root)
	if !ok {
		return reply, nil
	}
	enabled, err := root.RootEnabled(ctx)
	if err != nil {
		return reply, fmt.Errorf("prepare: %w", err)
	}
	reply.RootEnabled = &enabled
	return reply, nil
}

// optional calls a capability when it is wanted.
func optional[C, A, R any](ctx context.Context, c call, m datastores.Manager, wanted bool,
	run func(context.Context, call, C, A) (R, error), args A,
) error {
	if !wanted {
		return nil
	}
	able, ok := m.(C)
	if !ok {
		return datastores.Errorf(datastores.Unsupported, "this datastore has none")
	}
	_, err := run(ctx, c, able, args)
	return err
}

// makeDataDir makes the data directory below Root, with the volume mounted on it, and gives it to the server's user. No link
// may lead out of Root.
func (g *Guest) makeDataDir(ctx context.Context, s *served) error {
	root, err := os.OpenRoot(g.config.Root)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	name := strings.TrimPrefix(filepath.Clean(s.options.MountPoint), "/")
	if name == "" {
		return datastores.Errorf(datastores.Invalid, "mount_point is /, which cannot be the data directory")
	}
	if err := root.MkdirAll(name, 0o755); err != nil {
		return err
	}
	if err := g.mount(ctx, s, true); err != nil {
		return err
	}
	if err := root.Chmod(name, 0o700); err != nil {
		return err
	}
	if s.env.UID < 0 {
		return nil
	}
	return root.Lchown(name, s.env.UID, s.env.GID)
}

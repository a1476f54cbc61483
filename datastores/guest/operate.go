package guest

import (
	"context"

	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/datastores"
)

func (g *Guest) ping(context.Context, agent.Command, none) (none, error) { return none{}, nil }

func (g *Guest) start(ctx context.Context, _ agent.Command, _ none) (reply datastores.StartReply, err error) {
	err = g.operate(ctx, "start", toRun, func(s *served) error {
		if err := g.bringOverrides(ctx, s.manager, nil); err != nil {
			return err
		}
		reply.Refused, err = g.launch(ctx, s, s.manager.Start)
		return err
	})
	return reply, err
}

func (g *Guest) stop(ctx context.Context, _ agent.Command, _ none) (none, error) {
	return none{}, g.operate(ctx, "stop", toStop, func(s *served) error { return s.manager.Stop(ctx) })
}

// restart is done already when the command is repeated and the server was started since it was accepted: a guest that
// was killed in between must not interrupt the tenants twice.
func (g *Guest) restart(ctx context.Context, cmd agent.Command, args datastores.RestartArgs) (reply datastores.StartReply, err error) {
	err = g.operate(ctx, "restart", toRun, func(s *served) error {
		again := restarting(s.manager)
		if cmd.Repeated && s.manager.Status(ctx).Since.After(cmd.Accepted) {
			again = s.manager.Start // returns when it answers
		} else if err := g.bringOverrides(ctx, s.manager, args.Overrides); err != nil {
			return err
		}
		reply.Refused, err = g.launch(ctx, s, again)
		return err
	})
	return reply, err
}

// restarting is how a manager restarts its server.
func restarting(m datastores.Manager) func(context.Context) error {
	if r, ok := m.(datastores.Restarter); ok {
		return r.Restart
	}
	return func(ctx context.Context) error {
		if err := m.Stop(ctx); err != nil {
			return err
		}
		return m.Start(ctx)
	}
}

// A tenant who starts the server by hand gives up on a replica that was cut and whose command has not come again.
func toRun(s *state)  { s.Running, s.Attaching = true, false }
func toStop(s *state) { s.Running = false }
func asIs(*state)     {}

// operate does what may start or stop a prepared server. What it should be is stored first: whoever finds the server
// otherwise after a crash knows what to do.
func (g *Guest) operate(ctx context.Context, name string, to func(*state), do func(*served) error) error {
	if err := g.prepared(); err != nil {
		return err
	}
	release, err := g.takeAlone(ctx, name+" needs the server for itself")
	if err != nil {
		return err
	}
	defer release()
	if err := g.prepared(); err != nil {
		return err
	}
	defer g.agent.StatusChanged()
	g.operations.Add(1)
	defer g.operations.Add(1)
	s, next := g.served.Load(), g.state.get()
	if to(&next); next.Running {
		if err := g.mount(ctx, s, false); err != nil {
			return err
		}
	}
	if err := g.state.change(to); err != nil {
		return err
	}
	return do(s)
}

package guest

import (
	"context"

	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/datastores"
)

func (g *Guest) ping(context.Context, agent.Command, none) (none, error) { return none{}, nil }

func (g *Guest) start(ctx context.Context, _ agent.Command, _ none) (none, error) {
	return none{}, g.operate(ctx, true, g.manager.Start)
}

func (g *Guest) stop(ctx context.Context, _ agent.Command, _ none) (none, error) {
	return none{}, g.operate(ctx, false, g.manager.Stop)
}

// restart is done already when the command is repeated and the server was started since it was accepted: a guest that
// was killed in between must not interrupt the tenants twice.
func (g *Guest) restart(ctx context.Context, cmd agent.Command, _ none) (none, error) {
	return none{}, g.operate(ctx, true, func(ctx context.Context) error {
		if cmd.Repeated && g.manager.Status(ctx).Since.After(cmd.Accepted) {
			return g.manager.Start(ctx) // returns when it answers
		}
		if r, ok := g.manager.(datastores.Restarter); ok {
			return r.Restart(ctx)
		}
		if err := g.manager.Stop(ctx); err != nil {
			return err
		}
		return g.manager.Start(ctx)
	})
}

// operate starts or stops a prepared server. What it should be is stored first: whoever finds the server otherwise
// after a crash knows what to do.
func (g *Guest) operate(ctx context.Context, running bool, do func(context.Context) error) error {
	if g.state.get().Phase != phasePrepared {
		return datastores.Errorf(datastores.Conflict, "the database server is not prepared yet")
	}
	release, err := g.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	defer g.agent.StatusChanged()
	g.operations.Add(1)
	defer g.operations.Add(1)
	if err := g.state.set(state{phasePrepared, running}); err != nil {
		return err
	}
	return do(ctx)
}

package guest

import (
	"context"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/datastores"
)

// clustered makes a method of what a member of a cluster can do. It has the server to itself: what is left half done by a guest that ends
// is done again.
func (g *Guest) clustered(do func(datastores.Cluster, context.Context, datastores.ClusterView) error) func(context.Context, agent.Command, datastores.ClusterArgs) (none, error) {
	return func(ctx context.Context, cmd agent.Command, args datastores.ClusterArgs) (none, error) {
		if err := g.usable(); err != nil {
			return none{}, err
		}
		return none{}, g.operate(ctx, cmd.Method, asIs, func(s *served) error {
			c, ok := s.manager.(datastores.Cluster)
			if !ok {
				return datastores.Errorf(datastores.Unsupported, "this datastore cannot do %s", cmd.Method)
			}
			args.Cluster.Progress = func(message string) { cmd.Progress(agentpoll.Progress{Message: message}) }
			return do(c, ctx, args.Cluster)
		})
	}
}

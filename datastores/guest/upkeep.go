package guest

import (
	"context"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// upkeepTimeout is for how long calls may wait for a manager that looks after its server.
const upkeepTimeout = 5 * time.Second

// upkeep has the manager look after its server, unless somebody else has the turn: it comes again soon. It returns what is wrong,
// which is logged when it is not what it was before.
func (g *Guest) upkeep(ctx context.Context, before string) (trouble string) {
	m, ok := g.served.Load().manager.(datastores.Upkeep)
	if !ok {
		return ""
	}
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	default:
		return before
	}
	if s := g.state.get(); !s.Running || s.between() {
		return before
	}
	bounded, cancel := context.WithTimeout(ctx, upkeepTimeout)
	defer cancel()
	if err := m.Upkeep(bounded); err != nil && ctx.Err() == nil {
		trouble = datastores.Told(err).Message
	}
	if trouble != "" && trouble != before {
		g.log.Warn("the database server cannot be looked after", "err", trouble)
	}
	return trouble
}

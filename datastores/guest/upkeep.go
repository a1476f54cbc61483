package guest

import (
	"context"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// upkeepTimeout is for how long calls may wait for a manager that looks after its server; mendTimeout for one whose server is blocked, of
// which calls want nothing meanwhile.
const (
	upkeepTimeout = 5 * time.Second
	mendTimeout   = time.Minute
)

// upkeep has the manager look after its server, which is healthy. It returns what is wrong.
func (g *Guest) upkeep(ctx context.Context, before string) (trouble string) {
	m, ok := g.served.Load().manager.(datastores.Upkeep)
	if !ok {
		return ""
	}
	return g.look(ctx, before, upkeepTimeout, m.Upkeep)
}

// mend has the manager bring its server back, which is blocked. It returns for what it waits.
func (g *Guest) mend(ctx context.Context, before string) (trouble string) {
	m, ok := g.served.Load().manager.(datastores.Mender)
	if !ok {
		return ""
	}
	return g.look(ctx, before, mendTimeout, m.Mend)
}

// look calls the manager, unless somebody else has the turn: it comes again soon. What is wrong is logged when it is not what it was before.
func (g *Guest) look(ctx context.Context, before string, timeout time.Duration, call func(context.Context) error) (trouble string) {
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	default:
		return before
	}
	if s := g.state.get(); !s.Running || s.between() {
		return before
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := call(bounded); err != nil && ctx.Err() == nil {
		trouble = datastores.Told(err).Message
	}
	if trouble != "" && trouble != before {
		g.log.Warn("the database server cannot be looked after", "err", trouble)
	}
	return trouble
}

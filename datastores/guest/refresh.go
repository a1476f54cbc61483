package guest

import (
	"context"

	"github.com/cofferdb/coffer/datastores"
)

// refresh restarts a server that does not go on until it is restarted, unless somebody else was quicker. A backup that is
// being made of it is let end first; the next look comes soon.
func (g *Guest) refresh(ctx context.Context) {
	release, err := g.take(ctx)
	if err != nil {
		return
	}
	defer release()
	reason := g.observe(ctx).Restart
	if reason == "" || g.aside.busy() {
		return
	}
	g.operations.Add(1)
	defer g.operations.Add(1)
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	g.log.Info("restarting the database server, which does not go on", "reason", reason)
	s := g.served.Load()
	if _, err := g.launch(ctx, s, restarting(s.manager)); err != nil {
		told := datastores.Told(err)
		g.trouble.Store(&told.Message)
		g.log.Error("the database server cannot be restarted", "err", told.Message, "detail", told.Detail)
	}
	g.agent.StatusChanged()
}

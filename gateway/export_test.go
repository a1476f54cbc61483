package gateway

import (
	"context"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

// Route is a row of the route table, for tests that go through all of them.
type Route struct {
	Method string
	Path   string
	Access string
}

// Routes returns the route table.
func Routes() []Route {
	names := map[access]string{open: "open", reader: "reader", member: "member", admin: "admin"}
	var all []Route
	for _, r := range routes() {
		all = append(all, Route{r.method, r.path, names[r.access]})
	}
	return all
}

// Settled has the gateway judge who is absent, as one does that was started long ago. It must be called before the first request.
func (g *Gateway) Settled() { g.started = g.started.Add(-time.Hour) }

// Trust is what an agent is told to believe.
func (g *Gateway) Trust(ctx context.Context, agentID string) *agentpoll.Trust {
	return g.trust(ctx, agentID)
}

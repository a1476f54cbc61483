package gateway

import (
	"context"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

// Settled has the gateway judge who is absent, as one does that was started long ago. It must be called before the first request.
func (g *Gateway) Settled() { g.control.Started = g.control.Started.Add(-time.Hour) }

// Trust is what an agent is told to believe.
func (g *Gateway) Trust(ctx context.Context, agentID string) *agentpoll.Trust {
	return g.control.Trust(ctx, agentID)
}

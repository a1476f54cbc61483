package gateway

import (
	"context"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/etcdschema"
)

// Settled has all gateways judge who is absent, as when there has been one for long.
func (g *Gateway) Settled(ctx context.Context) error {
	_, err := g.Store.Update(ctx, nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
		return []etcdschema.Op{etcdschema.Put(etcdschema.OpenedKey(), etcdschema.Opened{At: time.Now().Add(-time.Hour)})}, nil
	})
	return err
}

// Trust is what an agent is told to believe.
func (g *Gateway) Trust(ctx context.Context, agentID string) *agentpoll.Trust {
	return g.control.Trust(ctx, agentID)
}

package gateway

import (
	"context"
	"net/http"
	"time"
)

// healthz says that the process lives.
func (g *Gateway) healthz(*request) (reply, error) {
	return reply{http.StatusOK, map[string]string{"status": "ok"}}, nil
}

// readyz says whether requests should be sent here: etcd answers and the gateway is not draining.
func (g *Gateway) readyz(r *request) (reply, error) {
	if g.draining.Load() {
		return reply{}, faultf(unavailable, "The gateway is draining.")
	}
	ctx, cancel := context.WithTimeout(r.ctx, 2*time.Second)
	defer cancel()
	if err := g.store.Ping(ctx); err != nil {
		g.log.Warn("not ready: etcd does not answer", "err", err)
		return reply{}, faultf(unavailable, "etcd does not answer.")
	}
	return reply{http.StatusOK, map[string]string{"status": "ready"}}, nil
}

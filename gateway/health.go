package gateway

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// healthz says that the process lives.
func (g *Gateway) healthz(*request) (reply, error) {
	return reply{http.StatusOK, map[string]string{"status": "ok"}}, nil
}

// readyz says whether requests should be sent here: etcd answers and the gateway is not draining.
func (g *Gateway) readyz(*request) (reply, error) {
	if g.draining.Load() {
		return reply{}, faultf(unavailable, "The gateway is draining.")
	}
	if err := g.ready.ask(time.Now(), g.pingEtcd); err != nil {
		return reply{}, faultf(unavailable, "etcd does not answer.")
	}
	return reply{http.StatusOK, map[string]string{"status": "ready"}}, nil
}

func (g *Gateway) pingEtcd() error {
	ctx, cancel := context.WithTimeout(g.running, 2*time.Second)
	defer cancel()
	err := g.store.Ping(ctx)
	if err != nil {
		g.log.Warn("not ready: etcd does not answer", "err", err)
	}
	return err
}

// readyFor is how long an answer of etcd is good: everybody may ask, and etcd must not be asked by everybody.
const readyFor = time.Second

// readiness remembers whether etcd has answered.
type readiness struct {
	mu    sync.Mutex
	asked time.Time
	err   error
}

// ask returns what check returned within the last second, or asks it; those who come meanwhile wait for the same answer.
func (r *readiness) ask(now time.Time, check func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked.IsZero() || now.Sub(r.asked) >= readyFor {
		r.err, r.asked = check(), now
	}
	return r.err
}

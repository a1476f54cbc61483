package gateway

import (
	"context"
	"errors"
	"sync"
	"time"
)

// readyToServe reports whether requests should be sent here: etcd answers and the gateway is not draining.
func (g *Gateway) readyToServe() error {
	if g.draining.Load() {
		return errors.New("the gateway is draining")
	}
	if g.ready.ask(time.Now(), g.pingEtcd) != nil {
		return errors.New("etcd does not answer")
	}
	return nil
}

func (g *Gateway) pingEtcd() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := g.Store.Ping(ctx)
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

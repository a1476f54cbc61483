package gateway

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
)

// problems remembers what was last found wrong with the definitions, so that the log says each thing once.
type problems struct {
	mu    sync.Mutex
	known []string
}

// catalogue reads what operators have defined, as it is now: a definition is usable as soon as it is put. Hosts that have not
// judged it are asked; nobody waits for them, see [Gateway.settled].
func (g *Gateway) catalogue(ctx context.Context) (etcdschema.Catalogue, error) {
	c, err := g.readCatalogue(ctx)
	if err == nil {
		g.askHosts(c)
	}
	return c, err
}

// readCatalogue reads it and logs what is new of its problems.
func (g *Gateway) readCatalogue(ctx context.Context) (etcdschema.Catalogue, error) {
	c, err := g.store.Catalogue(ctx)
	if err != nil {
		return c, err
	}
	g.problems.mu.Lock()
	defer g.problems.mu.Unlock()
	var now []string
	for _, p := range c.Problems {
		now = append(now, p.Error())
		if !slices.Contains(g.problems.known, p.Error()) {
			g.log.Warn("a definition is not good", "key", p.Key, "path", p.Path, "problem", p.Message, "last_good_in_force", p.InForce)
		}
	}
	g.problems.known = now
	return c, nil
}

// countProblems is for /metrics; -1 when etcd does not answer.
func (g *Gateway) countProblems() float64 {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	c, err := g.readCatalogue(ctx)
	if err != nil {
		return -1
	}
	return float64(len(c.Problems))
}

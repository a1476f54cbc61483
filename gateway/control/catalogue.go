package control

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

// Catalogue reads what operators have defined, as it is now: a definition is usable as soon as it is put. Hosts that have not
// judged it are asked; nobody waits for them, see [Plane.Settled].
func (cp *Plane) Catalogue(ctx context.Context) (etcdschema.Catalogue, error) {
	c, err := cp.readCatalogue(ctx)
	if err == nil {
		cp.askHosts(c)
	}
	return c, err
}

// readCatalogue reads it and logs what is new of its problems.
func (cp *Plane) readCatalogue(ctx context.Context) (etcdschema.Catalogue, error) {
	c, err := cp.Store.Catalogue(ctx)
	if err != nil {
		return c, err
	}
	cp.problems.mu.Lock()
	defer cp.problems.mu.Unlock()
	var now []string
	for _, p := range c.Problems {
		now = append(now, p.Error())
		if !slices.Contains(cp.problems.known, p.Error()) {
			cp.Log.Warn("a definition is not good", "key", p.Key, "path", p.Path, "problem", p.Message, "last_good_in_force", p.InForce)
		}
	}
	cp.problems.known = now
	return c, nil
}

// CountProblems is for /metrics; -1 when etcd does not answer.
func (cp *Plane) CountProblems() float64 {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	c, err := cp.readCatalogue(ctx)
	if err != nil {
		return -1
	}
	return float64(len(c.Problems))
}

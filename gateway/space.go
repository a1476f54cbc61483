package gateway

import (
	"context"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
)

// How often a gateway looks at etcd's size, and at which part of its quota it begins to warn.
const (
	spaceEvery   = 15 * time.Second
	spaceWarning = 0.8
	spaceAgain   = time.Hour // between two warnings
)

// watchSpace warns before etcd is full, and says when it is and when it is not any more, until ctx ends.
func (g *Gateway) watchSpace(ctx context.Context) {
	warned := time.Time{}
	for {
		now, err := g.Store.Space(ctx)
		if err == nil {
			before := g.space.Swap(&now)
			g.tellSpace(before, now, &warned)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(spaceEvery):
		}
	}
}

func (g *Gateway) tellSpace(before *etcdschema.Space, now etcdschema.Space, warned *time.Time) {
	log := g.log.With("size", now.Size, "quota", now.Quota)
	switch wasFull := before != nil && before.Full; {
	case now.Full && !wasFull:
		log.Error("etcd is full and takes no writes: compact it, defragment it and disarm its alarm, see docs/operations.md")
	case now.Full:
	case wasFull:
		log.Info("etcd takes writes again")
	case now.Used() >= spaceWarning && time.Since(*warned) > spaceAgain:
		*warned = time.Now()
		log.Warn("etcd is nearly full: compact and defragment it, or raise its quota, see docs/operations.md")
	}
}

// spaceOf reads a number of etcd's space for a metric; 0 when it was not seen yet.
func (g *Gateway) spaceOf(number func(etcdschema.Space) float64) func() float64 {
	return func() float64 {
		if now := g.space.Load(); now != nil {
			return number(*now)
		}
		return 0
	}
}

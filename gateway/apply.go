package gateway

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// How long records of the past stay.
const (
	keepEvents     = 30 * 24 * time.Hour
	keepResults    = 10 * time.Minute
	keepEnrolments = time.Hour // a used one; an unused one lives as long as the create that waits for it
)

// maxEvents is how many lines a timeline has at most.
const maxEvents = 1000

// tell adds a line to an instance's timeline, and takes the oldest away when it is full.
func tell(in *etcdschema.Instance, e etcdschema.Event) []etcdschema.Op {
	in.LastEvent++
	e.Message = shortened(e.Message)
	ops := []etcdschema.Op{etcdschema.Put(etcdschema.EventKey(in.ID, in.LastEvent), e).For(keepEvents)}
	if old := in.LastEvent - maxEvents; old > 0 {
		ops = append(ops, etcdschema.Delete(etcdschema.EventKey(in.ID, old)))
	}
	return ops
}

// newID makes an id that sorts by time.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// moves are the changes that a decision comes to.
type moves struct {
	ops     []etcdschema.Op
	after   etcdschema.Instance
	peers   []etcdschema.Instance
	removed []etcdschema.Backup // whose segments nobody needs any more
	gone    bool                // the instance was removed
}

// commit makes a decision and writes it in one transaction, then does what follows from it. decide may be called several
// times: only the moves that were committed count.
func (g *Gateway) commit(ctx context.Context, refs []etcdschema.Ref, decide func(etcdschema.Snapshot) (moves, error)) (moves, error) {
	var m moves
	_, err := g.store.Update(ctx, refs, func(s etcdschema.Snapshot) (_ []etcdschema.Op, err error) {
		m, err = decide(s)
		return m.ops, err
	})
	if err != nil {
		return moves{}, err
	}
	for _, in := range append(m.peers, m.after) {
		if in.ID != "" {
			g.deadlines.set(in)
		}
	}
	for _, b := range m.removed {
		g.removeLater(b)
	}
	if m.gone && len(m.after.Logs) > 0 {
		g.removeLogs(m.after)
	}
	return m, nil
}

// transition lets an event happen to an instance, in one transaction. Each of also checks more, or adds to what is written.
func (g *Gateway) transition(ctx context.Context, project, id string, event lifecycle.Event, also ...func(*plan) error) (etcdschema.Instance, error) {
	key := etcdschema.InstanceKey(project, id)
	m, err := g.commit(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) (moves, error) {
		rec, err := etcdschema.Read(s, key)
		in, err := mustFind(rec, err, "Instance", id)
		if err != nil {
			return moves{}, err
		}
		p := g.plan(s, in, event)
		for _, f := range also {
			if err := f(p); err != nil {
				return moves{}, err
			}
		}
		return p.decide()
	})
	return m.after, err
}

package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// deadlines holds a timer for each operation that this gateway has moved. Losing them loses nothing: a deadline is in the
// record, and whoever reads an overdue one moves it on.
type deadlines struct {
	mu      sync.Mutex
	timers  map[string]*time.Timer // by instance
	overdue func(project, id string)
	closed  bool
}

// set arms, moves or stops the instance's timer, as its record says.
func (d *deadlines) set(in etcdschema.Instance) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t, ok := d.timers[in.ID]; ok {
		t.Stop()
		delete(d.timers, in.ID)
	}
	if in.Operation == nil || d.closed {
		return
	}
	if d.timers == nil {
		d.timers = map[string]*time.Timer{}
	}
	d.timers[in.ID] = time.AfterFunc(time.Until(in.Operation.Deadline)+time.Millisecond, func() { d.overdue(in.Project, in.ID) })
}

func (d *deadlines) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for _, t := range d.timers {
		t.Stop()
	}
}

// fresh moves an instance on when it is overdue, and returns it as it is then.
func (g *Gateway) fresh(ctx context.Context, in etcdschema.Instance) (etcdschema.Instance, error) {
	if in.Operation == nil || g.now().Before(in.Operation.Deadline) {
		return in, nil
	}
	return g.transition(ctx, in.Project, in.ID, lifecycle.Event{Type: lifecycle.Overdue})
}

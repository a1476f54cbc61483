package control

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// deadlines holds a timer for each operation that this gateway has moved. Losing them loses nothing: a deadline is in the
// record, and whoever reads an overdue one moves it on.
type deadlines struct {
	mu      sync.Mutex
	timers  map[string]*timer // by instance; one that has fired is not in it
	overdue func(project, id string)
	running sync.WaitGroup // of overdue
	closed  bool
}

// timer is one in [deadlines]; it is itself what tells it from a later one of the same instance.
type timer struct{ stop func() bool }

// set arms, moves or stops the instance's timer, as its record says.
func (d *deadlines) set(in etcdschema.Instance) {
	at := time.Time{}
	if in.Operation != nil {
		at = in.Operation.Deadline
	}
	d.setAt(in, at)
}

// setAt is set to a time of its own.
func (d *deadlines) setAt(in etcdschema.Instance, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t, ok := d.timers[in.ID]; ok {
		t.stop()
		delete(d.timers, in.ID)
	}
	if in.Operation == nil || d.closed {
		return
	}
	if d.timers == nil {
		d.timers = map[string]*timer{}
	}
	t := &timer{}
	t.stop = time.AfterFunc(time.Until(at)+time.Millisecond, func() { d.fire(in.Project, in.ID, t) }).Stop
	d.timers[in.ID] = t
}

// fire runs overdue, unless the timer was stopped or replaced meanwhile.
func (d *deadlines) fire(project, id string, t *timer) {
	d.mu.Lock()
	mine := d.timers[id] == t && !d.closed
	if mine {
		delete(d.timers, id)
		d.running.Add(1)
	}
	d.mu.Unlock()
	if mine {
		defer d.running.Done()
		d.overdue(project, id)
	}
}

// close stops every timer and waits for those that have fired.
func (d *deadlines) close() {
	d.mu.Lock()
	d.closed = true
	for _, t := range d.timers {
		t.stop()
	}
	d.mu.Unlock()
	d.running.Wait()
}

// afterFull is how long nothing is overdue after etcd was full: results could not be stored, and agents that wait between two tries
// need as long until they have sent them.
const afterFull = 2 * time.Minute

// Fresh moves an instance on when it is overdue, and returns it as it is then. When that cannot be done it returns the
// instance as it was read: what one record cannot do must not keep anybody from reading it, or others. The only error is that
// the instance is not there any more.
func (cp *Plane) Fresh(ctx context.Context, in etcdschema.Instance) (etcdschema.Instance, error) {
	if in.Operation == nil || cp.Now().Before(in.Operation.Deadline) || cp.Store.SinceFull() < afterFull {
		return in, nil
	}
	after, err := cp.transition(ctx, in.Project, in.ID, lifecycle.Event{Type: lifecycle.Overdue})
	if fault.IsNotFound(err) {
		return in, err
	}
	if err != nil {
		cp.Log.Warn("an overdue operation could not be moved on; the next reader will try", "instance_id", in.ID, "err", err)
		return in, nil
	}
	return after, nil
}

// overdue is what a deadline's timer does.
func (cp *Plane) overdue(project, id string) {
	ctx, cancel := context.WithTimeout(cp.running, 10*time.Second)
	defer cancel()
	rec, err := etcdschema.Get(ctx, cp.Store, etcdschema.InstanceKey(project, id))
	if err != nil {
		if !errors.Is(err, etcdschema.ErrNotFound) {
			cp.Log.Warn("an overdue operation could not be read; the next reader will move it on", "instance_id", id, "err", err)
		}
		return
	}
	if in := rec.Value; in.Operation != nil && cp.Now().Before(in.Operation.Deadline) {
		cp.deadlines.set(in) // another gateway has given it more time
		return
	}
	_, _ = cp.Fresh(ctx, rec.Value)
	if wait := afterFull - cp.Store.SinceFull(); wait > 0 && ctx.Err() == nil {
		cp.deadlines.setAt(rec.Value, time.Now().Add(wait))
	}
}

// Rearm sets the timer of an instance whose deadline has moved.
func (cp *Plane) Rearm(in etcdschema.Instance) { cp.deadlines.set(in) }

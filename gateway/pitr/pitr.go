// Package pitr has what instances write into their logs be shipped, and finds what it takes to make an instance as another one was at any
// moment. It asks the control plane for base backups as a client would; what has to be done about a log stands in the due index.
package pitr

import (
	"context"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/plan"
)

// Recovery is the point in time recovery of all projects.
type Recovery struct {
	Control *control.Plane
}

// Set has the log of an instance be shipped from now on, so that it is at most rpo seconds behind, or with 0 not any more. What was shipped
// stays as long as a backup needs it.
func (r *Recovery) Set(ctx context.Context, c control.Caller, id string, want control.PITR) error {
	cp := r.Control
	rpo, err := want.Seconds()
	if err != nil {
		return err
	}
	m, err := cp.Instance(ctx, c, id)
	if err == nil && rpo > 0 {
		err = cp.MayReplay(ctx, m.Instance)
	}
	if err != nil {
		return err
	}
	key := etcdschema.InstanceKey(c.Project, id)
	_, err = cp.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		in, err := fault.Found(rec, err, "Instance", id)
		if err == nil {
			err = plan.NoDrill(in)
		}
		if err != nil || in.RPO == rpo {
			return nil, err
		}
		m, err := plan.MemberOf(s, in)
		if err != nil {
			return nil, err
		}
		if rpo > 0 && (m.ReplicaOf() != "" || m.Clustered()) {
			return nil, fault.Errorf(fault.Unprocessable, "Instance %s is a replica, or a member of a cluster: the log of a source, or of an instance alone, is what is shipped.", id)
		}
		return r.set(s, in, rpo, c.Request)
	})
	return err
}

// set writes that an instance's log is shipped, or not any more.
func (r *Recovery) set(s etcdschema.Snapshot, in etcdschema.Instance, rpo int, request string) (ops []etcdschema.Op, err error) {
	now := r.Control.Now().UTC()
	message := "point in time recovery is on"
	in.RPO, in.Updated = rpo, now
	if rpo > 0 {
		ops, err = plan.OpenArchive(s, in, now)
	} else {
		message = "point in time recovery is off"
		ops, err = plan.CloseArchive(s, in.Project, in.ID, "it was turned off", now)
	}
	ops = append(ops, plan.Tell(&in, etcdschema.Event{At: now, Kind: "note", Message: message, Request: request})...)
	return append(ops, etcdschema.Put(etcdschema.InstanceKey(in.Project, in.ID), in)), err
}

// bases are the backups of an instance that the log of a window is replayed on, or will be when they are complete.
func bases(all []etcdschema.Backup, instance, window string) (found []etcdschema.Backup) {
	for _, b := range all {
		if b.Log == nil || b.Instance != instance || b.Log.Window != window {
			continue
		}
		if b.Running() || b.Status == etcdschema.BackupCompleted && !b.Log.At.IsZero() {
			found = append(found, b)
		}
	}
	return found
}

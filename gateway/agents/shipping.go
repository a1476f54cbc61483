package agents

import (
	"context"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/plan"
	"github.com/cofferdb/coffer/gateway/segments"
)

// shipped takes out of a guest's status what it says of the log that it ships, which is not the instance's business: it changes all the time.
func (be *Backend) shipped(s etcdschema.Snapshot, in etcdschema.Instance, status *datastores.Status) ([]etcdschema.Op, error) {
	said := status.Shipped
	status.Shipped = nil
	if said == nil && (in.RPO == 0 || status.Service != datastores.StatusHealthy) {
		return nil, nil
	}
	if f := status.Replication; in.RPO > 0 && f != nil && f.Role == datastores.RoleReplica { // its source ships from now on
		return plan.WakeArchive(s, in.Project, in.ID, be.control.Now().UTC())
	}
	return plan.Shipped(s, in, said, be.control.Now().UTC())
}

// chargeStep is how much more a project is charged for a log at a time, if that is within its quota: what is shipped each few seconds
// costs etcd one write, and not two.
const chargeStep = 8 * plan.SegmentSize

// mayShip tells where segment n of the window goes that a guest ships, and charges its project for it.
func (be *Backend) mayShip(ctx context.Context, agentID, window string, n int64) (where segments.Place, err error) {
	agentKey := etcdschema.AgentKey(agentID)
	_, err = be.control.Store.Update(ctx, []etcdschema.Ref{agentKey}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		agent, err := etcdschema.Read(s, agentKey)
		if err != nil {
			return nil, err
		}
		key := etcdschema.ArchiveKey(agent.Value.Project, agentID)
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return nil, err
		}
		a := rec.Value
		switch w := a.Open(); {
		case a.Window(window) == nil || n < 1:
			return nil, segments.ErrNone
		case w == nil || w.ID != window || n < w.First:
			return nil, segments.ErrNotNow
		default:
			where = segments.Place{Prefix: segments.ArchivePrefix(a.Project, a.Instance, window), Limit: "backup_gigabytes", Most: -1, Size: plan.SegmentSize}
			return be.chargeWindow(s, key, a, w, w.Bytes-w.Freed+max(0, n-w.Last)*plan.SegmentSize)
		}
	})
	return where, be.refusal(err)
}

// chargeWindow charges a project for a window that will have so many bytes, or refuses that.
func (be *Backend) chargeWindow(s etcdschema.Snapshot, key etcdschema.Key[etcdschema.Archive], a etcdschema.Archive, w *etcdschema.LogWindow, need int64) (ops []etcdschema.Op, err error) {
	if need <= w.Held {
		return nil, nil
	}
	for _, to := range []int64{need + chargeStep, need} {
		ops, err = be.control.Account(s, a.Project, func(u etcdschema.Usage) etcdschema.Usage {
			u.BackupBytes += to - w.Held
			return u
		})
		if err == nil {
			w.Held = to
			return append(ops, etcdschema.Put(key, a)), nil
		}
	}
	return nil, err
}

package schedules

import (
	"context"
	"slices"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/plan"
)

// farBehind is what a replica may lack of its source, at most, to be backed up in its place, by each unit that its server tells.
var farBehind = datastores.Lag{datastores.Seconds: 60, datastores.Bytes: 64 << 20, datastores.Transactions: 10_000}

// where is the instance that makes the backup of a run, and the backup on which that builds; "": it is a full one. A schedule of a cluster
// names the cluster, which chooses itself.
func (s *Schedules) where(ctx context.Context, c control.Caller, sch etcdschema.Schedule) (id, parent string, err error) {
	if sch.Cluster != "" {
		return sch.Cluster, "", nil
	}
	chain, err := s.chain(ctx, sch)
	if err != nil {
		return "", "", err
	}
	if id = sch.Instance; sch.Whole {
		members, away, err := s.Control.Mates(ctx, c.Project, sch.Instance)
		if err != nil {
			return "", "", err
		}
		if id, err = maker(members, away, chain.Instance, failedAt(sch)); err != nil {
			return "", "", err
		}
	}
	if chain.BackupID == "" {
		return id, "", nil
	}
	in, err := s.Control.Instance(ctx, c, id)
	if err == nil && plan.MayBeParent(chain, in.Instance) == nil {
		parent = chain.BackupID
	}
	return id, parent, err
}

// failedAt is the member that has failed to make the last backup; "": none has.
func failedAt(sch etcdschema.Schedule) string {
	if run := sch.Last; run != nil && run.Result == etcdschema.RunFailed {
		return run.Instance
	}
	return ""
}

// maker is the member of a set that makes a backup of it: who has made the one on which the next builds, as long as it is well; else a replica
// that is, so that the source has no work with it; else the source. A replica at which the last backup failed comes after the source. Where
// the log of the source is shipped it makes the backups, too, for it is on these that the log is replayed.
func maker(members []lifecycle.Member, away map[string]bool, last, failed string) (string, error) {
	var well, source []string
	for _, m := range members {
		replica := m.Set.Member(m.ID).Role == etcdschema.RoleReplica
		switch {
		case !replica && m.RPO > 0:
			return m.ID, nil // when it cannot, it says why
		case !able(m, away[m.ID], replica):
		case !replica:
			source = append(source, m.ID)
		case m.ID == last:
			well = slices.Insert(well, 0, m.ID)
		default:
			well = append(well, m.ID)
		}
	}
	if slices.Contains(source, last) && last != failed {
		return last, nil
	}
	order := slices.Concat(slices.DeleteFunc(slices.Clone(well), func(id string) bool { return id == failed }), source, well)
	if len(order) == 0 {
		return "", fault.Errorf(fault.Conflict, "No member of the set is well and free: neither the source nor a replica that has what it has.")
	}
	return order[0], nil
}

// able reports whether a member can be backed up now. A replica must have what its source has, but for a little.
func able(m lifecycle.Member, away, replica bool) bool {
	if m.Set.Member(m.ID).State != "" || away || lifecycle.Ready(m) != nil || m.Service.Service != datastores.StatusHealthy {
		return false
	}
	if !replica {
		return true
	}
	f := m.Service.Replication
	if f == nil || !f.Follows {
		return false
	}
	for unit, most := range farBehind {
		if f.Lag[unit] > most {
			return false
		}
	}
	return true
}

// stillThere refuses a run whose member has left the set that it was chosen of.
func stillThere(s etcdschema.Snapshot, sch etcdschema.Schedule, made string) error {
	if !sch.Whole || sch.Cluster != "" || sch.Instance == made {
		return nil
	}
	at, err := etcdschema.Read(s, etcdschema.InstanceKey(sch.Project, sch.Instance))
	if err != nil {
		return err
	}
	in, err := etcdschema.Read(s, etcdschema.InstanceKey(sch.Project, made))
	if err == nil && (at.Value.SetID == "" || at.Value.SetID != in.Value.SetID) {
		err = fault.Errorf(fault.Conflict, "Instance %s has just left the set.", made)
	}
	return err
}

// scope refuses what a schedule of a set or a cluster cannot be.
func (s *Schedules) scope(ctx context.Context, sch etcdschema.Schedule) error {
	switch {
	case !sch.Whole:
		return nil
	case sch.Kind == etcdschema.ScheduleDrill:
		return fault.Errorf(fault.NotImplemented, "A drill is of an instance: make a schedule of drills for that, without a scope.")
	case sch.Cluster == "":
		return nil
	case sch.Kind == etcdschema.ScheduleIncremental:
		return fault.Errorf(fault.NotImplemented, "Backups of clusters are always full: the kind of their schedules is %q.", etcdschema.ScheduleFull)
	}
	cluster, err := s.Control.FindCluster(ctx, sch.Project, sch.Cluster)
	if err == nil {
		_, err = s.Control.MayBackUpCluster(ctx, cluster.Set, false)
	}
	return err
}

package control

import (
	"cmp"
	"context"
	"slices"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/plan"
)

// refusedToMember refuses what a member of a cluster cannot be asked for by itself. Trove's 501.
func refusedToMember(m lifecycle.Member, what lifecycle.EventType) error {
	instead := lifecycle.Instead(what)
	if !m.Clustered() || instead == "" {
		return nil
	}
	return fault.Errorf(fault.NotImplemented, "Operation not supported for instances that are part of a cluster: %s is a member of cluster %s; %s.", m.ID, m.SetID, instead)
}

// AskCluster lets a cluster begin what needs no more than the event says, or, with checks, what they do not refuse either.
func (cp *Plane) AskCluster(ctx context.Context, c Caller, id string, event lifecycle.Event, checks ...func(*plan.Plan) error) error {
	event.Request = c.Request
	isCluster := func(p *plan.Plan) error {
		if p.Before.Set.Kind != etcdschema.SetCluster {
			return fault.NotFound("Cluster", id)
		}
		return nil
	}
	return clusterError(cp.transitionSet(ctx, c.Project, id, event, append([]func(*plan.Plan) error{isCluster}, checks...)...), id)
}

// Grow adds members to a cluster, of the size of those that are there.
func (cp *Plane) Grow(ctx context.Context, c Caller, id string, asked []ClusterMemberRequest) (Cluster, error) {
	was, err := cp.FindCluster(ctx, c.Project, id)
	if err != nil {
		return was, err
	}
	if n := len(asked); n < 1 || n > maxMembersOfRequest || len(was.Members)+n > maxMembers {
		return was, fault.Errorf(fault.BadRequest, "Validation error: grow must name 1 to %d members, and a cluster has %d at most; it has %d, and %d were named.", maxMembersOfRequest, maxMembers, len(was.Members), n)
	}
	if err := alike(asked); err != nil {
		return was, err
	}
	if lacking := len(lackingCopies(was.Set)); len(asked) > lacking {
		if err := whole(was.Copies, len(asked)-lacking); err != nil {
			return was, fault.Errorf(fault.BadRequest, "Cluster %s has %d shards that lack a replica, which are filled first. What else it asks for: %s", id, lacking, err)
		}
	}
	first := asked[0].CreateRequest
	first.Name, first.Configuration = was.Name, was.Configuration
	first.Datastore.Type, first.Datastore.Version, first.Datastore.VersionNumber = was.Datastore, was.Version, ""
	o, err := cp.orderMembers(ctx, c, first, nil)
	if err != nil {
		return was, err
	}
	for _, m := range was.Instances {
		if m.FlavorID != o.instance.FlavorID || m.VolumeGB != o.instance.VolumeGB {
			return was, fault.Errorf(fault.BadRequest, "The members of cluster %s have flavor %s and a volume of %d GB, and so must new ones.", id, m.FlavorID, m.VolumeGB)
		}
		o.instance.Public, o.instance.AllowedCIDRs, o.instance.Firewall = m.Public, m.AllowedCIDRs, m.Firewall
		o.instance.RootEnabled, o.instance.RootEnabledAt, o.instance.RootEnabledBy = m.RootEnabled, m.RootEnabledAt, m.RootEnabledBy
	}
	o.prepare.RootPassword = datastores.Secret{} // joining brings what the others have
	grown, err := cp.commitMembers(ctx, c, o, asked, func(s etcdschema.Snapshot) (etcdschema.Set, error) {
		set, err := clusterOf(s, c.Project, id)
		if err == nil && len(set.Members)+len(asked) > maxMembers {
			err = fault.Errorf(fault.Conflict, "Cluster %s has just got other members; ask again.", id)
		}
		return set, err
	}, lifecycle.AskGrow)
	return grown, clusterError(err, id)
}

// Shrink takes members out of a cluster and deletes them, when what they have is elsewhere. Those that are lost, too, which cannot be asked:
// what they alone had is given up. Their hosts remove them when they are back.
func (cp *Plane) Shrink(ctx context.Context, c Caller, id string, members, lost []string) error {
	return cp.AskCluster(ctx, c, id, lifecycle.Event{Type: lifecycle.AskShrink, Members: members, Lost: lost}, func(p *plan.Plan) error {
		if len(members) == 0 {
			return fault.Errorf(fault.BadRequest, "Validation error: shrink must name at least one member.")
		}
		for i, m := range members {
			if p.Before.Set.Member(m).ID == "" || slices.Contains(members[:i], m) {
				return fault.Errorf(fault.BadRequest, "Instance %s is not a member of cluster %s, or was named twice.", m, id)
			}
		}
		for _, m := range lost {
			switch away, _, err := cp.away(p.Snap, m); {
			case err != nil:
				return err
			case !away:
				return fault.Errorf(fault.Conflict, "Member %s is connected. Take it away without \"lost\", so that what it has goes to the others first.", m)
			}
		}
		return nil
	})
}

// Roll has every member do something, one after the other; who is not there keeps it from beginning.
func (cp *Plane) Roll(ctx context.Context, c Caller, id, each string, target *etcdschema.Target, also ...func(*plan.Plan) error) error {
	return cp.AskCluster(ctx, c, id, lifecycle.Event{Type: lifecycle.AskRoll, Each: each, Target: target}, func(p *plan.Plan) error {
		for _, m := range p.Before.Set.Members {
			if err := cp.reachable(p.Snap, m.ID); err != nil && m.State == "" {
				return err
			}
		}
		return all(p, also)
	})
}

// ConfigureCluster gives all members a configuration group, or with "" none.
func (cp *Plane) ConfigureCluster(ctx context.Context, c Caller, id, group string) error {
	cluster, err := cp.FindCluster(ctx, c.Project, id)
	if err != nil {
		return err
	}
	if group != "" {
		if cluster.Configuration != "" && cluster.Configuration != group {
			return fault.Errorf(fault.BadRequest, "Cluster %s has configuration %s attached; detach it first.", id, cluster.Configuration)
		}
		first := cluster.Instances[0]
		if err := supports(first.Instance, method(datastores.MethodUpdateOverrides)); err != nil {
			return err
		}
		found, err := cp.FindConfiguration(ctx, c, group)
		if err != nil {
			return err
		}
		if found.Datastore != cluster.Datastore || found.Version != cluster.Version {
			return fault.Errorf(fault.BadRequest, "Configuration %s is for %s %s, and cluster %s is %s %s.", group, found.Datastore, found.Version, id, cluster.Datastore, cluster.Version)
		}
	}
	return cp.Roll(ctx, c, id, lifecycle.Configure, &etcdschema.Target{Configuration: &group})
}

// FindCluster reads a cluster with its members, all of one moment.
func (cp *Plane) FindCluster(ctx context.Context, project, id string) (found Cluster, err error) {
	_, err = cp.Store.Update(ctx, []etcdschema.Ref{etcdschema.SetKey(project, id)}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		found = Cluster{}
		set, err := clusterOf(s, project, id)
		if err != nil {
			return nil, err
		}
		found.Set = set
		for _, m := range set.Members {
			rec, err := etcdschema.Read(s, etcdschema.InstanceKey(project, m.ID))
			if err != nil {
				return nil, err
			}
			found.Instances = append(found.Instances, lifecycle.Member{Instance: rec.Value, Set: set})
		}
		return nil, nil
	})
	found.Instances = cp.Observed(ctx, found.Instances...)
	return found, clusterError(err, id)
}

// clusterOf reads the record of a cluster.
func clusterOf(s etcdschema.Snapshot, project, id string) (etcdschema.Set, error) {
	rec, err := etcdschema.Read(s, etcdschema.SetKey(project, id))
	set, err := fault.Found(rec, err, "Cluster", id)
	if err == nil && set.Kind != etcdschema.SetCluster {
		err = fault.NotFound("Cluster", id)
	}
	return set, err
}

func clusterError(err error, id string) error {
	if fault.IsNotFound(err) {
		return fault.NotFound("Cluster", id)
	}
	return err
}

// backUpCluster has members of a cluster begin a backup of all of it: the parts of as many shards as it has, or one. All of them count for the
// quota, at once.
func (cp *Plane) backUpCluster(ctx context.Context, c Caller, req BackupRequest, cluster Cluster, also ...func(*plan.Plan, etcdschema.Backup) error) (b etcdschema.Backup, err error) {
	way, err := cp.MayBackUpCluster(ctx, cluster.Set, req.ParentID != "" || bool(req.Incremental))
	if err != nil {
		return b, err
	}
	req.Instance = cluster.Instances[0].ID
	first, err := cp.orderBackup(ctx, c, req)
	if err != nil {
		return b, err
	}
	first.Cluster, first.Log = cluster.ID, nil
	err = cp.AskCluster(ctx, c, cluster.ID, lifecycle.Event{Type: lifecycle.AskBackUpCluster, Backup: first.BackupID}, func(p *plan.Plan) error {
		if p.Before.Set.Operation != nil {
			return nil // what it does refuses it
		}
		if is := p.Before.Set.Version; is != first.Version {
			return fault.Errorf(fault.Conflict, "Cluster %s has just got version %s; ask for the backup again.", cluster.ID, is)
		}
		members, away, err := cp.membersThere(p.Snap, p.Before.Set)
		if err != nil {
			return err
		}
		chosen, err := lifecycle.BackupMembers(way, members, func(id string) bool { return away[id] })
		if err != nil {
			return err
		}
		all := partsOf(first, chosen)
		b = all[0]
		p.Event.Members, p.Event.Parts = chosen, map[string]string{}
		var ops []etcdschema.Op
		for _, part := range all {
			p.Event.Parts[part.Instance] = part.BackupID
			ops = append(ops, etcdschema.Put(etcdschema.BackupKey(c.Project, part.BackupID), part))
		}
		used, err := cp.Account(p.Snap, c.Project, func(u etcdschema.Usage) etcdschema.Usage {
			u.Backups += len(all)
			u.BackupBytes += int64(len(all)) * plan.SegmentSize
			return u
		})
		p.Snap = p.Snap.After(ops...)
		p.Put(append(used, ops...)...)
		for _, f := range also {
			err = cmp.Or(err, f(p, b))
		}
		return err
	})
	return b, err
}

// MayBackUpCluster refuses a cluster that can never be backed up as it is, and says what a backup of it is.
func (cp *Plane) MayBackUpCluster(ctx context.Context, cluster etcdschema.Set, incrementally bool) (datastores.ClusterBackups, error) {
	if incrementally {
		return "", fault.Errorf(fault.NotImplemented, "Backups of clusters are always full: leave parent_id and incremental out.")
	}
	if cp.Blobs == nil {
		return "", ErrNoStore
	}
	catalogue, err := cp.Catalogue(ctx)
	if err != nil {
		return "", err
	}
	v, _ := catalogue.FindVersion(cluster.Datastore, cluster.Version)
	if v.Server.Cluster == nil || v.Server.Cluster.Backups == "" {
		return "", fault.Errorf(fault.NotImplemented, "Clusters of %s %s cannot be backed up.", cluster.Datastore, cluster.Version)
	}
	return v.Server.Cluster.Backups, nil
}

// Mates reads the whole set that an instance is in, itself among them, and whose guests are away: all of one moment.
func (cp *Plane) Mates(ctx context.Context, project, id string) (members []lifecycle.Member, away map[string]bool, err error) {
	key := etcdschema.InstanceKey(project, id)
	_, err = cp.Store.Look(ctx, 0, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) error {
		m, err := memberAt(s, key, id)
		if err != nil {
			return err
		}
		if m.SetID == "" {
			m.Set = etcdschema.Set{Project: project, Members: []etcdschema.SetMember{{ID: id, Role: etcdschema.RoleSource}}}
		}
		members, away, err = cp.membersThere(s, m.Set)
		return err
	})
	return members, away, instanceError(err, id)
}

// partsOf are the records of a cluster's backup, one for each member that makes a part. The first one is the backup that clients see.
func partsOf(first etcdschema.Backup, members []string) (all []etcdschema.Backup) {
	first.Held = plan.SegmentSize
	for i, m := range members {
		part := first
		if part.Instance = m; i > 0 {
			part.BackupID, part.PartOf = plan.NewID(), first.BackupID
		}
		all = append(all, part)
	}
	for _, part := range all[1:] {
		all[0].Parts = append(all[0].Parts, etcdschema.BackupPart{ID: part.BackupID})
	}
	return all
}

// membersThere reads the members of a set, and whose guests are away.
func (cp *Plane) membersThere(s etcdschema.Snapshot, set etcdschema.Set) (members []lifecycle.Member, away map[string]bool, err error) {
	away = map[string]bool{}
	for _, m := range set.Members {
		rec, err := etcdschema.Read(s, etcdschema.InstanceKey(set.Project, m.ID))
		if err == nil {
			away[m.ID], _, err = cp.away(s, m.ID)
		}
		if err != nil {
			return nil, nil, err
		}
		members = append(members, lifecycle.Member{Instance: rec.Value, Set: set})
	}
	return members, away, nil
}

// shareOut says with what the first members of a cluster begin that is ordered with a backup: the first one, or the first of each shard.
func (o *order) shareOut(shape datastores.ClusterShape, shards int) error {
	if len(o.instance.Restore) == 0 {
		return nil
	}
	b := o.backup
	switch {
	case shape.Backups == datastores.BackupOfMember && len(b.Parts) == 0:
	case shape.Backups == datastores.BackupOfShards && b.Cluster == "":
		return fault.Errorf(fault.BadRequest, "Backup %s is of an instance alone, and a cluster of %s is restored from a cluster's.", b.BackupID, b.Datastore)
	case shape.Backups == datastores.BackupOfShards && shards == 1+len(b.Parts):
	case shape.Backups == datastores.BackupOfShards:
		return fault.Errorf(fault.BadRequest, "Backup %s is of %d shards, and the cluster that is asked for would have %d. Ask for one of %[2]d shards, each with a member and its replicas, and have it grow or shrink then.",
			b.BackupID, 1+len(b.Parts), shards)
	default:
		return fault.Errorf(fault.NotImplemented, "Clusters of %s %s cannot begin with backup %s.", o.instance.Datastore, o.instance.Version, b.BackupID)
	}
	o.restores = [][]string{o.instance.Restore}
	for _, part := range b.Parts {
		o.restores = append(o.restores, []string{part.ID})
	}
	return nil
}
